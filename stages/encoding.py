"""What the cheap stage knows of a text before it sees any explanation, and a cache of it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.text import IntArray
from stages.background import background
from stages.embedding import Encoder, Float32Array, WordVectors
from stages.lexical import normalise, stem

TRAITS = ("log_frequency", "is_letter", "is_digit", "is_capital", "is_alphanumeric", "length")


@dataclass(frozen=True, slots=True)
class EncodedText:
    """A text's words, interned, with their vectors.

    Attributes
    ----------
    written : the words as they stand in the text.
    words, stems, cases : shape (n_words,), hashes of the normalised words, of their stems and of
        the words as written.
    traits : what the words are, whatever the explanation: each of `TRAITS`, shape (n_words,).
    vectors : the words' vectors.
    """

    written: tuple[str, ...]
    words: IntArray
    stems: IntArray
    cases: IntArray
    traits: Mapping[str, Float32Array]
    vectors: WordVectors


def interned(words: Sequence[str]) -> IntArray:
    """Hashes of strings, so that whole texts are compared with one numpy call."""
    return np.fromiter(map(hash, words), dtype=np.int64, count=len(words))


class TextEncoder:
    """Encodes texts, each once while it stays among the most recent ones.

    Parameters
    ----------
    most_words : how many words of recent texts are kept, at some 4 kB each.

    Notes
    -----
    Safe to share between threads: the encoder runs in one thread at a time, as more would only
    compete for the same cores.
    """

    def __init__(self, encoder: Encoder, most_words: int = 60_000) -> None:
        self.encoder = encoder
        self._most_words = most_words
        self._words = 0
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
            self._words += sum(map(len, fresh))
            for words, encoded in zip(texts, found, strict=True):
                self._kept[words] = encoded
                self._kept.move_to_end(words)
            while self._words > self._most_words:
                self._words -= len(self._kept.popitem(last=False)[0])
        return found


def _intern(written: tuple[str, ...], vectors: WordVectors) -> EncodedText:
    plain = [normalise(word) for word in written]
    traits = {
        "log_frequency": background().log_frequency(plain),
        "is_letter": [word[:1].isalpha() for word in written],
        "is_digit": [word[:1].isdigit() for word in written],
        "is_capital": [word[:1].isupper() for word in written],
        "is_alphanumeric": [word[:1].isalnum() for word in written],
        "length": [len(word) for word in written],
    }
    return EncodedText(
        written,
        words=interned(plain),
        stems=interned([stem(word) for word in plain]),
        cases=interned(written),
        traits={name: np.array(trait, dtype=np.float32) for name, trait in traits.items()},
        vectors=vectors,
    )
