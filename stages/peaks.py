"""The words on which a neuron's strongest texts peak."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pipeline.records import Request
from stages.vocabulary import normalise, stem

_STRONG = 0.5  # share of the largest activation from which a record's peak counts


def peaks_of(request: Request, least: float = _STRONG) -> list[tuple[int, int]]:
    """(record, word) of each strong record's peak; a text that was sent twice tells nothing twice.

    Parameters
    ----------
    least : share of the largest activation from which a record is strong.
    """
    largest = max(float(record.values.max()) for record in request.records)
    found: dict[tuple[str, ...], tuple[int, int]] = {}
    for index, (record, text) in enumerate(zip(request.records, request.texts, strict=True)):
        word = int(text.token_words[record.values.argmax()])
        if largest > 0 and record.values.max() >= least * largest and word >= 0:
            found.setdefault(record.tokens, (index, word))
    return list(found.values())


def peak_stems(request: Request, least: float = _STRONG) -> Counter[str]:
    """The stems of the peak words, and of how many strong records each is the peak."""
    found = peaks_of(request, least)
    return Counter(stem(normalise(request.texts[record].words[word])) for record, word in found)


def kinds_of(peaks: Counter[str]) -> float:
    """How many different peak words there are, rare ones counted for less.

    The exponential of the entropy: Hill 1973, "Diversity and Evenness".
    """
    shares = np.array(list(peaks.values())) / max(peaks.total(), 1)
    return float(np.exp(-shares @ np.log(shares)))
