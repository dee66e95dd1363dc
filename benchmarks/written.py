"""Texts and explanations written for training, marked by an LLM (`data/README.md`).

They teach demands and wordings that the recorded features hold few of: a word in one sense
or construction beside others, and concepts whose words the explanation does not name.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dataset import FOLDS, Case
from pipeline.records import ActivationRecord, Request
from pipeline.simulation import FloatArray
from pipeline.text import WORD

DATA = Path(__file__).parent / "data" / "written.jsonl.gz"
_LEAST = 2  # texts of a request
_SHORT = 12  # words


def written_cases(seed: int) -> list[Case]:
    """A case for each explanation, on the texts of its group; the first one is the neuron's own.

    Short texts also make a request by themselves, as small as people try a scorer with.
    """
    rng = np.random.default_rng(seed)
    with gzip.open(DATA, "rt", encoding="utf-8") as lines:
        groups = [json.loads(line) for line in lines]
    return [case for number, group in enumerate(groups) for case in _cases(number, group, rng)]


def _cases(number: int, group: dict[str, Any], rng: np.random.Generator) -> list[Case]:
    texts, (own, *_) = group["texts"], group["explanations"]
    spans = [[match.span() for match in WORD.finditer(text)] for text in texts]
    truth = [dense(own["simulated"].get(str(i), {}), len(s)) for i, s in enumerate(spans)]
    records = [
        record_of(text, words, _varied(strengths, rng))
        for text, words, strengths in zip(texts, spans, truth, strict=True)
    ]
    # A labelling site sends texts in which the neuron fires; the others come as further ones.
    top = [i for i, strengths in enumerate(truth) if strengths.any()]
    rest = [i for i in range(len(texts)) if i not in top]
    short = [i for i, of_text in enumerate(spans) if len(of_text) <= _SHORT]
    requests = [(top, rest)]
    if len(short) >= _LEAST and any(i in top for i in short):
        requests.append((short, []))
    return [
        Case(
            f"written/{number}",
            number % FOLDS,
            context_matters=True,
            kind=group["about"],
            top=Request(explanation["text"], tuple(records[i] for i in chosen)),
            all_records=Request(
                explanation["text"], tuple(records[i] for i in (*chosen, *further))
            ),
            simulated=tuple(
                dense(explanation["simulated"].get(str(i), {}), len(spans[i]))
                for i in (*chosen, *further)
            ),
            recorded=False,
        )
        for chosen, further in requests
        for explanation in group["explanations"]
    ]


def dense(sparse: Mapping[str, float], n_words: int) -> FloatArray:
    """What the file says of some words, by their number, for all of a text's; shape (n_words,)."""
    out = np.zeros(n_words)
    for word, strength in sparse.items():
        out[int(word)] = strength
    return out


def record_of(
    text: str, spans: Sequence[tuple[int, int]], activations: FloatArray
) -> ActivationRecord:
    """A record of one token a word, whose spans and activations are given."""
    ends = [0, *(end for _, end in spans)]
    return ActivationRecord(tuple(text[start:end] for start, end in pairwise(ends)), activations)


def _varied(strengths: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A neuron's activations vary about what its own explanation says."""
    n_words = len(strengths)
    return strengths * rng.uniform(0.5, 1.0, n_words) + rng.exponential(0.1, n_words)
