"""Reads the answers to the quoting prompt: which token got which strength.

An excerpt such as ``"a more«10» exciting«3» time"`` is looked for in its text: as it is, then
without white space and in one typography, then with few differences. A mark's strength goes to
the token that holds the last character before the mark. What cannot be placed is a problem of
its text; no strength is ever guessed, and no text is taken as silent for want of an answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import regex
from rapidfuzz import fuzz
from rapidfuzz.distance import Indel

from pipeline.simulation import MAX_STRENGTH, FloatArray
from pipeline.text import TokenizedText
from stages.answers import entries
from stages.prompts import shown

NO_ANSWER = "no answer for this text"

_MARK = regex.compile(r"\p{Zs}*«\s*([-+]?\d{1,9}(?:\.\d{1,9})?)\s*»")

BLANK = regex.compile(r"[\s\p{Cf}↵⇥]")
TYPOGRAPHY = str.maketrans("‹›⟦’‘“”–—", "<>[''\"\"--")
# Where words are not set apart by spaces, a match within a run of letters cuts no word.
_WORD = regex.compile(
    r"[\w--[_\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]]+", regex.V1
)

_LEAST_FUZZY_CHARS = 12
_LEAST_SIMILARITY = 85.0
"""Per cent of common characters: one word misspelt in five passes, one word exchanged does not."""


class _Misquote(Exception):
    """An excerpt that cannot be used; the message goes back to the model."""


@dataclass(frozen=True, slots=True)
class _Excerpt:
    """A quotation without its marks; `anchors` are the last characters before each mark."""

    plain: str
    anchors: tuple[int, ...]
    strengths: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _View:
    """Some of a text's characters in one typography; `places` leads back to the whole text."""

    chars: str
    places: Sequence[int]


class _Text:
    """A text, or an excerpt of one, as it can be searched."""

    def __init__(self, text: str) -> None:
        self.verbatim = _View(text, range(len(text)))

    @cached_property
    def folded(self) -> _View:
        """Without blanks, capitals and typographic variants."""
        text = self.verbatim.chars
        lower = text.lower()
        chars = (lower if len(lower) == len(text) else text).translate(TYPOGRAPHY)
        places = [at for at, char in enumerate(text) if not BLANK.match(char)]
        return _View("".join(chars[at] for at in places), places)

    @cached_property
    def words(self) -> list[tuple[int, int]]:
        """For each character, [start, end) of its word; what is no letter is a word of its own."""
        text = self.verbatim.chars
        words = [(at, at + 1) for at in range(len(text))]
        for match in _WORD.finditer(text):
            words[slice(*match.span())] = [match.span()] * len(match[0])
        return words

    def word_cut_at(self, at: int) -> tuple[int, int] | None:
        """The word that goes on from the character before `at` to the one at `at`."""
        inside = 0 < at < len(self.words) and self.words[at - 1] == self.words[at]
        return self.words[at] if inside else None

    def spelling(self, at: int) -> str:
        begin, end = self.words[at]
        return _Text(self.verbatim.chars[begin:end]).folded.chars


def read_answer(content: str, texts: Sequence[TokenizedText]) -> list[FloatArray | str]:
    """Turn a model's answer into strengths.

    Parameters
    ----------
    content : the answer: JSON, perhaps with prose or a code fence around it, perhaps cut short.
    texts : the texts that were asked about, in the order of their numbers.

    Returns
    -------
    One entry a text: strengths 0-10, shape (n_tokens,), or what is wrong with its answer.
    """
    found = entries(content, len(texts))
    return [_read_entry(found.get(index), text) for index, text in enumerate(texts)]


def _read_entry(entry: Any, text: TokenizedText) -> FloatArray | str:
    if entry is None:
        return NO_ANSWER
    excerpts = [entry] if isinstance(entry, str) else entry
    if not all(isinstance(excerpt, str) for excerpt in excerpts):
        return "the answer is not a list of strings"
    if len(excerpts) > max(len(text.text), 1):
        return f"{len(excerpts)} excerpts, more than the text has characters"
    try:
        return _place(excerpts, text)
    except _Misquote as problem:
        return str(problem)


def _place(excerpts: Sequence[str], text: TokenizedText) -> FloatArray:
    """Strengths of the tokens; a token that is marked twice keeps the larger one."""
    values = np.zeros(len(text.spans))
    hay = _Text(shown(text.text))
    groups: dict[tuple[str, tuple[int, ...]], list[_Excerpt]] = defaultdict(list)
    for excerpt in map(_parse, excerpts):
        groups[excerpt.plain, excerpt.anchors].append(excerpt)
    for copies in groups.values():
        for excerpt, places in _assign(copies, _find(copies[0], hay)):
            np.maximum.at(values, text.tokens_of(np.array(places)), np.array(excerpt.strengths))
    return values


