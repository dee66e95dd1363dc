"""What a score is, and the JSON that the HTTP interface makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pipeline.scoring import ScoredSequenceSimulation
from pipeline.simulation import Usage

Route = Literal["cheap", "partial", "full"]
Status = Literal["ok", "degraded", "undefined"]


@dataclass(frozen=True, slots=True)
class ContrastText:
    """A text in which a peak token stands in another context, used as evidence."""

    text: str
    token: str
    predicted: float
    """Strength 0-10 that the explanation is expected to give the token here."""
    weight: float
    """0-1: how unlike this context is to those in which the neuron fires."""


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What was taken off the raw score because the explanation misses the context.

    Attributes
    ----------
    taken_off : raw score minus score, ≥ 0.
    token_match : 0-1, how strongly the explanation fires on the peak tokens of the records.
    context_match : 0-1, 1 minus how strongly it fires on the same tokens in other contexts,
        relative to `token_match`.
    context_dependence : 0-1, how much more alike the contexts of the peaks are than chance.
    evidence : the contrast texts with the largest effect, strongest first.
    reason : one sentence.
    """

    taken_off: float
    token_match: float
    context_match: float
    context_dependence: float
    evidence: tuple[ContrastText, ...]
    reason: str


@dataclass(frozen=True)
class ScoreResult:
    """How well an explanation explains a neuron on the given records.

    Attributes
    ----------
    score : in [-1, 1], after the adjustment; None where undefined (`reason` says why).
    raw_score : the estimate of the full simulation's correlation.
    interval : 90 % interval of `raw_score`.
    route : "cheap" (no LLM), "partial" (some records simulated by the LLM) or "full".
    status : "ok", "degraded" (an LLM was wanted, but failed or ran out of budget) or "undefined".
    reason : why the status is not "ok", or why no LLM was used; None where all is well.
    adjustment : what was taken off, and on what evidence; None where none was asked for.
    usage : LLM calls, tokens and cost of this score.
    simulations : one a record, in the order given.
    """

    score: float | None
    raw_score: float | None
    interval: tuple[float, float] | None
    route: Route
    status: Status
    simulations: tuple[ScoredSequenceSimulation, ...]
    reason: str | None = None
    adjustment: Adjustment | None = None
    usage: Usage = field(default_factory=Usage)

    def to_dict(self) -> dict[str, Any]:
        """The HTTP answer: JSON-ready, free of NaN and infinities."""
        from pipeline import __version__

        return {
            "score": self.score,
            "simulations": [simulation.to_dict() for simulation in self.simulations],
            "raw_score": self.raw_score,
            "interval": None if self.interval is None else list(self.interval),
            "route": self.route,
            "status": self.status,
            "reason": self.reason,
            "adjustment": None if self.adjustment is None else asdict(self.adjustment),
            "usage": _usage(self.usage),
            "version": __version__,
        }


def _usage(usage: Usage) -> Mapping[str, int | float | None]:
    return {**asdict(usage), "total_tokens": usage.total_tokens}
