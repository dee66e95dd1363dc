"""The models that judge a held-out fold: fitted by `make train` on the other folds only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.rungs import Rungs
from pipeline.records import Request
from stages.adjust import adjust_for_context
from stages.cheap import CheapPredictor
from stages.contrast import find_contrasts
from stages.embedding import MiniLM
from stages.gate import Gate
from stages.observation import Observer


@dataclass(frozen=True, slots=True)
class FoldModels:
    """The cheap stage and the gate that have seen nothing of one fold."""

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


def fold_models(fold: int, observer: Observer, minilm: MiniLM) -> FoldModels:
    """Load them; folds may share the observer, and so what it has embedded."""
    rungs = Rungs.load(fold_folder(fold), minilm)
    gate = Gate.load(fold_folder(fold) / "gate.safetensors")
    return FoldModels(CheapPredictor(observer, rungs.head, rungs.reader), gate)
