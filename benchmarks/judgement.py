"""How well scores judge explanations, on features never seen: `make bench-judgement`.

Every feature is judged by models that were fitted on the other folds (`make train`); intervals are
95 % bootstrap intervals over features. Writes `benchmarks/results/judgement.md`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

import pipeline
from benchmarks.dataset import FOLDS, KINDS, load
from benchmarks.fitting import Sample, whole_sample
from benchmarks.folds import FoldModels, fold_models
from benchmarks.judged import PARTS, Judged
from benchmarks.recorded import RecordedSimulator
from benchmarks.sanity import FREQUENCIES, exact_correlation, falls, trials
from pipeline.records import Request
from pipeline.simulation import FloatArray
from stages.adjust import adjust_for_context
from stages.combine import combine
from stages.contrast import find_contrasts
from stages.embedding import MiniLM
from stages.encoding import TextEncoder
from stages.lexical import normalise
from stages.observation import Observer
from stages.rounds import simulate_rounds

SEED = 0
RESULTS = Path(__file__).parent / "results"
RESAMPLES = 1000
TOLERANCES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
STUFFED_WORDS = 10

Indices = npt.NDArray[np.int64]
Measure = Callable[[Indices], float]
"""A figure of some features, each as often as it is drawn."""

logger = logging.getLogger(__name__)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    minilm = MiniLM()
    observer = Observer(TextEncoder(minilm, most_words=2_000_000))
    cases = load(SEED)
    judged: dict[tuple[str, str], Judged] = {}
    hostile: dict[str, tuple[float, float]] = {}
    curves: list[list[Outcome]] = []
    for fold in range(FOLDS):
        models = fold_models(fold, observer, minilm)
        for case in (case for case in cases if case.fold == fold):
            sample = whole_sample(case, observer)
            judged[case.feature, case.kind] = Judged.of(sample, models.predictor, models.gate, SEED)
            curves.append(_outcomes(sample, models))
            if case.kind == "good":
                hostile[case.feature] = (
                    _cheap_score(_stuffed(case.top), models),
                    _cheap_score(_copied(case.top), models),
                )
        logger.info("fold %d judged", fold)
    features = sorted(hostile)
    table = Table(
        [[judged[feature, kind] for kind in KINDS] for feature in features],
        np.array([hostile[feature] for feature in features]),
    )
    text = "\n".join(
        [
            "# Judgement",
            "",
            f"{len(features)} features that the judging models have not seen, {len(KINDS)} "
            "explanations each, on top records; 95 % bootstrap intervals over features in "
            "brackets. Written by `make bench-judgement`.",
            *table.lines(),
            *_curve_lines(curves),
            *_sanity_lines(),
        ]
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "judgement.md").write_text(text + "\n", encoding="utf-8")
    logger.info("\n%s", text)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What scoring a case at one tolerance came to; `texts` is the share that was simulated."""

    cheap: bool
    error: float
    covered: bool
    texts: float


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
        """The figure of all features, and its bootstrap interval."""
        rng, n = np.random.default_rng(SEED), len(self.judged)
        drawn = [measure(rng.integers(n, size=n)) for _ in range(RESAMPLES)]
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        return f"{measure(np.arange(n)):.3f} ({low:.2f}, {high:.2f})"


def _above(one: FloatArray, other: FloatArray) -> Measure:
    return lambda i: float((one[i] > other[i]).mean())


def _mean_where(values: FloatArray, chosen: npt.NDArray[np.bool_]) -> Measure:
    return lambda i: float(values[i][chosen[i]].mean())


