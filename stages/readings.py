"""What the reader is given: runs of texts with the explanation and hints, padded to batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.simulation import FloatArray
from pipeline.text import IntArray
from stages.encoding import EncodedText

HINTS = (
    "target_word",
    "target_stem",
    "target_first",
    "target_any_word",
    "target_inside",
    "target_phrase",
    "example_phrase",
    "example_word",
    "example_last",
    "example_phrase_near",
    "bigram_here",
    "affix",
    "before_1",
    "before_4",
    "after_1",
    "after_4",
    "head_word",
    "context_word",
    "context_near",
    "excluded",
    "head_class",
    "context_class",
    "context_class_left",
    "is_before_term",
    "is_after_term",
)
"""Lexical features that the reader is told, since word pieces make exact matches hard to see."""

_MOST_EXPLAINED = 256  # pieces of an explanation that are read; honest ones have some 30
_REACH = 8  # words around those asked for that are read with them
_CERTAIN = 0.002  # how far a strength is kept from 0 and 1


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of one run of a text, its words' hints, and the explanation.

    Attributes
    ----------
    explanation, pieces : shape (n_pieces, dim), as in `WordVectors`.
    owners : shape (n_pieces,), word of each of the run's pieces; -1 for the marks around it.
    hints : shape (n_words, len(HINTS) + 1), the last one a third of the head's answer as a logit.
    asked : shape (n_asked,), the words whose strength is wanted.
    """

    explanation: npt.NDArray[np.float16]
    pieces: npt.NDArray[np.float16]
    owners: npt.NDArray[np.int64]
    hints: Tensor
    asked: IntArray

    def __len__(self) -> int:
        return len(self.explanation) + len(self.pieces)


@dataclass(frozen=True, slots=True)
class Batch:
    """Readings, padded to one length.

    Attributes
    ----------
    states : shape (n_texts, length, dim). of_text : shape (n_texts, length), 1 for the text's
        pieces, 0 for the explanation's and the padding.
    padding : shape (n_texts, length), whether a place is empty.
    hints : shape (n_texts, length, n_hints).
    asked : shape (n_texts, 1 + n_asked), places of the first piece and of each asked word's last
        one.
    row, slot : one entry an asked word, where its place is in `asked`.
    """

    states: Tensor
    of_text: Tensor
    padding: Tensor
    hints: Tensor
    asked: Tensor
    row: Tensor
    slot: Tensor

    @classmethod
    def of(cls, readings: Sequence[Reading]) -> Batch:
        shape = len(readings), max(map(len, readings))
        dim, n_hints = readings[0].pieces.shape[1], readings[0].hints.shape[1]
        states = np.zeros((*shape, dim), np.float16)
        hints = np.zeros((*shape, n_hints), np.float32)
        of_text = np.zeros(shape, np.int64)
        padding = np.ones(shape, np.bool_)
        sizes = np.array([len(reading.asked) for reading in readings])
        asked = np.zeros((len(readings), 1 + sizes.max()), np.int64)
        for row, reading in enumerate(readings):
            start, end = len(reading.explanation), len(reading)
            states[row, :start] = reading.explanation
            states[row, start:end] = reading.pieces
            of_text[row, start:end] = 1
            padding[row, :end] = False
            (inside,) = np.nonzero(reading.owners >= 0)
            owners = reading.owners[inside]
            hints[row, start + inside] = reading.hints.numpy()[owners]
            # A word without a piece, beyond what the encoder takes, is read at the text's mark.
            last = np.zeros(len(reading.hints), dtype=np.int64)
            last[owners] = inside
            asked[row, 1 : 1 + sizes[row]] = start + last[reading.asked]
        row_of = np.repeat(np.arange(len(readings)), sizes)
        slot = np.arange(len(row_of)) - (sizes.cumsum() - sizes)[row_of] + 1
        return cls(
            states=torch.from_numpy(states).float(),
            of_text=torch.from_numpy(of_text),
            padding=torch.from_numpy(padding),
            hints=torch.from_numpy(hints),
            asked=torch.from_numpy(asked),
            row=torch.from_numpy(row_of),
            slot=torch.from_numpy(slot),
        )


def readings_of(
    explanation: EncodedText, text: EncodedText, hints: Tensor, asked: npt.NDArray[np.bool_]
) -> list[Reading]:
    """What is read of a text, around the words that are asked for: one reading or none for each of
    the runs in which it was encoded, as attention over a whole long text would take memory by the
    square of its length.

    Parameters
    ----------
    asked : shape (n_words,).
    """
    told = explanation.vectors.pieces[:_MOST_EXPLAINED]
    pieces, owners = text.vectors.pieces, text.vectors.owners
    # Two marks side by side, then a word: one run ends and the next begins.
    marks = owners < 0
    cuts = (np.flatnonzero(marks[:-2] & marks[1:-1] & ~marks[2:]) + 1).tolist()
    words = [0, *(int(owners[cut + 1]) for cut in cuts), len(hints)]
    bounds = zip(pairwise([0, *cuts, len(pieces)]), pairwise(words), strict=True)
    # The marks are read in any case.
    read = np.append(_around(asked), True)[owners]
    return [
        Reading(
            told,
            pieces[start:end][read[start:end]],
            np.where(marks, -1, owners - first)[start:end][read[start:end]],
            hints[first:last],
            np.flatnonzero(asked[first:last]),
        )
        for (start, end), (first, last) in bounds
        if asked[first:last].any()
    ]


def _around(asked: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The words at most `_REACH` from one that is asked for."""
    here = np.arange(len(asked))
    sums = np.append(0, np.cumsum(asked))
    low, high = np.maximum(here - _REACH, 0), np.minimum(here + _REACH + 1, len(asked))
    return np.asarray(sums[high] > sums[low])


def hints_of(columns: Mapping[str, Any], first: FloatArray) -> Tensor:
    """What the reader is told of each word, shape (n_words, len(HINTS) + 1).

    Parameters
    ----------
    first : shape (n_words,), the head's answer, 0-1.
    """
    told = [np.clip(columns[name], 0.0, 2.0) for name in HINTS]
    third = log_odds(first) / 3.0  # in the range of the others
    return torch.from_numpy(np.stack([*told, third], axis=1)).float()


def log_odds(strengths: FloatArray) -> FloatArray:
    """Of strengths 0-1, kept a little away from both ends."""
    sure = np.clip(strengths, _CERTAIN, 1.0 - _CERTAIN)
    return np.asarray(np.log(sure / (1.0 - sure)))
