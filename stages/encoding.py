"""What the cheap stage knows of a text before it sees any explanation, and a cache of it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.text import IntArray
from stages.background import background
from stages.embedding import Encoder, Float32Array, WordVectors, halved
from stages.vocabulary import normalise, remembered, stem

REACHES = (2, 6)
"""How far from a word its surroundings go, in words: the near ones, then the wide ones."""

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
    lengths : shape (len(REACHES), n_words), how long the sum is of the contextual vectors within
        that reach of each word, its own left out.
    vectors : the words' vectors, the contextual ones in half precision, since many are kept. The
        static ones stay exact: trees ask whether two words are the same.
    """

    written: tuple[str, ...]
    words: IntArray
    stems: IntArray
    cases: IntArray
    traits: Mapping[str, Float32Array]
    lengths: Float32Array
    vectors: WordVectors


def interned(words: Sequence[str]) -> IntArray:
    """Hashes of strings, so that whole texts are compared with one numpy call."""
    return np.fromiter(map(hash, words), dtype=np.int64, count=len(words))


class TextEncoder:
    """Encodes texts, each once while it stays among the most recent ones.

    Parameters
    ----------
    most_words : how many words of recent texts are kept, at some 2 kB each.
    lock : held while the encoder runs; that of another one to take turns with it.

    Notes
    -----
    Safe to share between threads: the encoder runs in one thread at a time, as more would only
    compete for the same cores.
    """

    def __init__(
        self, encoder: Encoder, most_words: int = 60_000, lock: threading.Lock | None = None
    ) -> None:
        self.encoder = encoder
        self._most_words = most_words
        self._words = 0
        self._kept: OrderedDict[tuple[str, ...], EncodedText] = OrderedDict()
        self._lock = lock or threading.Lock()

    def encode(self, texts: Sequence[tuple[str, ...]]) -> list[EncodedText]:
        """Encode the words of each text.

        Parameters
        ----------
        texts : the words of each text, as written.
        """
        with self._lock:
            new = [words for words in dict.fromkeys(texts) if words not in self._kept]
            fresh = dict(zip(new, map(intern, new, self.encoder.encode(new)), strict=True))
            found = [fresh.get(words) or self._kept[words] for words in texts]
            self._words += sum(map(len, fresh))
            for words, encoded in zip(texts, found, strict=True):
                self._kept[words] = encoded
                self._kept.move_to_end(words)
            while self._words > self._most_words:
                self._words -= len(self._kept.popitem(last=False)[0])
        return found

    def forget(self) -> None:
        """Drop what is kept."""
        with self._lock:
            self._kept.clear()
            self._words = 0


def intern(written: tuple[str, ...], vectors: WordVectors) -> EncodedText:
    """A text's words with what does not depend on any explanation."""
    lexemes = [_lexeme(word) for word in written]
    words, stems, cases = np.array([h for h, _ in lexemes], np.int64).reshape(-1, 3).T
    traits = np.array([t for _, t in lexemes], np.float32).reshape(-1, len(TRAITS)).T
    return EncodedText(
        written,
        words=words,
        stems=stems,
        cases=cases,
        traits=dict(zip(TRAITS, traits, strict=True)),
        lengths=_lengths(vectors.contextual),
        vectors=replace(vectors, contextual=halved(vectors.contextual)),
    )


@remembered
def _lexeme(word: str) -> tuple[tuple[int, int, int], tuple[float, ...]]:
    """The hashes of a word normalised, of its stem and as written, and its `TRAITS`."""
    plain, first = normalise(word), word[:1]
    traits = (
        background().log_frequency([plain]).item(),
        first.isalpha(),
        first.isdigit(),
        first.isupper(),
        first.isalnum(),
        len(word),
    )
    return (hash(plain), hash(stem(plain)), hash(word)), traits


def _lengths(vectors: npt.NDArray[np.floating]) -> Float32Array:
    """As `EncodedText.lengths`."""
    n_words, widest = len(vectors), REACHES[-1]
    room = np.pad(vectors, ((widest, widest), (0, 0)))
    sums, out, reached = np.zeros_like(vectors), [], 0
    for reach in REACHES:
        for offset in range(reached + 1, reach + 1):
            sums += room[widest - offset :][:n_words]
            sums += room[widest + offset :][:n_words]
        out.append(np.sqrt(np.einsum("ij,ij->i", sums, sums)))
        reached = reach
    return np.stack(out).astype(np.float32)