def _parse(raw: str) -> _Excerpt:
    plain, anchors, strengths, at = "", [], [], 0
    for mark in _MARK.finditer(raw):
        plain += raw[at : mark.start()]
        at = mark.end()
        if not plain.strip():
            raise _Misquote(f"{_quoted(raw)}: a strength stands behind no word")
        if not 0 <= float(mark[1]) <= MAX_STRENGTH:
            raise _Misquote(f"{_quoted(raw)}: a strength has to be from 1 to 10")
        anchors.append(len(plain) - 1)
        strengths.append(float(mark[1]))
    if not anchors:
        raise _Misquote(f"{_quoted(raw)}: no strength in «» behind a word")
    return _Excerpt(shown(plain + raw[at:]), tuple(anchors), tuple(strengths))


def _assign(
    copies: list[_Excerpt], found: list[tuple[int, ...]]
) -> list[tuple[_Excerpt, tuple[int, ...]]]:
    """Which copy of an excerpt goes where it was found.

    One copy goes to every place: the words around the places are the same, so nothing tells them
    apart. Several copies go to the places in order; surplus ones must not contradict the others.
    """
    if len({copy.strengths for copy in copies}) == 1 and not 1 < len(copies) <= len(found):
        return [(copies[0], places) for places in found]
    if len(copies) > len(found):
        times = f"quoted {len(copies)} times, but found {len(found)} times"
        raise _Misquote(f"{_quoted(copies[0].plain)}: {times}")
    return list(zip(copies, found, strict=False))


def _find(excerpt: _Excerpt, hay: _Text) -> list[tuple[int, ...]]:
    """Where the anchors lie in the text, for each place where the excerpt stands."""
    needle = _Text(excerpt.plain)
    found = _search(excerpt, needle.verbatim, hay.verbatim, hay)
    # A mark on a blank has no place in a view without blanks.
    if not found and not any(BLANK.match(excerpt.plain, at) for at in excerpt.anchors):
        found = _search(excerpt, needle.folded, hay.folded, hay)
        found = found or _search_fuzzy(excerpt, needle, hay)
    if not found:
        raise _Misquote(f"{_quoted(excerpt.plain)}: these words do not stand in the text")
    return found


def _search(excerpt: _Excerpt, needle: _View, view: _View, hay: _Text) -> list[tuple[int, ...]]:
    """Every place spelt like the excerpt; one that cuts a word only where there is no other."""
    anchors = [needle.places.index(at) for at in excerpt.anchors]
    whole: list[tuple[int, ...]] = []
    cut: list[tuple[int, ...]] = []
    start = view.chars.find(needle.chars)
    while start >= 0:
        places = tuple(view.places[start + anchor] for anchor in anchors)
        edges = view.places[start], view.places[start + len(needle.chars) - 1] + 1
        words = [word for edge in edges if (word := hay.word_cut_at(edge))]
        if not words:
            whole.append(places)
        # A marked word has to be there as a whole: "she" in "shelled" is another word.
        elif not any(begin <= place < end for begin, end in words for place in places):
            cut.append(places)
        start = view.chars.find(needle.chars, start + 1)
    return whole or cut


def _search_fuzzy(excerpt: _Excerpt, needle: _Text, hay: _Text) -> list[tuple[int, ...]]:
    """The one place spelt nearly like the excerpt, with the marked words exactly like in it."""
    wanted, given = needle.folded.chars, hay.folded.chars
    # A guillemet that is left over is a strength that could not be read.
    if "‹" in excerpt.plain or not _LEAST_FUZZY_CHARS <= len(wanted) <= len(given):
        return []
    best = fuzz.partial_ratio_alignment(wanted, given, score_cutoff=_LEAST_SIMILARITY)
    if best is None:
        return []
    others = f"{given[: best.dest_start]}\0{given[best.dest_end :]}"
    if fuzz.partial_ratio(wanted, others) >= best.score:
        return []
    places = {
        needle.folded.places[block.src_start + step]: hay.folded.places[
            best.dest_start + block.dest_start + step
        ]
        for block in Indel.opcodes(wanted, given[best.dest_start : best.dest_end])
        if block.tag == "equal"
        for step in range(block.src_end - block.src_start)
    }
    if any(
        at not in places or needle.spelling(at) != hay.spelling(places[at])
        for at in excerpt.anchors
    ):
        return []
    return [tuple(places[at] for at in excerpt.anchors)]


def _quoted(text: str) -> str:
    return f"'{shown(text[:60])}'"
