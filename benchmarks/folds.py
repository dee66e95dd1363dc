"""The models that judge a held-out fold, fitted by `make train` on the other folds only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.rungs import Rungs
from pipeline.records import Request
from stages.adjust import adjust_for_context
from stages.cheap import CheapPredictor
from stages.contrast import find_contrasts
from stages.embedding import MiniLM
from stages.gate import GATE_PATH, Gate
from stages.observation import Observer


@dataclass(frozen=True, slots=True)
class Models:
    """A cheap stage, and the gate fitted on what it predicts."""

    predictor: CheapPredictor
    gate: Gate

    def score(self, request: Request) -> float:
        """The adjusted score that no LLM was asked for."""
        prediction = self.predictor.predict(request)
        raw = self.gate.estimate(prediction).score
        contrasts = find_contrasts(prediction, self.predictor)
        return raw - adjust_for_context(request, contrasts, prediction.strengths, raw).taken_off


def fold_folder(fold: int) -> Path:
    return Path(__file__).parent / "data" / "folds" / str(fold)


def fold_models(fold: int, observer: Observer, minilm: MiniLM) -> Models:
    """Load them; folds may share the observer, and so what it has embedded."""
    return _models(fold_folder(fold), observer, minilm)


def shipped_models(observer: Observer, minilm: MiniLM) -> Models:
    """Those fitted on all folds, which judge what is of none."""
    return _models(GATE_PATH.parent, observer, minilm)


def _models(folder: Path, observer: Observer, minilm: MiniLM) -> Models:
    rungs = Rungs.load(folder, minilm)
    gate = Gate.load(folder / "gate.safetensors")
    return Models(CheapPredictor(observer, rungs.head, rungs.reader), gate)
