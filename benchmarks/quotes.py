"""Writes known strengths as a model would quote them: the inverse of `stages.alignment`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pipeline.text import TokenizedText
from stages.prompts import shown

Strengths = Mapping[int, int]
"""Token index → strength."""


def answer(strengths: Sequence[Strengths], texts: Sequence[TokenizedText]) -> str:
    """The JSON answer that gives these strengths to these texts."""
    pairs = zip(strengths, texts, strict=True)
    quoted = {str(index): quotes(*pair) for index, pair in enumerate(pairs)}
    return json.dumps(quoted, ensure_ascii=False)


def quotes(strengths: Strengths, text: TokenizedText) -> list[str]:
    """One excerpt for each run of marks, with as many words around it as make it unique."""
    excerpts: list[str] = []
    done = 0
    for token in sorted(strengths):
        end = int(text.spans[token, 1])
        if end > done:
            start, done = _unique(shown(text.text), end)
            excerpts.append(marked(strengths, text, start, done))
    return excerpts


def marked(
    strengths: Strengths, text: TokenizedText, start: int = 0, stop: int | None = None
) -> str:
    """A part of the text as it is shown, with a mark behind each token that has a strength."""
    seen = shown(text.text)[:stop]
    marks = {int(text.spans[token, 1]): strength for token, strength in strengths.items()}
    pieces = []
    for end in sorted(end for end in marks if start < end <= len(seen)):
        pieces.append(f"{seen[start:end]}«{marks[end]}»")
        start = end
    return "".join([*pieces, seen[start:]])


def _unique(text: str, end: int) -> tuple[int, int]:
    """Two words around `end`, or as many more as it takes to stand only once in the text."""
    start = stop = end
    for _ in range(len(text)):
        start = max(text.rfind(" ", 0, max(start - 1, 0)), 0)
        after = text.find(" ", stop + 1)
        stop = after if after >= 0 else len(text)
        if stop - start > 12 and text.count(text[start:stop]) == 1:
            break
    return start, stop
