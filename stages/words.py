"""The words of several texts end to end, with shifts and windows that stay inside each text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.embedding import Float32Array, normalised
from stages.encoding import TRAITS, EncodedText

Column = npt.NDArray[Any]
"""One number or truth value a word."""


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
        self.contextual = np.concatenate([text.vectors.contextual for text in texts])
        self.static = np.concatenate([text.vectors.static for text in texts])
        self.cases = np.concatenate([text.cases for text in texts])
        self.traits = {
            name: np.concatenate([text.traits[name] for text in texts]) for name in TRAITS
        }
        self._windows: dict[int, Float32Array] = {}

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

    def windows(self, reach: int) -> Float32Array:
        """Shape (n_words, dim): mean of the words at most `reach` away, the word left out."""
        if reach not in self._windows:
            self._windows[reach] = self._mean_around(reach)
        return self._windows[reach]

    def _mean_around(self, reach: int) -> Float32Array:
        sums = np.cumsum(self.contextual, axis=0, dtype=np.float64)
        sums = np.concatenate([np.zeros_like(sums[:1]), sums])
        here, start = np.arange(len(self)), self.starts[self.text_of]
        low = np.maximum(here - reach, start)
        high = np.minimum(here + reach + 1, start + self.sizes[self.text_of])
        return normalised((sums[high] - sums[low] - self.contextual).astype(np.float32))

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
