"""Finds what a model said about each text in an answer that ought to be one JSON object."""

from __future__ import annotations

import json
from typing import Any

import regex

_JSON = json.JSONDecoder(strict=False)
_ENTRY = regex.compile(r'(\d{1,6})"?\s*:\s*(?=["\[])')
_SEPARATOR = regex.compile(r"[\s,]*")


def entries(content: str, n_texts: int) -> dict[int, Any]:
    """The value given to each text number.

    Only the values have to be sound JSON: code fences, prose, bare numbers as keys and an end
    that is missing do no harm to what stands complete. A list of lists counts as numbered by its
    order, and for a single text so does a bare list.

    Examples
    --------
    >>> entries('```json\\n{"0": ["a«1»"], 1: [], "2": ["cut sho', 3)
    {0: ['a«1»'], 1: []}
    """
    return _numbered(content) or _listed(content, n_texts)


def objects(content: str) -> list[dict[str, Any]]:
    """The innermost JSON objects of an answer, in order, wherever the rest of it breaks off.

    Examples
    --------
    >>> objects('Sure: {"all": [{"token": "a"}, {"token": "b"}, {"tok')
    [{'token': 'a'}, {'token': 'b'}]
    """
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
            found[int(match[1])] = value
    return found


def _listed(content: str, n_texts: int) -> dict[int, Any]:
    items: list[Any] = []
    at = content.find("[") + 1
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
    except (ValueError, RecursionError):
        return None, at
