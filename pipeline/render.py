"""Results as HTML: the same templates make the page's answer and what a notebook shows.

Jinja escapes every token, explanation and reason; styles are classes, so that the page can forbid
inline ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import regex
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.comparison import Comparison
from pipeline.heatmap import around, heat_texts
from pipeline.result import ScoreResult

WEB = Path(__file__).parent / "web"

_WIDTH, _MARGIN = 400.0, 16.0
# Control characters but for line feed and tab, lone surrogates, and what turns the direction.
_DISORDERLY = regex.compile(r"[\p{Cc}\p{Cs}\p{Bidi_Control}--[\n\t]]", regex.V1)


@dataclass(frozen=True, slots=True)
class Axis:
    """The scale of score pictures: to 1, from 0 or from a quarter below it."""

    low: float

    @classmethod
    def of(cls, results: Sequence[ScoreResult]) -> Axis:
        """One that has room for all of them."""
        values = [value for r in results for value in (r.score, *(r.interval or ()))]
        return cls(min([0.0, *(math.floor(4 * v) / 4 for v in values if v is not None)]))

    @property
    def ticks(self) -> tuple[float, ...]:
        step = 0.25 if self.low > -0.5 else 0.5
        start = math.ceil(self.low / step)
        return tuple(step * at for at in range(start, round(1 / step) + 1))

    def x(self, value: float) -> float:
        """Where a score is drawn, in units of the picture."""
        share = (value - self.low) / (1.0 - self.low)
        return round(_MARGIN + share * (_WIDTH - 2 * _MARGIN), 1)


def result_html(result: ScoreResult) -> str:
    """A result with its styles, for a notebook: nothing is loaded, nothing runs."""
    return _notebook(result=result, comparison=None)


def comparison_html(comparison: Comparison) -> str:
    """A comparison as a table, for a notebook."""
    return _notebook(result=None, comparison=comparison)


def _notebook(**shown: object) -> str:
    style = (WEB / "static" / "result.css").read_text("utf-8")
    return environment().get_template("notebook.html").render(style=style, **shown)


@cache
def environment() -> Environment:
    """The templates, with what they call."""
    made = Environment(
        loader=FileSystemLoader(WEB),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["number"] = _number
    made.filters["level"] = _level
    made.filters["visible"] = _visible
    made.filters["spaces"] = _spaces
    made.globals.update(axis_of=Axis.of, heat_texts=heat_texts, around=around)
    return made


def _number(value: float | None, digits: int = 2) -> str:
    """With a true minus sign, and without a minus where rounding leaves nothing."""
    if value is None:
        return "undefined"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def _level(strength: float) -> int:
    """The class of a strength, 0-10."""
    return min(max(round(strength), 0), 10)


def _visible(text: str) -> str:
    """A text that cannot be empty: a token, or the word that names one."""
    return _spaces(text) or "∅"


def _spaces(text: str) -> str:
    """With a sign for line feeds and tabs, and in place of what would disorder the rest."""
    shown = text.replace("\n", "↵\n").replace("\t", "⇥\t")
    return _DISORDERLY.sub("\N{REPLACEMENT CHARACTER}", shown)
