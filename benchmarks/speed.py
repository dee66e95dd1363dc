"""How long a score takes without an LLM, beside the bare encoder: `make bench-speed`.

Each figure is the median over several features of 20 texts of 64 tokens. The baseline of the same
run is sentence-transformers' own `encode` of those texts, all in one call.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

import pipeline
from benchmarks.dataset import KINDS, Case, load
from stages.embedding import MiniLM

RESULTS = Path(__file__).parent / "results"
FEATURES = 12


def main() -> None:
    imported = min(_seconds_of(_import_alone) for _ in range(3))
    features = [cases for cases in _features() if len(cases[0].top.records) == 20][:FEATURES]
    scorer = pipeline.Scorer(pipeline.Settings())

    def score(feature: int, explanation: int) -> None:
        case = features[feature][explanation]
        scorer.score(case.top.explanation, case.top.records, simulator=None)

    first = _seconds_of(partial(score, 0, 0))
    cold, warm, bare = [], [], []
    encoder = MiniLM()
    encoder.encode([("word",)])
    for feature in range(1, len(features)):
        texts = [text.text for text in features[feature][0].top.texts]
        bare.append(_seconds_of(partial(encoder.model.encode, texts)))
        cold.append(_seconds_of(partial(score, feature, 0)))
        warm += [_seconds_of(partial(score, feature, k)) for k in range(1, len(KINDS))]
    baseline = float(np.median(bare))
    rows = {
        "`import pipeline`": imported,
        "first score (loads the models)": first,
        "a score on new records": float(np.median(cold)),
        "the same records, a new explanation": float(np.median(warm)),
        "baseline: the bare encoder on the same texts": baseline,
    }
    lines = [f"{platform.processor() or platform.machine()}, {_cores()}, no LLM", ""]
    lines += ["| | seconds | of the baseline |", "|---|---|---|"]
    lines += [f"| {name} | {s:.3f} | {s / baseline:.2f} |" for name, s in rows.items()]
    text = "\n".join(lines) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "speed.md").write_text(text, encoding="utf-8")
    print(text)


def _features() -> list[list[Case]]:
    cases = load()
    return [cases[start : start + len(KINDS)] for start in range(0, len(cases), len(KINDS))]


def _import_alone() -> None:
    subprocess.run([sys.executable, "-c", "import pipeline"], check=True)


def _seconds_of(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _cores() -> str:
    import torch

    return f"{torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
