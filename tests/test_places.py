from __future__ import annotations

import pytest
from models import fast_encoder, words_of

from stages.lexical import parse
from stages.places import in_place, places_named
from stages.words import Words


@pytest.mark.parametrize(
    ("explanation", "places"),
    [
        ("the first word of a sentence", {"start"}),
        ("'However' opening a sentence", {"start"}),
        ("sentence-initial adverbs", {"start"}),
        ("question marks at the end of a sentence", {"end"}),
        ("capitalised words in the middle of a sentence, not at its start", {"middle"}),
        ("acronyms in parentheses", {"brackets"}),
        ("the first word inside quotation marks", {"quotes"}),
        ("surnames, but not in brackets", set()),
        ("'first word of a sentence'", set()),
        ("sentences about animals", set()),
    ],
)
def test_an_explanation_may_ask_for_a_place(explanation: str, places: set[str]) -> None:
    assert parse(explanation).places == places


@pytest.mark.parametrize(
    ("place", "text", "there"),
    [
        ("start", "She left . nobody knew", "She nobody"),
        ("start", 'left . " Why ? " asked Tom', "Why"),
        ("start", "went on ( see below ) . He", "He"),
        ("end", "left ( in a hurry ) . Why ?", "hurry . Why ?"),
        ("middle", "She left . He", "left ."),
        ("brackets", "a ( b [ c ] d", "b c"),
        ("brackets", "a ) b ( c", "a c"),
        ("brackets", "no marks", ""),
        ("quotes", 'he said " yes " and “ no ” again', "yes no"),
    ],
)
def test_the_words_and_marks_around_a_word_tell_its_place(
    place: str, text: str, there: str
) -> None:
    words = Words(fast_encoder().encode(words_of("( open", text, "other")))
    found = words.split(in_place(words, frozenset({place})))[1]
    assert [word for word, right in zip(text.split(), found, strict=True) if right > 0] == (
        there.split()
    )


def test_every_place_that_is_asked_for_must_be_right() -> None:
    words = Words(fast_encoder().encode(words_of('. " Yes no " Maybe')))
    asked = places_named("the first word of a sentence inside quotation marks")
    assert in_place(words, asked).tolist() == [-1, -1, 1, -1, -1, -1]


def test_without_a_place_nothing_is_said() -> None:
    words = Words(fast_encoder().encode(words_of("a fox")))
    assert in_place(words, frozenset()).tolist() == [0, 0]
