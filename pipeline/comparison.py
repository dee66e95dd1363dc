"""Which of several explanations of one feature is better, and where that is shown.

Two scores of one feature differ for three reasons: the explanations are unlike, the texts are few,
and scores without the full simulation are estimates. The interval on a difference takes up the
latter two:

- *Texts.* The records are drawn again with replacement (bootstrap), the same ones for both
  explanations, and the difference of the correlations taken each time. What both find hard cancels.
- *Estimates.* Each score's own 90 % interval, taken as ±1.645 standard errors, and the errors of
  two explanations as independent: errors that both share would cancel, so this is the wider choice.

The variances add up. Quantiles are Student's with one degree of freedom less than there are
records, at a level shared among all pairs (Bonferroni), so that with 90 % confidence none of the
intervals of a feature misses. "Better" is said where the interval leaves out 0. What the adjustment
takes off is part of the difference, its uncertainty is not known and not part of the interval.
`make bench-compare` checks the intervals on held-out features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import InvalidRequest
from pipeline.result import ScoreResult
from pipeline.simulation import FloatArray

LEVEL = 0.9
LEAST_RECORDS = 5
"""With fewer texts nothing is said to be better: their spread says too little of others."""

_RESAMPLES = 1000
_SEED = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """What lies between two explanations.

    Attributes
    ----------
    better, worse : numbers of the explanations, in the order given, from 0; by their scores.
    difference : of their scores, ≥ 0.
    interval : simultaneous 90 % interval of it; None where there are too few records.
    shown : whether the interval leaves out 0.
    """

    better: int
    worse: int
    difference: float
    interval: tuple[float, float] | None

    @property
    def shown(self) -> bool:
        return self.interval is not None and self.interval[0] > 0.0

    def to_dict(self) -> dict[str, Any]:
        return {
            "better": self.better,
            "worse": self.worse,
            "difference": self.difference,
            "interval": None if self.interval is None else list(self.interval),
            "shown": self.shown,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several explanations of one feature, on the same records.

    Attributes
    ----------
    explanations, results : as given.
    ranking : their numbers, the highest score first; ties as given.
    differences : of all pairs, in the order of the ranking; empty where the score is undefined.
    """

    explanations: tuple[str, ...]
    results: tuple[ScoreResult, ...]
    ranking: tuple[int, ...]
    differences: tuple[Difference, ...]

    @property
    def best(self) -> tuple[int, ...]:
        """Those that none is shown to be better than: one where there is a clear winner."""
        beaten = {found.worse for found in self.differences if found.shown}
        return tuple(number for number in self.ranking if number not in beaten)

    def to_dict(self, *, brief: bool = True) -> dict[str, Any]:
        """JSON-ready, free of NaN.

        Parameters
        ----------
        brief : without the simulations.
        """
        answers = [result.to_dict() for result in self.results]
        for answer in answers if brief else ():
            del answer["simulations"]
        return {
            "explanations": [
                {"explanation": text, **answer}
                for text, answer in zip(self.explanations, answers, strict=True)
            ],
            "ranking": list(self.ranking),
            "best": list(self.best),
            "differences": [found.to_dict() for found in self.differences],
        }

    def _repr_html_(self) -> str:
        """What a notebook shows: the table, with the intervals as pictures."""
        from pipeline.render import comparison_html

        return comparison_html(self)

    def __str__(self) -> str:
        """A table: score, what it is better than, and the explanation."""
        places = {number: place for place, number in enumerate(self.ranking, 1)}
        lines = [" #  score  90 % interval   better than  explanation"]
        for number, place in places.items():
            result = self.results[number]
            if result.score is None or result.interval is None:
                lines.append(f"{place:2d}      -  {result.reason}")
                continue
            low, high = result.interval
            won = sorted(
                places[d.worse] for d in self.differences if d.shown and d.better == number
            )
            text = " ".join(self.explanations[number].split())
            lines.append(
                f"{place:2d}  {result.score:5.2f}  {f'{low:.2f} to {high:.2f}':<14}  "
                f"{', '.join(f'#{one}' for one in won) or '-':<11}  {text}"
            )
        return "\n".join(lines)


