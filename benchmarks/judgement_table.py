"""The figures of `benchmarks.judgement`, as tables with bootstrap intervals over features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from benchmarks.dataset import KINDS
from benchmarks.judged import PARTS, Judged
from pipeline.simulation import FloatArray

RESAMPLES = 1000
SEED = 0
STUFFED_WORDS = 10

Indices = npt.NDArray[np.int64]
Measure = Callable[[Indices], float]
"""A figure of some features, each as often as it is drawn."""


@dataclass(frozen=True)
class Table:
    """The judged cases by feature and kind, and the scores of hostile explanations by feature."""

    judged: Sequence[Sequence[Judged]]
    hostile: FloatArray

    def lines(self) -> list[str]:
        return [*self._agreement(), *self._ranking(), *self._adjustment(), *self._gate()]

    def _columns(self, value: Callable[[Judged], float]) -> FloatArray:
        """Shape (n_features, n_kinds)."""
        return np.array([[value(j) for j in row] for row in self.judged], dtype=np.float64)

    def _agreement(self) -> list[str]:
        llm = self._columns(lambda j: j.llm)
        first, estimate = self._columns(lambda j: j.plain), self._columns(lambda j: j.estimate)
        tokens = self._columns(lambda j: j.token_agreement)
        adjusted = self._columns(lambda j: j.estimate - j.cheap_off)
        rows: dict[str, Callable[[slice], Measure]] = {
            "token-wise correlation": lambda k: lambda i: float(tokens[i][:, k].mean()),
            "LLM score": lambda k: lambda i: float(llm[i][:, k].mean()),
            "plain cheap score": lambda k: lambda i: float(first[i][:, k].mean()),
            "estimate": lambda k: lambda i: float(estimate[i][:, k].mean()),
            "estimate, adjusted": lambda k: lambda i: float(adjusted[i][:, k].mean()),
            "plain: Pearson": lambda k: lambda i: _pearson(first[i][:, k], llm[i][:, k]),
            "plain: MAE": lambda k: lambda i: _mae(first[i][:, k], llm[i][:, k]),
            "estimate: Pearson": lambda k: lambda i: _pearson(estimate[i][:, k], llm[i][:, k]),
            "estimate: MAE": lambda k: lambda i: _mae(estimate[i][:, k], llm[i][:, k]),
        }
        return ["", "## Cheap stage against the LLM", "", *self._by_kind(rows)]

    def _gate(self) -> list[str]:
        half = self._columns(lambda j: j.half_width)
        inside = self._columns(lambda j: abs(j.estimate - j.llm) <= j.half_width)
        rows: dict[str, Callable[[slice], Measure]] = {
            "coverage of the cheap 90 % interval": lambda k: (
                lambda i: float(inside[i][:, k].mean())
            ),
            "half-width": lambda k: lambda i: float(half[i][:, k].mean()),
        }
        for m in PARTS:
            rows |= self._partial(m)
        return ["", "## Gate", "", *self._by_kind(rows)]

    def _partial(self, m: int) -> dict[str, Callable[[slice], Measure]]:
        """Figures of estimates from so many simulated records, where there are more."""
        error = self._columns(
            lambda j: abs(j.partial[m][0] - j.llm) if m in j.partial else float("nan")
        )
        half = self._columns(lambda j: j.partial[m][1] if m in j.partial else float("nan"))
        inside = np.where(np.isnan(error), np.nan, error <= half)
        return {
            f"{m} records simulated: MAE": lambda k: lambda i: float(np.nanmean(error[i][:, k])),
            f"{m} records simulated: coverage": lambda k: (
                lambda i: float(np.nanmean(inside[i][:, k]))
            ),
        }

    def _by_kind(self, rows: dict[str, Callable[[slice], Measure]]) -> list[str]:
        kinds = {"all": slice(None)} | {kind: slice(k, k + 1) for k, kind in enumerate(KINDS)}
        lines = [f"| | {' | '.join(kinds)} |", f"|---|{'---|' * len(kinds)}"]
        for name, measure in rows.items():
            cells = [self._interval(measure(kind)) for kind in kinds.values()]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        return lines

    def _scores(self) -> dict[str, FloatArray]:
        return {
            "estimate": self._columns(lambda j: j.estimate),
            "estimate, adjusted": self._columns(lambda j: j.estimate - j.cheap_off),
            "LLM": self._columns(lambda j: j.llm),
            "LLM, adjusted": self._columns(lambda j: j.llm - j.llm_off),
            "gold: LLM on all records": self._columns(lambda j: j.gold),
        }

    def _ranking(self) -> list[str]:
        gold = self._columns(lambda j: j.gold)
        lines = [
            "",
            "## Ranking within a feature",
            "",
            "| | good above token | above broad | above wrong | Spearman with gold |",
            "|---|---|---|---|---|",
        ]
        for name, scores in self._scores().items():

            def near(i: Indices, scores: FloatArray = scores) -> float:
                return float(spearmanr(scores[i].ravel(), gold[i].ravel())[0])

            cells = [self._interval(_above(scores[:, 0], scores[:, k])) for k in (1, 2, 3)]
            lines.append(f"| {name} | {' | '.join([*cells, self._interval(near)])} |")
        return lines

    def _adjustment(self) -> list[str]:
        matters = np.array([row[0].case.context_matters for row in self.judged])
        lines = [
            "",
            "## Adjustment",
            "",
            "| margin of good over token | context matters | it does not |",
            "|---|---|---|",
        ]
        for name, scores in self._scores().items():
            margin = scores[:, 0] - scores[:, 1]
            cells = [self._interval(_mean_where(margin, chosen)) for chosen in (matters, ~matters)]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        good = self._columns(lambda j: j.estimate - j.cheap_off)[:, 0]
        stuffed, copied = self.hostile.T
        lines += [
            "",
            "| cheap, adjusted | good scores higher | mean score |",
            "|---|---|---|",
            f"| the {STUFFED_WORDS} most frequent peak words as a list "
            f"| {self._interval(_above(good, stuffed))} | {stuffed.mean():.2f} |",
            f"| a top text, copied whole "
            f"| {self._interval(_above(good, copied))} | {copied.mean():.2f} |",
            f"| good | | {good.mean():.2f} |",
        ]
        return lines

    def _interval(self, measure: Measure) -> str:
        return bootstrap(measure, len(self.judged), digits=3)


def bootstrap(measure: Measure, features: int, digits: int) -> str:
    """The figure of all features with its bootstrap interval, e.g. "0.81 (0.78, 0.84)"."""
    rng = np.random.default_rng(SEED)
    drawn = [measure(rng.integers(features, size=features)) for _ in range(RESAMPLES)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return f"{measure(np.arange(features)):.{digits}f} ({low:.2f}, {high:.2f})"


def _above(one: FloatArray, other: FloatArray) -> Measure:
    return lambda i: float((one[i] > other[i]).mean())


def _mean_where(values: FloatArray, chosen: npt.NDArray[np.bool_]) -> Measure:
    return lambda i: float(values[i][chosen[i]].mean())


def _pearson(one: FloatArray, other: FloatArray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _mae(one: FloatArray, other: FloatArray) -> float:
    return float(np.abs(one - other).mean())
