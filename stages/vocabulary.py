"""What is known of single words: their stems, the closed classes and lists that they belong to."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, lru_cache, wraps
from importlib.resources import files
from typing import Any, TypeVar

import regex
import snowballstemmer

from pipeline.text import WORD

_T = TypeVar("_T")

_LONGEST_KEPT = 64


def normalise(word: str) -> str:
    """The form in which words are compared: lowercase, straight apostrophes."""
    return word.replace("’", "'").casefold()


def words_of(text: str) -> list[str]:
    """The words of a text as `pipeline.text` counts them, normalised."""
    return [normalise(match[0]) for match in WORD.finditer(text)]


def remembered(function: Callable[[str], _T]) -> Callable[[str], _T]:
    """Cache by word; words too long to be real are worked out anew, so that memory is bounded."""
    kept = lru_cache(maxsize=1 << 14)(function)

    @wraps(function)
    def asked(word: str) -> _T:
        return kept(word) if len(word) <= _LONGEST_KEPT else function(word)

    return asked


@remembered
def stem(word: str) -> str:
    """English Snowball stem of a normalised word, any contraction taken off."""
    base = word.split("'", 1)[0] or word
    # A stemmer keeps the word it works on, so threads cannot share one.
    return str(snowballstemmer.stemmer("english").stemWord(base))


def content_words(text: str) -> tuple[str, ...]:
    """The words of a text that carry meaning in an explanation, in order, each once."""
    lists = word_lists()
    skip = lists["stop"] | lists["meta"]
    words = (word for word in words_of(text) if word not in skip and word[0].isalnum())
    return tuple(dict.fromkeys(words))


@cache
def _class_table() -> dict[str, Any]:
    path = files("stages") / "data" / "word_classes.json"
    table: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return table


@cache
def word_lists() -> dict[str, frozenset[str]]:
    """Closed word classes, stop words, those of other languages and meta words, by name."""
    return {name: frozenset(words) for name, words in _class_table()["words"].items()}


@cache
def _class_names() -> list[tuple[str, regex.Pattern[str]]]:
    """What explanations call each class."""
    return [
        (name, regex.compile(rf"\b(?:{pattern})\b", regex.IGNORECASE))
        for name, pattern in _class_table()["names"].items()
    ]


@cache
def _shapes() -> list[tuple[str, regex.Pattern[str]]]:
    """Classes that a word's characters tell."""
    return [(name, regex.compile(pattern)) for name, pattern in _class_table()["shapes"].items()]


@remembered
def classes_of(word: str) -> frozenset[str]:
    """Names of all classes that a word, as written, belongs to."""
    plain = normalise(word)
    listed = {name for name, words in word_lists().items() if plain in words}
    return frozenset(listed | {name for name, shape in _shapes() if shape.fullmatch(word)})


def classes_named(text: str) -> frozenset[str]:
    """Names of the word classes that an explanation speaks of."""
    return frozenset(name for name, pattern in _class_names() if pattern.search(text))
