"""What the cheap stage knows of a text before it sees any explanation, and a cache of it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.text import IntArray
from stages.embedding import Encoder, WordVectors
from stages.lexical import normalise, stem


@dataclass(frozen=True, slots=True)
class EncodedText:
    """A text's words, interned, with their vectors.

    Attributes
    ----------
    written : the words as they stand in the text.
    words, stems : shape (n_words,), hashes of the normalised words and of their stems.
    vectors : the words' vectors.
    """

    written: tuple[str, ...]
    words: IntArray
    stems: IntArray
    vectors: WordVectors


def interned(words: Sequence[str]) -> IntArray:
    """Hashes of strings, so that whole texts are compared with one numpy call."""
    return np.fromiter(map(hash, words), dtype=np.int64, count=len(words))


class TextEncoder:
    """Encodes texts, each once while it stays among the `size` most recent ones.

    Safe to share between threads: the encoder runs in one thread at a time, as more would only
    compete for the same cores.
    """

    def __init__(self, encoder: Encoder, size: int = 4096) -> None:
        self.encoder = encoder
        self._size = size
        self._kept: OrderedDict[tuple[str, ...], EncodedText] = OrderedDict()
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[tuple[str, ...]]) -> list[EncodedText]:
        """Encode the words of each text.

        Parameters
        ----------
        texts : the words of each text, as written.
        """
        with self._lock:
            new = [words for words in dict.fromkeys(texts) if words not in self._kept]
            fresh = dict(zip(new, map(_intern, new, self.encoder.encode(new)), strict=True))
            found = [fresh.get(words) or self._kept[words] for words in texts]
            for words, encoded in zip(texts, found, strict=True):
                self._kept[words] = encoded
                self._kept.move_to_end(words)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return found


def _intern(written: tuple[str, ...], vectors: WordVectors) -> EncodedText:
    plain = [normalise(word) for word in written]
    return EncodedText(written, interned(plain), interned([stem(w) for w in plain]), vectors)
