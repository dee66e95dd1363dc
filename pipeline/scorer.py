"""The way of a request, top to bottom."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence, Sized
from typing import Any, Literal, Self, Unpack

from pipeline.batch import asked, batch_budget, in_order, naming, parsed, prepared
from pipeline.budget import Allowance, Budget, Limit, limited
from pipeline.errors import InvalidRequest
from pipeline.forecast import Forecast
from pipeline.ledger import DailyBudget
from pipeline.models import STAGE_TWO_OFF, Models
from pipeline.options import OnBudget, ScoreOptions, SimulatorChoice, check_options
from pipeline.progress import shown
from pipeline.records import Request
from pipeline.result import ScoreResult
from pipeline.scoring import score_records
from pipeline.settings import Settings
from stages.adjust import adjust_for_context
from stages.cheap import CheapPrediction
from stages.combine import combine
from stages.contrast import embed_all, find_contrasts
from stages.evidence import evidence_of
from stages.rounds import Simulated, forecast_rounds, simulate_rounds

__all__ = ["Scorer", "SimulatorChoice"]


class Scorer:
    """Scores explanations; holds the models, so make one and keep it.

    Parameters
    ----------
    settings : read from the environment if not given.

    Notes
    -----
    Safe to share between threads. Nothing is loaded before the first score, or `load`.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings.from_environment()
        self._models = Models(self.settings)

    def score(
        self, explanation: object, activations: object, **options: Unpack[ScoreOptions]
    ) -> ScoreResult:
        """Score one explanation; `pipeline.score` documents the arguments."""
        request = Request.parse(explanation, activations, self.settings.limits)
        return self._score(request, **options)

    def _score(
        self,
        request: Request,
        *,
        simulator: SimulatorChoice = "auto",
        tolerance: float = 0.05,
        max_llm_tokens: int | None = None,
        max_cost_usd: float | None = None,
        on_budget: OnBudget = None,
        adjust: bool = True,
        budgets: Sequence[Budget] = (),
    ) -> ScoreResult:
        check_options(simulator, tolerance, on_budget)
        own = Limit(max_llm_tokens, max_cost_usd)
        own.check()
        models = self._models.load()
        cheap = models.predictor.predict(request)
        if reason := _why_undefined(request):
            return _undefined(cheap, reason)
        prior = models.gate.estimate(cheap)
        llm, day = models.chosen(simulator)
        kept = limited(Allowance(own), *budgets, day)
        done = (
            Simulated()
            if llm is None
            else simulate_rounds(request, models.gate, prior, llm, tolerance, kept)
        )
        if (on_budget or self.settings.on_budget) == "refuse":
            _refuse_unpaid(done)
        raw = combine(request, cheap.strengths, done.values, prior, models.gate.constants)
        strengths = cheap.strengths_or(done.values)
        adjustment = (
            adjust_for_context(request, find_contrasts(cheap, models.predictor), strengths, raw)
            if adjust
            else None
        )
        return ScoreResult(
            score=raw - (adjustment.taken_off if adjustment else 0.0),
            raw_score=raw,
            interval=models.gate.interval(prior, raw, len(done.values), len(strengths)),
            route=_route(len(done.values), len(strengths)),
            status="degraded" if done.trouble else "ok",
            reason=done.trouble or (STAGE_TWO_OFF if simulator == "auto" and not llm else None),
            adjustment=adjustment,
            usage=done.usage,
            simulations=score_records(request.records, strengths, done.distributions),
            evidence=evidence_of(cheap, done.values, models.predictor.head),
        )

    def score_many(
        self,
        requests: Iterable[Any],
        *,
        max_batch_llm_tokens: int | None = None,
        max_batch_cost_usd: float | None = None,
        progress: bool = False,
        **options: Unpack[ScoreOptions],
    ) -> Generator[ScoreResult, None, None]:
        """Score requests in order; `pipeline.score_many` documents it."""
        budgets = [batch_budget(max_batch_llm_tokens, max_batch_cost_usd)]
        options["budgets"] = [*options.get("budgets", ()), *budgets]

        def read() -> Iterator[tuple[int, Request | InvalidRequest]]:
            for index, raw in enumerate(requests):
                yield index, parsed(index, raw, self.settings.limits)

        def embed(window: Sequence[tuple[int, Request | InvalidRequest]]) -> None:
            found = [request for _, request in window if isinstance(request, Request)]
            predictor = self._models.load().predictor
            embed_all(found, predictor, contrasts=options.get("adjust", True))

        def score(item: tuple[int, Request | InvalidRequest]) -> ScoreResult:
            index, request = item
            if isinstance(request, InvalidRequest):
                raise request
            with naming(index):
                return self._score(request, **options)

        results = in_order(score, prepared(read(), embed), self._at_once(options))
        total = len(requests) if isinstance(requests, Sized) else None
        yield from shown(results, total) if progress else results

    def _at_once(self, options: ScoreOptions) -> int:
        """How many scores may be under way: a simulator of the caller's is asked by one."""
        simulator = options.get("simulator", "auto")
        if not isinstance(simulator, str) or not self.settings.has_llm:
            return 1
        return self.settings.llm_concurrency

    def forecast(
        self,
        requests: Iterable[Any],
        *,
        simulator: SimulatorChoice = "auto",
        tolerance: float = 0.05,
    ) -> Forecast:
        """What scoring would take; `pipeline.forecast` documents it."""
        total = Forecast()
        for index, raw in enumerate(requests):
            with naming(index):
                total += self.forecast_one(*asked(raw), simulator=simulator, tolerance=tolerance)
        return total

    def forecast_one(
        self,
        explanation: object,
        activations: object,
        *,
        simulator: SimulatorChoice = "auto",
        tolerance: float = 0.05,
    ) -> Forecast:
        """What one score would take."""
        check_options(simulator, tolerance)
        request = Request.parse(explanation, activations, self.settings.limits)
        models = self._models.load()
        llm, _ = models.chosen(simulator)
        if llm is None or _why_undefined(request):
            return Forecast(requests=1, records=len(request.records))
        prior = models.gate.estimate(models.predictor.predict(request))
        return forecast_rounds(request, models.gate, prior, llm, tolerance)

    def load(self) -> None:
        """Load the encoder and the weights now, not with the first score."""
        word = {"tokens": ["word"], "values": [1.0]}
        self._models.load().predictor.predict(Request.parse("a word", [word]))

    def close(self) -> None:
        """Close the connections to the LLM and its cache."""
        self._models.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _refuse_unpaid(done: Simulated) -> None:
    """Refuse what a day's budget ended; what was paid for is not thrown away."""
    if isinstance(done.ended, DailyBudget) and not done.usage.calls:
        raise done.ended.refusal()


def _why_undefined(request: Request) -> str | None:
    if not any(text.words for text in request.texts):
        return "no text holds a word, so there is nothing that an explanation could match"
    if request.true_values.min() == request.true_values.max():
        return (
            "the activation is the same on every token, so no correlation is defined; "
            "send records in which the neuron fires on some tokens and not on others"
        )
    return None


def _undefined(cheap: CheapPrediction, reason: str) -> ScoreResult:
    return ScoreResult(
        score=None,
        raw_score=None,
        interval=None,
        route="cheap",
        status="undefined",
        reason=reason,
        simulations=score_records(cheap.seen.request.records, cheap.strengths),
    )


def _route(simulated: int, records: int) -> Literal["cheap", "partial", "full"]:
    if not simulated:
        return "cheap"
    return "full" if simulated == records else "partial"
