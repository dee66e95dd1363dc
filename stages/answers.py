"""Finds what a model said about each text in an answer that ought to be one JSON object."""

from __future__ import annotations

import json
from typing import Any

import regex

_JSON = json.JSONDecoder(strict=False)
# Not the end of another number or of a range: text 1 must not be silent because "0-1" or "-1" is.
_ENTRY = regex.compile(r'(?<![\d.,–-])(0|[1-9]\d{0,5})"?\s*:\s*(?=["\[])')
_MOST_CHARS = 300_000  # of an answer; the longest that is asked for has some 50,000
_SEPARATOR = regex.compile(r"[\s,]*")


def entries(content: str, n_texts: int) -> dict[int, Any]:
    """The value given to each text number.

    Only the values have to be sound JSON: code fences, prose, bare numbers as keys and an end
    that is missing do no harm to what stands complete. A list of lists counts as numbered by its
    order, and for a single text so does a bare list. Of several values for one text the last
    counts, but that nothing fires is not believed where something else was said before.

    Examples
    --------
    >>> entries('```json\\n{"0": ["a«1»"], 1: [], "2": ["cut sho', 3)
    {0: ['a«1»'], 1: []}
    """
    content = content[:_MOST_CHARS]
    try:
        return _numbered(content) or _listed(content, n_texts)
    except RecursionError:  # nothing that was asked for is nested so deep
        return {}


def objects(content: str) -> list[dict[str, Any]]:
    """The innermost JSON objects of an answer, in order, wherever the rest of it breaks off.

    Examples
    --------
    >>> objects('Sure: {"all": [{"token": "a"}, {"token": "b"}, {"tok')
    [{'token': 'a'}, {'token': 'b'}]
    """
    try:
        return _flat_objects(content[:_MOST_CHARS])
    except RecursionError:
        return []


def _flat_objects(content: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    at = content.find("{")
    while at >= 0:
        value, end = _decode(content, at)
        if isinstance(value, dict) and not any(isinstance(v, list | dict) for v in value.values()):
            found.append(value)
            at = end - 1
        at = content.find("{", at + 1)
    return found


def _numbered(content: str) -> dict[int, Any]:
    found: dict[int, Any] = {}
    at = 0
    while match := _ENTRY.search(content, at):
        value, at = _decode(content, match.end())
        if value is not None:
            number = int(match[1])
            found[number] = None if found.get(number, value) and not value else value
    return {number: value for number, value in found.items() if value is not None}


def _listed(content: str, n_texts: int) -> dict[int, Any]:
    items: list[Any] = []
    at = content.find("[") + 1
    # A list within an object answers another question: {"activations": []} makes no text silent.
    if "{" in content[:at]:
        return {}
    while at:
        at = _SEPARATOR.match(content, at).end()  # type: ignore[union-attr]
        value, end = _decode(content, at)
        if value is None:
            break
        items.append(value)
        at = end
    if items and len(items) <= n_texts and all(isinstance(item, list) for item in items):
        return dict(enumerate(items))
    # A list cut short says nothing of the rest of its text, so a flat one has to be closed.
    return {0: items} if n_texts == 1 and at and content.startswith("]", at) else {}


def _decode(content: str, at: int) -> tuple[Any, int]:
    try:
        return _JSON.raw_decode(content, at)
    except ValueError:
        return None, at
