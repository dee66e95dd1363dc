"""Neurons of kinds and in texts unlike the recorded ones, invented (`data/README.md`).

Nothing is taught on the judged ones, so that what becomes of neurons from elsewhere is seen.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from benchmarks.dataset import FOLDS, Case
from benchmarks.written import dense, record_of
from pipeline.records import Request
from pipeline.text import WORD

_FOLDER = Path(__file__).parent / "data"
JUDGED, STRANGE = _FOLDER / "invented.jsonl.gz", _FOLDER / "strange.jsonl.gz"
KINDS = {
    JUDGED: ("good", "plain", "token", "broad", "wrong"),
    STRANGE: ("good", "plain", "token", "broad", "wrong", "half"),
}


def invented_cases(data: Path) -> list[Case]:
    """A case for each explanation, on the texts in which its neuron fires; the others come further.

    Parameters
    ----------
    data : `JUDGED`, by which shipped models are judged, or `STRANGE`, which teaches.
    """
    with gzip.open(data, "rt", encoding="utf-8") as lines:
        neurons = [json.loads(line) for line in lines]
    return [case for number, neuron in enumerate(neurons) for case in _cases(number, neuron)]


def _cases(number: int, neuron: dict[str, Any]) -> list[Case]:
    texts = neuron["texts"]
    spans = [[match.span() for match in WORD.finditer(text)] for text in texts]
    values = [dense(neuron["values"].get(str(i), {}), len(s)) for i, s in enumerate(spans)]
    fires = [i for i, of_text in enumerate(values) if of_text.any()]
    order = [*fires, *(i for i in range(len(texts)) if i not in fires)]
    records = tuple(record_of(texts[i], spans[i], values[i]) for i in order)
    return [
        Case(
            neuron["feature"],
            number % FOLDS,
            context_matters=True,
            kind=explanation["kind"],
            top=Request(explanation["text"], records[: len(fires)]),
            all_records=Request(explanation["text"], records),
            simulated=tuple(
                dense(explanation["simulated"].get(str(i), {}), len(spans[i])) for i in order
            ),
            recorded=False,
        )
        for explanation in neuron["explanations"]
    ]
