"""How well scores judge explanations, on features never seen: `make bench-judgement`.

Every feature is judged by models that were fitted on the other folds (`make train`); intervals are
95 % bootstrap intervals over features. Writes `benchmarks/results/judgement.md`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import pipeline
from benchmarks.dataset import FOLDS, KINDS, Case, load
from benchmarks.fitting import whole_sample
from benchmarks.folds import Models, fold_models
from benchmarks.judged import Judged
from benchmarks.judgement_table import STUFFED_WORDS, Table
from benchmarks.recorded import RecordedSimulator
from benchmarks.sanity import FREQUENCIES, exact_correlation, falls, trials
from pipeline.records import Request
from stages.cheap import CheapPrediction
from stages.combine import combine
from stages.embedding import MiniLM
from stages.encoding import TextEncoder
from stages.observation import Observer
from stages.rounds import simulate_rounds
from stages.vocabulary import normalise

SEED = 0
RESULTS = Path(__file__).parent / "results"
TOLERANCES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)

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
            prediction = models.predictor.judge(sample.seen)
            judged[case.feature, case.kind] = Judged.of(
                sample, prediction, models.predictor, models.gate, SEED
            )
            curves.append(_outcomes(case, prediction, models))
            if case.kind == "good":
                hostile[case.feature] = (
                    models.score(_stuffed(case.top)),
                    models.score(_copied(case.top)),
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


def _outcomes(case: Case, prediction: CheapPrediction, models: Models) -> list[Outcome]:
    """Score a case with the recorded LLM in stage two, at each tolerance."""
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
