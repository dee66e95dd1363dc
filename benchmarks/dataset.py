"""The recorded features: records, explanations and the LLM's simulations (`data/README.md`)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.records import ActivationRecord, Request
from pipeline.scoring import correlation_score
from pipeline.simulation import FloatArray

DATA = Path(__file__).parent / "data" / "neurons.jsonl.gz"
KINDS = ("good", "token", "broad", "wrong")
FOLDS = 5


@dataclass(frozen=True)
class Case:
    """One explanation of one feature.

    Attributes
    ----------
    top, all_records : the request that a labelling site sends, and one with every record.
    simulated : one array a record of `all_records` (top ones first), strength 0-10.
    recorded : whether `simulated` is what the reference LLM said, seeing nothing else.
    """

    feature: str
    fold: int
    context_matters: bool
    kind: str
    top: Request
    all_records: Request
    simulated: tuple[FloatArray, ...]
    recorded: bool = True

    @property
    def llm_score(self) -> float:
        """The full simulation's score on the top records."""
        return self._score(self.top)

    @property
    def gold_score(self) -> float:
        """The full simulation's score on all records."""
        return self._score(self.all_records)

    def _score(self, request: Request) -> float:
        simulated = self.simulated[: len(request.records)]
        return correlation_score(request.true_values, np.concatenate(simulated))


@cache
def load(seed: int = 0) -> list[Case]:
    """All cases, features in the file's order, folds drawn by feature."""
    with gzip.open(DATA, "rt", encoding="utf-8") as lines:
        features = [json.loads(line) for line in lines]
    folds = np.random.default_rng(seed).permutation(len(features)) % FOLDS
    return [
        case
        for feature, fold in zip(features, folds, strict=True)
        for case in _cases(feature, int(fold))
    ]


def _cases(feature: dict[str, Any], fold: int) -> Iterator[Case]:
    kinds = [record["kind"] for record in feature["records"]]
    order = sorted(range(len(kinds)), key=lambda i: kinds[i] != "top")
    records = tuple(ActivationRecord.parse(feature["records"][i]) for i in order)
    n_top = kinds.count("top")
    for explanation in feature["explanations"]:
        yield Case(
            feature["feature"],
            fold,
            feature["context_matters"],
            explanation["kind"],
            Request(explanation["text"], records[:n_top]),
            Request(explanation["text"], records),
            tuple(
                _dense(explanation["simulated"][i], len(record.tokens))
                for i, record in zip(order, records, strict=True)
            ),
        )


def _dense(sparse: dict[str, float], n_tokens: int) -> FloatArray:
    out = np.zeros(n_tokens)
    for token, strength in sparse.items():
        out[int(token)] = strength
    return out
