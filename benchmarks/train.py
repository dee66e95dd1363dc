"""Train the shipped weights and measure them on features they have not seen: `make train`.

Writes `stages/data/{word_vectors,head,gate}.safetensors` and `benchmarks/results/train.md`. The
figures are nested: whatever judges a fold's features (head, gate, quantiles, hyperparameters) was
fitted on the other folds only.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks.dataset import FOLDS, load
from benchmarks.fitting import (
    GateData,
    Rows,
    Sample,
    fit_gate,
    fit_head,
    foreign_sample,
    part_sample,
    predicted,
    rows,
    whole_sample,
)
from benchmarks.report import Judged, table
from stages.cheap import HEAD_PATH, CheapPredictor
from stages.embedding import STATIC_VECTORS, MiniLM, save_static_vectors
from stages.encoding import TextEncoder
from stages.gate import GATE_PATH, evidence
from stages.head import Head

SEED = 0
RESULTS = Path(__file__).parent / "results"

logger = logging.getLogger(__name__)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    save_static_vectors(MiniLM(), STATIC_VECTORS)
    encoder = TextEncoder(MiniLM(), most_words=10_000_000)
    cases = load(SEED)
    rng = np.random.default_rng(SEED)
    predictor = CheapPredictor(encoder, Head.empty())
    whole = [whole_sample(case, predictor) for case in cases]
    parts = [part_sample(case, predictor, rng) for case in cases]
    foreign = [foreign_sample(case, cases, predictor, rng) for case in cases[::8]]
    training = [rows(sample, predictor) for sample in whole]
    logger.info("features worked out for %d cases", len(cases))

    heads = {
        held: fit_head(_without(training, held), SEED)
        for count in (0, 1, 2)
        for held in combinations(range(FOLDS), count)
    }
    logger.info("%d heads fitted", len(heads))
    heads[()].save(HEAD_PATH)

    samples = [*whole, *parts, *foreign]
    fit_gate(_gate_data(samples, heads, None), SEED).save(GATE_PATH)
    judged = []
    for fold in range(FOLDS):
        gate = fit_gate(_gate_data(samples, heads, fold), SEED)
        judge = CheapPredictor(encoder, heads[(fold,)])
        for sample in whole:
            if sample.case.fold == fold:
                prediction = predicted(sample, heads[(fold,)])
                judged.append(Judged.of(sample, prediction, judge, gate, SEED))
        logger.info("fold %d judged", fold)
    RESULTS.mkdir(exist_ok=True)
    text = table(judged)
    (RESULTS / "train.md").write_text(text, encoding="utf-8")
    logger.info("\n%s", text)


def _without(training: Sequence[Rows], held: tuple[int, ...]) -> list[Rows]:
    return [part for part in training if part.case.fold not in held]


def _gate_data(
    samples: Sequence[Sample], heads: dict[tuple[int, ...], Head], held: int | None
) -> GateData:
    """The samples outside the held fold, each judged by a head that saw neither fold."""
    chosen = [sample for sample in samples if sample.case.fold != held]
    predictions = [
        predicted(s, heads[tuple(sorted({s.case.fold} | ({held} if held is not None else set())))])
        for s in chosen
    ]
    return GateData(
        inputs=np.array([evidence(prediction) for prediction in predictions]),
        scores=np.array([sample.llm_score for sample in chosen]),
        groups=np.array([sample.case.fold for sample in chosen]),
        samples=tuple(sample for sample in chosen if sample.recorded),
        predictions=tuple(
            prediction
            for sample, prediction in zip(chosen, predictions, strict=True)
            if sample.recorded
        ),
    )


if __name__ == "__main__":
    main()
