from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lexical import parse


def terms(explanation: str) -> dict[str, str]:
    return {term.text: term.role for term in parse(explanation).terms}


@pytest.mark.parametrize(
    ("explanation", "fires"),
    [
        ("commas in lists", ","),
        ("a full stop at the end of a title", "."),
        ("commas and semicolons", ",;"),
        ("closing brackets in source code", ")]}"),
        ("opening square bracket of a reference", "["),
        ("closing brackets and parentheses", ")]}"),
        ("round brackets", "()"),
        ("long dashes", "-–—"),
        ("the closing quotation mark", "\"'”’"),
        ("the percent sign", "%"),
        ("the hyphen character", "-"),
    ],
)
def test_a_mark_named_first_is_what_fires(explanation: str, fires: str) -> None:
    assert terms(explanation) == dict.fromkeys(fires, "target")


@pytest.mark.parametrize(
    ("explanation", "expected"),
    [
        ("the last word before a colon", {":": "after"}),
        ("numbers after a dollar sign", {"$": "before"}),
        ("words following a comma or semicolon", {",": "before", ";": "before"}),
        ("'and' after a comma", {"and": "target", ",": "before"}),
        ("'and' or a comma", {"and": "target", ",": "target"}),
        ("commas followed by 'but'", {",": "target", "but": "after"}),
        ("words after comma", {",": "before"}),
    ],
)
def test_a_mark_may_stand_beside_what_fires(explanation: str, expected: dict[str, str]) -> None:
    assert terms(explanation) == expected


@pytest.mark.parametrize(
    "explanation",
    [
        "colon cancer",
        "a dash of salt",
        "the period before the war",
        "periods of history",
        "lists without commas",
        "words in brackets",
        "words joined by hyphens",
        "talk of hash functions",
    ],
)
def test_a_name_that_tells_less_is_not_taken_for_the_mark(explanation: str) -> None:
    assert not terms(explanation)


def test_what_is_quoted_names_no_mark() -> None:
    assert terms("'comma' and 'colon'") == {"comma": "target", "colon": "target"}


@given(st.text("ab ,()'") | st.lists(st.sampled_from(["comma", "or", "brackets", "after"])))
def test_any_text_is_read(text: str | list[str]) -> None:
    parse(text if isinstance(text, str) else " ".join(text))
