"""The way of a request, top to bottom."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from pipeline.batch import asked, batch_budget, naming
from pipeline.budget import Allowance, Budget, Limit
from pipeline.errors import ConfigurationError
from pipeline.forecast import Forecast
from pipeline.ledger import DailyBudget
from pipeline.options import OnBudget, SimulatorChoice, check_options
from pipeline.records import Request
from pipeline.result import ScoreResult
from pipeline.scoring import score_records
from pipeline.settings import Settings
from stages.adjust import adjust_for_context
from stages.cheap import HEAD_PATH, CheapPrediction, CheapPredictor
from stages.combine import combine
from stages.embedding import MiniLM
from stages.encoding import TextEncoder
from stages.evidence import evidence_of
from stages.gate import GATE_PATH, Gate
from stages.head import Head
from stages.observation import Observer
from stages.reader import READER_PATH, Reader
from stages.rounds import Simulated, forecast_rounds, simulate_rounds
from stages.simulator import QuoteSimulator, simulator_from

__all__ = ["Scorer", "SimulatorChoice"]

_STAGE_TWO_OFF = (
    "stage two is off: no LLM is configured; set OPENAI_API_KEY or OPENAI_BASE_URL, "
    "or pass a simulator"
)


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
        self._models = _Models(self.settings)

    def score(
        self,
        explanation: object,
        activations: object,
        *,
        simulator: SimulatorChoice = "auto",
        tolerance: float = 0.05,
        max_llm_tokens: int | None = None,
        max_cost_usd: float | None = None,
        on_budget: OnBudget = None,
        adjust: bool = True,
        budgets: Sequence[Budget] = (),
    ) -> ScoreResult:
        """Score one explanation; `pipeline.score` documents the arguments.

        Parameters
        ----------
        budgets : further budgets to keep, such as one that a batch shares.
        """
        check_options(simulator, tolerance, on_budget)
        own = Limit(max_llm_tokens, max_cost_usd)
        own.check()
        request = Request.parse(explanation, activations, self.settings.limits)
        models = self._models.load()
        cheap = models.predictor.predict(request)
        if reason := _why_undefined(request):
            return _undefined(cheap, reason)
        prior = models.gate.estimate(cheap)
        llm = models.simulator if simulator == "auto" else simulator
        day = models.day if simulator == "auto" else None
        kept = [Allowance(own), *budgets, *([day] if day else [])]
        kept = [budget for budget in kept if not budget.limit.unlimited]
        done = (
            Simulated()
            if llm is None
            else simulate_rounds(request, models.gate, prior, llm, tolerance, kept)
        )
        # What was paid for is not thrown away for want of the rest.
        refuse = (on_budget or self.settings.on_budget) == "refuse" and not done.usage.calls
        if day and done.ended is day and refuse:
            raise day.refusal()
        raw = combine(request, cheap.strengths, done.values, prior, models.gate.constants)
        strengths = [done.values.get(i, guess) for i, guess in enumerate(cheap.strengths)]
        adjustment = adjust_for_context(cheap, models.predictor, strengths, raw) if adjust else None
        return ScoreResult(
            score=raw - (adjustment.taken_off if adjustment else 0.0),
            raw_score=raw,
            interval=models.gate.interval(prior, raw, len(done.values), len(strengths)),
            route=_route(len(done.values), len(strengths)),
            status="degraded" if done.trouble else "ok",
            reason=done.trouble or (_STAGE_TWO_OFF if simulator == "auto" and not llm else None),
            adjustment=adjustment,
            usage=done.usage,
            simulations=score_records(request.records, strengths),
            evidence=evidence_of(cheap, done.values, models.predictor.head),
        )

    def score_many(
        self,
        requests: Iterable[Any],
        *,
        max_batch_llm_tokens: int | None = None,
        max_batch_cost_usd: float | None = None,
        **options: Any,
    ) -> Iterator[ScoreResult]:
        """Score requests in order, one at a time; `pipeline.score_many` documents it."""
        batch = batch_budget(max_batch_llm_tokens, max_batch_cost_usd)
        for index, raw in enumerate(requests):
            with naming(index):
                result = self.score(*asked(raw), budgets=[batch], **options)
            yield result

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
        llm = models.simulator if simulator == "auto" else simulator
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


class _Models:
    """What a scorer loads once, on first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loading = threading.Lock()
        self._loaded: _Loaded | None = None

    def load(self) -> _Loaded:
        with self._loading:
            if self._loaded is None:
                simulator, day = _llm(self._settings)
                encoder = MiniLM(self._settings.encoder)
                self._loaded = _Loaded(
                    CheapPredictor(
                        Observer(TextEncoder(encoder)),
                        Head.load(HEAD_PATH),
                        Reader.load(READER_PATH, encoder),
                    ),
                    Gate.load(GATE_PATH),
                    simulator,
                    day,
                )
            return self._loaded

    def close(self) -> None:
        with self._loading:
            if self._loaded and self._loaded.simulator:
                self._loaded.simulator.close()


@dataclass(frozen=True, slots=True)
class _Loaded:
    predictor: CheapPredictor
    gate: Gate
    simulator: QuoteSimulator | None
    day: DailyBudget | None


def _llm(settings: Settings) -> tuple[QuoteSimulator | None, DailyBudget | None]:
    """The LLM and what may be spent on it in a day."""
    simulator, day = simulator_from(settings), DailyBudget.of(settings)
    if simulator and day and day.limit.cost_usd is not None and not simulator.price:
        raise ConfigurationError(
            f"DAILY_COST_USD cannot be kept: the price of {settings.simulator_model!r} at this "
            "endpoint is not known; name it in the file PRICES_PATH, or set DAILY_LLM_TOKENS"
        )
    return simulator, day


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
