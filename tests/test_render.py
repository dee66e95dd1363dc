from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from serving import CLASSIC, shared_scorer

from pipeline.comparison import compare_results
from pipeline.render import Axis, environment, result_html
from pipeline.result import ScoreResult

MARKUP = "<script>alert(1)</script>"


class Tags(HTMLParser):
    """The names of elements, and every attribute, of a document."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def scored(*tokens: str, values: list[float]) -> ScoreResult:
    activations = [{"tokens": list(tokens), "values": values}]
    return shared_scorer().score("quick <b>foxes</b> & co", activations)


def test_a_notebook_shows_a_result_that_loads_nothing() -> None:
    result = shared_scorer().score(CLASSIC["explanation"], CLASSIC["activations"])
    html = result._repr_html_()
    assert f"{result.score:.2f}" in html
    assert "leopard" in html
    assert "http" not in html
    assert "url(" not in html
    assert Tags(html).names.isdisjoint({"script", "link", "img", "iframe"})


@pytest.mark.parametrize(
    "token",
    [MARKUP, '" onmouseover="alert(1)', "</style>", "{{ 7 * 7 }}", "&lt;b&gt;", "\u202e\x1b[31m"],
)
def test_every_token_is_escaped(token: str) -> None:
    found = Tags(result_html(scored(f" {token}", " fox", " ran", values=[5, 3, 0])))
    assert found.names.isdisjoint({"script", "b"})
    assert not any(name.startswith("on") for name in found.attributes)
    visible = re.sub("[\u202e\x1b]", "\N{REPLACEMENT CHARACTER}", token)
    assert visible in found.text


def test_a_comparison_is_a_table_with_a_row_for_each_explanation() -> None:
    results = [scored(" fox", " ran", values=[5, 0])] * 2
    html = compare_results([MARKUP, "foxes"], results)._repr_html_()
    found = Tags(html)
    assert found.names.isdisjoint({"script", "a"})
    assert MARKUP in found.text
    assert html.count("<svg") == 2


def test_no_style_stands_in_an_attribute() -> None:
    assert "style" not in Tags(result_html(scored(" fox", " ran", values=[5, 0]))).attributes


@pytest.mark.parametrize("values", [[1.0, 1.0], [0.0, 0.0], [-3.0, -1.0], [1e100, -1e100]])
def test_any_activations_can_be_shown(values: list[float]) -> None:
    html = result_html(scored(" fox", " ran", values=values))
    assert "nan" not in html.lower().replace("finance", "")


def test_a_result_without_a_score_says_why() -> None:
    result = scored(" fox", " ran", values=[1, 1])
    assert result.score is None
    assert "the activation is the same on every token" in result_html(result)


def test_a_degraded_result_says_so() -> None:
    result = replace(
        scored(" fox", " ran", values=[5, 0]), status="degraded", reason="the LLM timed out"
    )
    assert "the LLM timed out" in Tags(result_html(result)).text


def test_the_axis_has_room_for_what_is_below_zero() -> None:
    result = scored(" fox", " ran", values=[5, 0])
    plain = replace(result, score=0.4, interval=(0.1, 0.9))
    below = replace(result, score=-0.1, interval=(-0.3, 0.2))
    assert Axis.of([plain]).ticks == (0.0, 0.25, 0.5, 0.75, 1.0)
    both = Axis.of([plain, below])
    assert both.low == -0.5
    assert both.ticks == (-0.5, 0.0, 0.5, 1.0)
    assert both.x(-0.5) < both.x(-0.3) < both.x(0.0) < both.x(1.0)


def test_numbers_have_a_true_minus_and_no_minus_zero() -> None:
    number = environment().filters["number"]
    assert (number(-0.25), number(-0.001), number(None)) == ("−0.25", "0.00", "undefined")
