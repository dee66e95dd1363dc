"""The neutral background corpus: how common a word is, and texts in which it stands elsewhere."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from pipeline.text import WORD
from stages.vocabulary import normalise


@dataclass(frozen=True, slots=True)
class Background:
    """Texts with an index of their words.

    Attributes
    ----------
    words : the words of each text, as written. index : which texts have these words.
    places : normalised word → (text, position) of each occurrence.
    total : words in all texts.
    """

    texts: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    index: dict[tuple[str, ...], list[int]]
    places: dict[str, list[tuple[int, int]]]
    total: int

    def log_frequency(self, words: list[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Natural logarithm of each normalised word's share, one occurrence added to all."""
        counts = np.array([len(self.places.get(word, ())) for word in words], dtype=np.float64)
        return np.log((counts + 1.0) / self.total)


@cache
def background() -> Background:
    """The shipped corpus: 4,000 licence-clean texts of some 64 tokens."""
    path = files("stages") / "data" / "background.jsonl.gz"
    with path.open("rb") as raw, gzip.open(raw, "rt", encoding="utf-8") as lines:
        texts = tuple(json.loads(line)["text"] for line in lines)
    words = tuple(tuple(WORD.findall(text)) for text in texts)
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    index: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for text, text_words in enumerate(words):
        index[text_words].append(text)
        for position, word in enumerate(text_words):
            places[normalise(word)].append((text, position))
    return Background(texts, words, dict(index), dict(places), sum(map(len, words)))
