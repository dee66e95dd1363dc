"""Punctuation marks that an explanation calls by their names: "commas in lists", "after a colon".

They are looked up like quoted ones, where the name says what fires or what stands beside it: at the
explanation's beginning, behind "after" or "before", and in lists with such. Elsewhere a name tells
less ("lists without commas", "text in brackets").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import regex

_CHARACTERS = {
    r"commas?": ",",
    r"full stops?|dots?(?! of)|(?<!the )periods?(?! (?:of|between|during|from|since|until))": ".",
    r"question marks?": "?",
    r"exclamation (?:marks?|points?)": "!",
    r"colons?": ":",
    r"semi-?colons?": ";",
    r"(?:double |em[- ]|en[- ]|long )?dash(?:es)?(?! of)": "-–—",
    r"hyphens?|minus signs?": "-",
    r"(?:opening|left) quot(?:e|ation)(?: marks?|s)?": "\"'“‘",
    r"(?:closing|right) quot(?:e|ation)(?: marks?|s)?": "\"'”’",
    r"quot(?:e|ation) marks?": "\"“”'‘’",
    r"equals?[- ]signs?": "=",
    r"percent(?:age)?[- ]signs?": "%",
    r"dollar signs?": "$",
    r"ampersands?": "&",
    r"asterisks?": "*",
    r"(?:forward )?slash(?:es)?": "/",
    r"backslash(?:es)?": "\\",
    r"underscores?": "_",
    r"(?:hash|pound|number) (?:sign|mark)s?": "#",
    r"at[- ]signs?": "@",
    r"plus signs?": "+",
    r"pipe (?:character|sign|symbol)s?|vertical bars?": "|",
    r"tildes?": "~",
    r"less[- ]than signs?": "<",
    r"greater[- ]than signs?": ">",
}
_BRACKETS = {r"parenthes|round": "()", r"square": "[]", r"curly|braces?": "{}", r"angle": "<>"}
_BRACKET = r"(?:(?:round|square|curly|angle) )?(?:brackets?|parenthes[ie]s|braces?)"
_NAMES = "|".join(f"(?P<n{i}>{pattern})" for i, pattern in enumerate(_CHARACTERS))
_MARK = regex.compile(
    rf"\b(?:{_NAMES}|(?P<brackets>(?:(?P<side>open|left|clos|right)(?:ing|e)? )?"
    rf"{_BRACKET}(?:(?:,|/| and| or) ?{_BRACKET})*))(?: (?:character|symbol|token)s?)?"
    r"\b(?=\s*(?:$|[^\w\s]|\w+(?:ing|ed)\b|(?P<next>\w+)))",
    regex.IGNORECASE,
)
_REACH = 60  # characters before a name that may say what it is for
_DETERMINER = r"(?:(?:an?|the|any|every|each|all|another|some|either|both)\s+)*"
_FIRST = regex.compile(rf"\W*{_DETERMINER}(?P<adjective>[\w-]+\s+)?", regex.IGNORECASE)
_BESIDE = regex.compile(
    r"\b(?:after|before|following|follow(?:s|ed by)|preced(?:es|ing|ed by)|behind|ahead of"
    rf"|in front of)\s+{_DETERMINER}$",
    regex.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Mark:
    """Where the name of a mark stands, [start, end), and the characters that it stands for."""

    start: int
    end: int
    characters: str


def marks(
    text: str,
    quoted: Sequence[tuple[int, int]],
    function_words: frozenset[str],
    joins: Callable[[str], object],
) -> list[Mark]:
    """The marks that are named as what fires or what stands beside it.

    Parameters
    ----------
    quoted : where quotations stand, in which nothing is looked for.
    function_words : lowercase; a noun behind a name says that it means something else ("colon
        cancer"), a function word does not.
    joins : whether what stands between two things makes a list of them.
    """
    found: list[Mark] = []
    for match in _MARK.finditer(text):
        start, end = match.span()
        following = (match["next"] or "").casefold()
        is_quoted = any(first < end and start < last for first, last in quoted)
        if is_quoted or (following and following not in function_words):
            continue
        ends = [last for _, last in quoted if last <= start] + [mark.end for mark in found]
        in_list = ends and joins(text[max(ends) : start])
        before = text[max(0, start - _REACH) : start]
        first = _FIRST.fullmatch(before) if start <= _REACH else None
        is_first = first and (first["adjective"] or "").strip().casefold() not in function_words
        if in_list or is_first or _BESIDE.search(before):
            found.append(Mark(start, end, _characters(match)))
    return found


def _characters(match: regex.Match[str]) -> str:
    if not match["brackets"]:
        return next(
            chars for i, chars in enumerate(_CHARACTERS.values()) if match[f"n{i}"] is not None
        )
    side = (match["side"] or "").casefold()
    wanted = slice(None) if not side else slice(0, 1) if side in ("open", "left") else slice(1, 2)
    pairs = dict.fromkeys(
        pair
        for name in regex.findall(_BRACKET, match["brackets"], regex.IGNORECASE)
        for pair in _pairs(name)
    )
    return "".join(pair[wanted] for pair in pairs)


def _pairs(name: str) -> list[str]:
    kinds = [pair for kind, pair in _BRACKETS.items() if regex.search(kind, name, regex.IGNORECASE)]
    return kinds or ["()", "[]", "{}"]
