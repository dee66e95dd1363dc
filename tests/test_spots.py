from __future__ import annotations

import numpy as np
import pytest

from benchmarks.dataset import load
from pipeline.text import decode
from stages.lexical import parse
from stages.spots import spots_of


def standing(explanation: str, *tokens: str) -> list[str]:
    """The tokens on which the words' strengths stand."""
    (text,) = decode([tokens])
    return [tokens[spot] for spot in spots_of(parse(explanation), text)]


@pytest.mark.parametrize(
    ("explanation", "tokens", "expected"),
    [
        pytest.param("the word 'module'", (" the", " module", "'s"), [" the", " module"], id="s"),
        pytest.param("the fragment 'co'", (" Co", "ach", "ing"), [" Co"], id="fragment"),
        pytest.param("the letters 'ond'", (" bl", "ond", "es"), ["ond"], id="inside"),
        pytest.param("apostrophes", (" you", "’", "ll"), ["’"], id="apostrophe"),
        pytest.param("contractions such as 'you'll'", (" you", "'", "ll"), ["'"], id="contraction"),
        pytest.param("the word 'wait'", (" wait", "ing"), ["ing"], id="another form"),
        pytest.param("'wait', even in 'waiter'", (" wait", "er"), ["er"], id="named whole"),
        pytest.param("words beginning with 'autom-'", (" autom", "ation"), ["ation"], id="prefix"),
        pytest.param("foxes", (" fo", "x", "es", " ran"), ["es", " ran"], id="nothing named"),
        pytest.param("", (" a", " b"), [" a", " b"], id="no explanation"),
    ],
)
def test_a_strength_stands_on_the_token_that_is_named(
    explanation: str, tokens: tuple[str, ...], expected: list[str]
) -> None:
    assert standing(explanation, *tokens) == expected


def test_texts_without_words_have_no_spots() -> None:
    assert standing("apostrophes") == []
    assert standing("the word 'fox'", " ", "\n") == []


def test_recorded_simulations_stand_there() -> None:
    there = on_the_last = 0.0
    for case in load(0):
        parsed = parse(case.all_records.explanation)
        for text, strengths in zip(case.all_records.texts, case.simulated, strict=True):
            spots = spots_of(parsed, text)
            elsewhere = np.flatnonzero(spots != text.word_tokens)
            there += strengths[spots[elsewhere]].sum()
            on_the_last += strengths[text.word_tokens[elsewhere]].sum()
    assert there > 10 * on_the_last > 0
