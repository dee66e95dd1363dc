"""Places in a text that explanations ask for: the beginning or end of a sentence, inside brackets.

What stands around a word tells its place; a text's own beginning and end may cut a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import regex

from stages.words import Column, Words

_SENTENCE = r"(?:sentence|remark|reply|paragraph|utterance|line)s?"
_NAMED = {
    "start": rf"sentence-?(?:initial|opening)|(?:first|opening|beginning|starting|opens?|begins?"
    rf"|starts?|at the (?:start|beginning|head|front) of|heading)\b[^,;.]{{0,20}}\b{_SENTENCE}",
    "end": rf"sentence-?(?:final|ending)|(?:last|final|ending|closing|ends?|closes?"
    rf"|at the (?:end|close) of)\b[^,;.]{{0,20}}\b{_SENTENCE}",
    "middle": r"mid-?sentence|(?:(?:in|inside|within) (?:the )?(?:middle|midst) of|inside)"
    rf" (?:a|the) {_SENTENCE}",
    "brackets": r"(?:in|inside|within|between|into) (?:\w+ )?(?:brackets|parenthes[ie]s)",
    "quotes": r"(?:in|inside|within|between|into) (?:\w+ )?(?:quotes|quotation marks)",
}
_PLACES = {
    name: regex.compile(rf"\b(?:{pattern})\b", regex.IGNORECASE) for name, pattern in _NAMED.items()
}
_ENDS = frozenset(".!?…")
_AROUND = frozenset("\"'“”‘’«»()[]{}*_")


def places_named(text: str) -> frozenset[str]:
    """The places that an explanation asks for."""
    return frozenset(name for name, pattern in _PLACES.items() if pattern.search(text))


def in_place(words: Words, places: frozenset[str]) -> Column:
    """Shape (n_words,): 1 where all the places are right, -1 elsewhere; 0 if there are none."""
    if not places:
        return np.zeros(len(words))
    right = [np.all([_STANDS[name](text.written) for name in places], 0) for text in words.texts]
    return np.where(np.concatenate(right), 1.0, -1.0)


def _starts(written: Sequence[str]) -> list[bool]:
    """Whether each word begins a sentence, as far as its capital and the marks before it tell."""
    out = []
    for at, word in enumerate(written):
        before = at - 1
        while before >= 0 and written[before] in _AROUND:
            before -= 1
        after_mark = before < at - 1 or before < 0
        begins = word[:1].isupper() if after_mark else written[before] in _ENDS
        out.append(begins and word[:1].isalnum())
    return out


def _ends(written: Sequence[str]) -> list[bool]:
    """Whether each word is the last of a sentence, or the mark that ends it."""
    out = []
    for at, word in enumerate(written):
        after = at + 1
        while after < len(written) and written[after] in _AROUND:
            after += 1
        last = word[:1].isalnum() and after < len(written) and written[after] in _ENDS
        out.append(last or word in _ENDS)
    return out


def _enclosed(opening: str, closing: str, written: Sequence[str]) -> list[bool]:
    """Whether each word stands between such marks; one that is not closed reaches to the end."""
    inside = next((word not in opening for word in written if word in opening + closing), False)
    out = []
    for word in written:
        is_mark = word in opening + closing
        if is_mark:
            inside = word in opening and not (inside and word in closing)
        out.append(inside and not is_mark)
    return out


_STANDS: dict[str, Callable[[Sequence[str]], list[bool]]] = {
    "start": _starts,
    "end": _ends,
    "middle": lambda written: [not here for here in _starts(written)],
    "brackets": lambda written: _enclosed("([{", ")]}", written),
    "quotes": lambda written: _enclosed('"“‘«', '"”»', written),
}
