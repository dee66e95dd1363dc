"""The words of several texts end to end, with shifts and windows that stay inside each text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.text import IntArray
from stages.embedding import Float32Array, normalised, single
from stages.encoding import REACHES, TRAITS, EncodedText

Column = npt.NDArray[Any]
"""One number or truth value a word."""

AROUND = (-5, -4, -3, -2, -1, 1, 2, 3, 4, 5)
LEFT = (-4, -3, -2, -1)
RIGHT = (1, 2, 3, 4)
"""Offsets at which features look beside a word, for `Words.near`."""


class Words:
    """All words of some texts.

    Attributes
    ----------
    texts : the texts themselves.
    text_of, position : shape (n_words,), each word's text and its place there.
    written : the words as they stand in the texts.
    words, stems, cases, traits : as in `EncodedText`.
    contextual, static : shape (n_words, dim), as in `WordVectors`.
    """

    def __init__(self, texts: Sequence[EncodedText]) -> None:
        self.texts = tuple(texts)
        self.sizes = np.array([len(text.words) for text in texts], dtype=np.int64)
        self.text_of = np.repeat(np.arange(len(texts)), self.sizes)
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.position = np.arange(len(self.text_of)) - self.starts[self.text_of]
        self.written = [word for text in texts for word in text.written]
        self.words = np.concatenate([text.words for text in texts])
        self.stems = np.concatenate([text.stems for text in texts])
        self.contextual = single(np.concatenate([text.vectors.contextual for text in texts]))
        self.static = single(np.concatenate([text.vectors.static for text in texts]))
        self.cases = np.concatenate([text.cases for text in texts])
        self.traits = {
            name: np.concatenate([text.traits[name] for text in texts]) for name in TRAITS
        }
        self._lengths = np.concatenate([text.lengths for text in texts], axis=1)

    def __len__(self) -> int:
        return len(self.text_of)

    def split(self, column: Column) -> list[Column]:
        """A column cut into its texts."""
        return np.split(column, self.starts[1:])

    def shifted(self, column: Column, by: int) -> Column:
        """The entry of the word `by` places further on (negative: back); 0 beyond the text."""
        if by == 0:
            return column
        out = np.zeros_like(column)
        if abs(by) < len(self):
            source = slice(by, None) if by > 0 else slice(None, by)
            target = slice(None, -by) if by > 0 else slice(-by, None)
            same_text = self.text_of[source] == self.text_of[target]
            out[target][same_text] = column[source][same_text]
        return out

    def near(self, column: Column, offsets: Iterable[int]) -> Column:
        """The largest entry at the offsets from each word; 0 beyond the text."""
        return reduce(np.maximum, (self.shifted(column, by) for by in offsets))

    def windows(self, reach: int, at: IntArray) -> Float32Array:
        """Shape (len(at), dim): mean of the words at most `reach` from each, itself left out."""
        low, high = self._around(reach)
        vectors = self.contextual
        sums = [vectors[low[i] : high[i]].sum(axis=0) - vectors[i] for i in at]
        return normalised(np.array(sums, np.float32).reshape(-1, vectors.shape[1]))

    def window_cosines(self, reach: int, cosines: Float32Array) -> Float32Array:
        """The cosines that the words' windows have, worked out from those of the words.

        Parameters
        ----------
        reach : one of `REACHES`.
        cosines : shape (n_vectors, n_words), of some vectors with each word.
        """
        sums = np.zeros((len(cosines), len(self) + 1))
        np.cumsum(cosines, axis=1, dtype=np.float64, out=sums[:, 1:])
        low, high = self._around(reach)
        around = sums[:, high] - sums[:, low] - cosines
        # Around a lone word there is nothing but the rounding of its own cosine.
        lengths = np.maximum(self._lengths[REACHES.index(reach)], 1e-6)
        return np.asarray(around / lengths, dtype=np.float32)

    def _around(self, reach: int) -> tuple[IntArray, IntArray]:
        """Shape (n_words,) each: [first, last) of each word's window."""
        here, start = np.arange(len(self)), self.starts[self.text_of]
        ends = start + self.sizes[self.text_of]
        return np.maximum(here - reach, start), np.minimum(here + reach + 1, ends)

    def text_max(self, column: Column) -> Column:
        """The largest entry of the word's text."""
        out = np.full(len(self.sizes), -np.inf)
        np.maximum.at(out, self.text_of, column)
        return out[self.text_of]

    def text_sum(self, column: Column) -> Column:
        """The sum over the word's text."""
        return np.bincount(self.text_of, column, minlength=len(self.sizes))[self.text_of]

    def text_mean(self, column: Column) -> Column:
        """The mean over the word's text."""
        return self.text_sum(column) / self.sizes[self.text_of]
