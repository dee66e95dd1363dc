"""Train the shipped weights: `make train`, some four hours on two cores.

Writes `stages/data/{word_vectors,head,reader,gate}.safetensors`, and under `benchmarks/data/folds`
the same for each held-out fold, with which the other benchmarks judge. All is nested: whatever
judges a fold's features (head, reader, gate, quantiles, hyperparameters) was fitted on the other
folds only.

With `--gate` the rungs of the last run (`benchmarks/.work`) are kept, and only gates are fitted.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.dataset import FOLDS, Case, load
from benchmarks.fitting import Sample, foreign_sample, part_sample, rows, whole_sample
from benchmarks.folds import fold_folder
from benchmarks.further import TAUGHT, further_cases
from benchmarks.gate_fitting import GateData, fit_gate
from benchmarks.invented import STRANGE, invented_cases
from benchmarks.made import made_cases
from benchmarks.rungs import HELD, Held, Rungs, fit_rungs
from benchmarks.written import written_cases
from stages.cheap import HEAD_PATH, CheapPredictor
from stages.embedding import STATIC_VECTORS, MiniLM, save_static_vectors
from stages.encoding import TextEncoder
from stages.gate import GATE_PATH
from stages.gate_evidence import evidence
from stages.observation import Observer
from stages.reader import READER_PATH

SEED = 0
MADE_NEURONS = 189
_MADE_IN_GATE = 80
_WRITTEN_IN_GATE = 1000
_STRANGE_IN_GATE, _STRANGE_WEIGHT = 480, 0.3
WORK = Path(__file__).parent / ".work" / "rungs"

logger = logging.getLogger(__name__)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    save_static_vectors(MiniLM(), STATIC_VECTORS)
    minilm = MiniLM()
    observer = Observer(TextEncoder(minilm, most_words=10_000_000))
    cases, made, written = load(SEED), made_cases(MADE_NEURONS, SEED), written_cases(SEED)

    def whole(of: Sequence[Case]) -> list[Sample]:
        return [whole_sample(case, observer) for case in of]

    samples = [
        *whole(cases),
        *_parts_and_foreign(cases, observer),
        *whole(_some(made, _MADE_IN_GATE)),
        *whole(_some(written, _WRITTEN_IN_GATE)),
    ]
    invented = invented_cases(STRANGE)
    strange = whole(_some(invented, _STRANGE_IN_GATE))
    logger.info("features worked out for %d samples", len(samples) + len(strange))
    if "--gate" in sys.argv[1:]:
        rungs = {held: Rungs.load(_work(held), minilm) for held in HELD}
    else:
        further = further_cases(cases, TAUGHT)
        common, unlike = (
            [rows(sample, observer) for sample in whole(taught)]
            for taught in ([*cases, *made, *written, *further], invented)
        )
        rungs = fit_rungs(common, unlike, minilm, SEED)
        for held, fitted in rungs.items():
            fitted.save(_work(held))
    rungs[frozenset()].head.save(HEAD_PATH)
    rungs[frozenset()].reader.save(READER_PATH)

    predictors = {held: CheapPredictor(observer, r.head, r.reader) for held, r in rungs.items()}
    fit_gate(_gate_data(samples, strange, predictors, None), SEED).save(GATE_PATH)
    for fold in range(FOLDS):
        rungs[frozenset({fold})].save(fold_folder(fold))
        gate = fit_gate(_gate_data(samples, strange, predictors, fold), SEED)
        gate.save(fold_folder(fold) / "gate.safetensors")
        logger.info("fold %d done", fold)


def _parts_and_foreign(cases: Sequence[Case], observer: Observer) -> list[Sample]:
    """Smaller requests, and some with another feature's explanation."""
    rng = np.random.default_rng(SEED)
    parts = [part_sample(case, observer, rng) for case in cases]
    foreign = [foreign_sample(case, cases, observer, rng) for case in cases[::8]]
    return [*parts, *foreign]


def _some(cases: Sequence[Case], number: int) -> list[Case]:
    """So many of them, each equally likely."""
    chosen = np.random.default_rng(SEED).choice(len(cases), number, replace=False)
    return [cases[i] for i in np.sort(chosen)]


def _work(held: Held) -> Path:
    return WORK / ("-".join(map(str, sorted(held))) or "none")


def _gate_data(
    samples: Sequence[Sample],
    strange: Sequence[Sample],
    predictors: Mapping[Held, CheapPredictor],
    held: int | None,
) -> GateData:
    """The samples outside the held fold, each judged by rungs that saw neither fold."""
    unseen = frozenset() if held is None else frozenset({held})
    common = [sample for sample in samples if sample.case.fold != held]
    chosen = [*common, *(sample for sample in strange if sample.case.fold != held)]
    predictions = [predictors[unseen | {s.case.fold}].judge(s.seen) for s in chosen]
    recorded = [sample.case.recorded for sample in chosen]
    return GateData(
        inputs=np.array([evidence(prediction) for prediction in predictions]),
        scores=np.array([sample.llm_score for sample in chosen]),
        groups=np.array([sample.case.fold for sample in chosen]),
        weights=np.where(np.arange(len(chosen)) < len(common), 1.0, _STRANGE_WEIGHT),
        samples=tuple(s for s, known in zip(chosen, recorded, strict=True) if known),
        predictions=tuple(p for p, known in zip(predictions, recorded, strict=True) if known),
    )


if __name__ == "__main__":
    main()
