"""What a score is, and the JSON that the HTTP interface makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pipeline.scoring import ScoredSequenceSimulation
from pipeline.simulation import Usage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Route = Literal["cheap", "partial", "full"]
Status = Literal["ok", "degraded", "undefined"]


@dataclass(frozen=True, slots=True)
class ContrastText:
    """A background text in which a peak token, or a word that the explanation names, stands."""

    text: str
    token: str
    predicted: float
    """Strength 0-10 that the explanation is expected to give the token here."""
    weight: float
    """0-1: how sure it is that the neuron does not fire on the token here."""


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What was taken off the raw score, and why.

    Attributes
    ----------
    taken_off : raw score minus score, ≥ 0: the sum of the next three.
    for_context : because it would fire on the peak tokens in other contexts as well.
    for_breadth : because it would fire on words that it names and that never fire.
    for_listing : because it names the peak tokens one by one.
    token_match : 0-1, how strongly the explanation fires on the peak tokens of the records.
    context_match : 0-1, 1 minus how strongly it fires on the same tokens in other contexts,
        relative to `token_match`.
    context_dependence : 0-1, how much more alike the contexts of the peaks are than chance.
    evidence : the contrast texts with the largest effect, strongest first.
    reason : one sentence.
    """

    taken_off: float
    for_context: float
    for_breadth: float
    for_listing: float
    token_match: float
    context_match: float
    context_dependence: float
    evidence: tuple[ContrastText, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class TokenEvidence:
    """Why a token is expected to fire; strengths are 0-10.

    Attributes
    ----------
    record, token : where it stands, counted from 0.
    word : the word that ends there.
    strength : what is expected of it, by the LLM where `simulated`, else without one.
    true_activation : in the neuron's unit.
    named, meaning, other : how much the prediction without an LLM owes to the explanation's own
        terms and classes, to likeness in meaning, and to what the word is by itself. Below 0: it
        speaks against. They need not add up, since kinds of evidence stand in for one another.
    reading : what reading explanation and text together added to that, or took away.
    matches : the lexical findings, in words.
    """

    record: int
    token: int
    word: str
    strength: float
    true_activation: float
    simulated: bool
    named: float
    meaning: float
    other: float
    reading: float
    matches: tuple[str, ...]

    def __str__(self) -> str:
        source = "simulated by the LLM" if self.simulated else "predicted"
        parts = {"named": self.named, "meaning": self.meaning, "the word itself": self.other}
        parts["reading"] = self.reading
        carried = ", ".join(f"{name} {value:+.1f}" for name, value in parts.items())
        found = "; ".join(self.matches) or "nothing that the explanation names"
        return (
            f"{self.word!r} in record {self.record}: {source} {self.strength:.1f}, true activation "
            f"{self.true_activation:.3g}; {carried}; {found}"
        )


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
    evidence : what carried the strongest tokens, strongest first.
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
    evidence: tuple[TokenEvidence, ...] = ()

    def explain(self, tokens: int = 5) -> str:
        """Which evidence carried the strongest tokens, and what the adjustment took off, in words.

        Parameters
        ----------
        tokens : how many; `evidence` holds the same as data, for up to ten.
        """
        if self.score is None:
            return f"no score: {self.reason}"
        lines = [str(found) for found in self.evidence[:tokens]]
        if self.adjustment:
            lines.append(f"taken off {self.adjustment.taken_off:.2f}: {self.adjustment.reason}")
        return "\n".join(lines)

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw the predicted strength of every token against its true activation.

        Tokens of one record have one colour; its number stands at its peak.

        Parameters
        ----------
        axes : where to draw; a new figure if not given.

        Raises
        ------
        ConfigurationError : without matplotlib, which the extra ``[plot]`` installs.
        """
        from pipeline.plot import plot_result

        return plot_result(self, axes)

    def _repr_html_(self) -> str:
        """What a notebook shows: the score, the texts as a heatmap, and why."""
        from pipeline.render import result_html

        return result_html(self)

    def to_dict(self, *, explain: bool = False) -> dict[str, Any]:
        """The HTTP answer: JSON-ready, free of NaN and infinities.

        Parameters
        ----------
        explain : with the `evidence`.
        """
        from pipeline import __version__

        evidence = {"evidence": [asdict(found) for found in self.evidence]} if explain else {}
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
            **evidence,
        }


def _usage(usage: Usage) -> Mapping[str, int | float | None]:
    return {**asdict(usage), "total_tokens": usage.total_tokens}