def compare_results(explanations: Sequence[str], results: Sequence[ScoreResult]) -> Comparison:
    """Rank explanations whose scores are of the same records.

    Raises
    ------
    InvalidRequest : for fewer than two explanations, or scores of different records.
    """
    if len(results) < 2:
        raise InvalidRequest("expected at least two explanations to compare", "explanations")
    scores = [result.score for result in results]
    order = sorted(range(len(scores)), key=lambda i: -np.inf if (s := scores[i]) is None else -s)
    differences = []
    if all(score is not None for score in scores):
        spread = _spread(results)
        pairs = list(combinations(order, 2))
        quantile = _quantile(len(pairs), len(results[0].simulations))
        for better, worse in pairs:
            difference = float(scores[better] or 0.0) - float(scores[worse] or 0.0)
            half = quantile * float(
                np.hypot(spread[better, worse], _estimated(results, better, worse))
            )
            interval = (
                (max(difference - half, -2.0), min(difference + half, 2.0))
                if len(results[0].simulations) >= LEAST_RECORDS
                else None
            )
            differences.append(Difference(better, worse, difference, interval))
    return Comparison(tuple(explanations), tuple(results), tuple(order), tuple(differences))


def _estimated(results: Sequence[ScoreResult], *pair: int) -> float:
    """Standard error of a difference of two estimates."""
    normal = NormalDist().inv_cdf((1.0 + LEVEL) / 2.0)
    return math.hypot(*(_half_width(results[number]) for number in pair)) / normal


def _half_width(result: ScoreResult) -> float:
    """Of the interval before it was cut at -1 and 1."""
    low, high = result.interval or (0.0, 0.0)
    raw = result.raw_score or 0.0
    return max(raw - low, high - raw)


def _spread(results: Sequence[ScoreResult]) -> FloatArray:
    """Shape (n, n): standard error of each difference of correlations, over the records."""
    n_records = len(results[0].simulations)
    draws = np.random.default_rng(_SEED).multinomial(
        n_records, np.full(n_records, 1.0 / n_records), _RESAMPLES
    )
    scores = np.stack([_correlations(result, draws) for result in results])
    differences = scores[:, None] - scores[None, :]
    # A bootstrap of n texts has (n - 1) / n of the variance that n texts have.
    return np.asarray(differences.std(axis=2) * np.sqrt(n_records / max(n_records - 1, 1)))


def _correlations(result: ScoreResult, draws: npt.NDArray[np.int64]) -> FloatArray:
    """Shape (n_draws,): the correlation on each draw of the records; 0 where it is undefined."""
    sums = []
    for one in result.simulations:
        true, guess = one.true_activations, one.simulation.expected_activations
        parts = (true, guess, true * true, guess * guess, true * guess)
        sums.append([len(true), *(float(part.sum()) for part in parts)])
    n, x, y, xx, yy, xy = (draws @ np.array(sums)).T
    variances = np.maximum(n * xx - x * x, 0.0) * np.maximum(n * yy - y * y, 0.0)
    with np.errstate(all="ignore"):
        found = (n * xy - x * y) / np.sqrt(variances)
    return np.asarray(np.nan_to_num(found, posinf=0.0, neginf=0.0))


def _quantile(pairs: int, n_records: int) -> float:
    """Student's quantile for so many intervals at once (Abramowitz and Stegun 26.7.5)."""
    z = NormalDist().inv_cdf(1.0 - (1.0 - LEVEL) / (2.0 * max(pairs, 1)))
    free = max(n_records - 1, 1)
    return (
        z
        + (z**3 + z) / (4 * free)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * free**3)
    )
