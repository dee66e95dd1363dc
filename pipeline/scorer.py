"""The way of a request, top to bottom."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from pipeline.errors import InvalidRequest
from pipeline.records import Request
from pipeline.result import ScoreResult
from pipeline.scoring import score_records
from pipeline.settings import Settings, SimulatorName
from pipeline.simulation import Simulator
from stages.adjust import adjust_for_context
from stages.cheap import HEAD_PATH, CheapPrediction, CheapPredictor
from stages.combine import combine
from stages.contrast import find_contrasts
from stages.embedding import MiniLM
from stages.encoding import TextEncoder
from stages.evidence import evidence_of
from stages.gate import GATE_PATH, Gate
from stages.head import Head
from stages.named import Simulators
from stages.observation import Observer
from stages.reader import READER_PATH, Reader
from stages.rounds import Simulated, simulate_rounds

SimulatorChoice = Simulator | Literal["auto"] | SimulatorName | None

_NAMES = ("auto", *get_args(SimulatorName))

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
        adjust: bool = True,
    ) -> ScoreResult:
        """Score one explanation; `pipeline.score` documents the arguments."""
        _check_options(simulator, tolerance, max_llm_tokens)
        request = Request.parse(explanation, activations, self.settings.limits)
        models = self._models.load()
        cheap = models.predictor.predict(request)
        if reason := _why_undefined(request):
            return _undefined(cheap, reason)
        prior = models.gate.estimate(cheap)
        llm = _llm(simulator, models.simulators)
        done = (
            Simulated()
            if llm is None
            else simulate_rounds(request, models.gate, prior, llm, tolerance, max_llm_tokens)
        )
        raw = combine(request, cheap.strengths, done.values, prior, models.gate.constants)
        strengths = [done.values.get(i, guess) for i, guess in enumerate(cheap.strengths)]
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
            reason=done.trouble or (_STAGE_TWO_OFF if simulator == "auto" and not llm else None),
            adjustment=adjustment,
            usage=done.usage,
            simulations=score_records(request.records, strengths, done.distributions),
            evidence=evidence_of(cheap, done.values, models.predictor.head),
        )

    def score_many(self, requests: Iterable[Any], **options: Any) -> Iterator[ScoreResult]:
        """Score requests in order, one at a time; `pipeline.score_many` documents it."""
        for index, raw in enumerate(requests):
            if not isinstance(raw, Mapping):
                raise InvalidRequest(
                    "expected an object with 'explanation' and 'activations', "
                    f"found {type(raw).__name__}",
                    f"requests[{index}]",
                )
            try:
                result = self.score(raw.get("explanation"), raw.get("activations"), **options)
            except InvalidRequest as error:
                raise error.inside(f"requests[{index}]") from None
            yield result

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
                encoder = MiniLM(self._settings.encoder)
                self._loaded = _Loaded(
                    CheapPredictor(
                        Observer(TextEncoder(encoder)),
                        Head.load(HEAD_PATH),
                        Reader.load(READER_PATH, encoder),
                    ),
                    Gate.load(GATE_PATH),
                    Simulators(self._settings),
                )
            return self._loaded

    def close(self) -> None:
        with self._loading:
            if self._loaded:
                self._loaded.simulators.close()


@dataclass(frozen=True, slots=True)
class _Loaded:
    predictor: CheapPredictor
    gate: Gate
    simulators: Simulators


def _check_options(
    simulator: SimulatorChoice, tolerance: float, max_llm_tokens: int | None
) -> None:
    if not (simulator is None or simulator in _NAMES or isinstance(simulator, Simulator)):
        raise InvalidRequest(
            f"{simulator!r:.80} is neither None nor one of {', '.join(_NAMES)} and has no method "
            "`simulate`; a model's name belongs into the setting SIMULATOR_MODEL",
            "simulator",
        )
    if not 0.0 < tolerance <= 1.0:
        raise InvalidRequest(f"{tolerance} is not in (0, 1]", "tolerance")
    if max_llm_tokens is not None and max_llm_tokens < 0:
        raise InvalidRequest(f"{max_llm_tokens} is negative", "max_llm_tokens")


def _llm(choice: SimulatorChoice, simulators: Simulators) -> Simulator | None:
    """What was chosen; "auto" goes without where the settings name no endpoint."""
    if not isinstance(choice, str):
        return choice
    if choice == "auto":
        return simulators.default
    if found := simulators.named(choice):
        return found
    raise InvalidRequest(_STAGE_TWO_OFF, "simulator")


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