def _pearson(one: FloatArray, other: FloatArray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _mae(one: FloatArray, other: FloatArray) -> float:
    return float(np.abs(one - other).mean())


def _cheap_score(request: Request, models: FoldModels) -> float:
    """The adjusted score that no LLM was asked for."""
    prediction = models.predictor.predict(request)
    raw = models.gate.estimate(prediction).score
    contrasts = find_contrasts(prediction, models.predictor)
    return raw - adjust_for_context(request, contrasts, prediction.strengths, raw).taken_off


def _stuffed(request: Request) -> Request:
    """The most frequent peak words as the whole explanation."""
    peaks = Counter(
        normalise(text.words[word])
        for text, record in zip(request.texts, request.records, strict=True)
        if (word := int(text.token_words[record.values.argmax()])) >= 0
    )
    words = ", ".join(f"'{word}'" for word, _ in peaks.most_common(STUFFED_WORDS))
    return Request(f"the words {words}", request.records)


def _copied(request: Request) -> Request:
    """The strongest text as the explanation."""
    strongest = max(range(len(request.records)), key=lambda i: request.records[i].values.max())
    return Request(request.texts[strongest].text.strip(), request.records)


def _outcomes(sample: Sample, models: FoldModels) -> list[Outcome]:
    """Score a case with the recorded LLM in stage two, at each tolerance."""
    case, prediction = sample.case, models.predictor.judge(sample.seen)
    prior, llm = models.gate.estimate(prediction), RecordedSimulator(case)
    n, out = len(case.top.records), []
    for tolerance in TOLERANCES:
        done = simulate_rounds(case.top, models.gate, prior, llm, tolerance, None)
        score = combine(case.top, prediction.strengths, done.values, prior, models.gate.constants)
        low, high = models.gate.interval(prior, score, len(done.values), n)
        out.append(
            Outcome(
                cheap=not done.values,
                error=abs(score - case.llm_score),
                covered=low - 1e-9 <= case.llm_score <= high + 1e-9,
                texts=len(done.values) / n,
            )
        )
    return out


def _curve_lines(curves: Sequence[Sequence[Outcome]]) -> list[str]:
    lines = [
        "",
        "| tolerance | decided without an LLM | MAE of those | MAE of all | coverage of all "
        "| texts simulated |",
        "|---|---|---|---|---|---|",
    ]
    for tolerance, outcomes in zip(TOLERANCES, zip(*curves, strict=True), strict=True):
        alone = [o.error for o in outcomes if o.cheap]
        figures = [
            f"{len(alone) / len(outcomes):.0%}",
            f"{np.mean(alone):.3f}" if alone else "-",
            f"{np.mean([o.error for o in outcomes]):.3f}",
            f"{np.mean([o.covered for o in outcomes]):.3f}",
            f"{np.mean([o.texts for o in outcomes]):.0%}",
        ]
        lines.append(f"| {tolerance} | {' | '.join(figures)} |")
    return lines


def _sanity_lines() -> list[str]:
    """Narrower and broader explanations of made neurons, by the shipped models."""
    scorer = pipeline.Scorer(pipeline.Settings())

    def ours(request: Request) -> tuple[float, float]:
        """The adjusted score and the raw one."""
        result = scorer.score(request.explanation, request.records, simulator=None)
        return result.score or 0.0, result.raw_score or 0.0

    def exact(request: Request) -> tuple[float]:
        return (exact_correlation(request),)

    lines = [
        "",
        "## Sanity tests (Oikarinen et al. 2025)",
        "",
        "How often the score falls, of made neurons that fire in such a share of the texts.",
        "",
        "| frequency | test | ours, adjusted | ours, raw | exact correlation on top records "
        "| on top and random records |",
        "|---|---|---|---|---|---|",
    ]
    for frequency in FREQUENCIES:
        made = trials(frequency, SEED)
        columns = np.mean(
            [
                np.concatenate(
                    [
                        falls(trial, ours, trial.top),
                        falls(trial, exact, trial.top),
                        falls(trial, exact, trial.mixed),
                    ],
                    axis=1,
                )
                for trial in made
            ],
            axis=0,
        )
        for test, shares in zip(("missing labels", "extra labels"), columns, strict=True):
            cells = " | ".join(f"{share:.0%}" for share in shares)
            lines.append(f"| {frequency} | {test} | {cells} |")
        logger.info("sanity tests at %s done", frequency)
    return lines


if __name__ == "__main__":
    main()
