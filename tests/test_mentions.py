from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lexical import parse


def terms(explanation: str) -> dict[str, str]:
    return {term.text: term.role for term in parse(explanation).terms}


@pytest.mark.parametrize(
    ("explanation", "expected"),
    [
        ("the word more in comparisons", {"more": "target"}),
        ("any form of the verb hold", {"hold": "target"}),
        ("the verb hold: held, holds", dict.fromkeys(("hold", "held", "holds"), "target")),
        ("the words a and the", {"a": "target", "the": "target"}),
        ("business names shortened from the word company", {"company": "target"}),
        ("the word whaling, in any context", {"whaling": "target"}),
        ("the phrase as if", {"as if": "example"}),
        ("the word not", {"not": "target"}),
        ("the numbers 8 and 1,200", {"8": "target", "1,200": "target"}),
        ("words ending in tion or sion", {"tion": "suffix", "sion": "suffix"}),
        ("starts with co", {"co": "prefix"}),
        ("the letters X or Y as marks", {"X": "target", "Y": "target"}),
        ("words after the phrase in fact", {"in fact": "before"}),
    ],
)
def test_a_word_is_named_where_its_kind_is(explanation: str, expected: dict[str, str]) -> None:
    assert terms(explanation) == expected


@pytest.mark.parametrize(
    ("explanation", "expected"),
    [
        ("of", {"of": "target"}),
        ("pronoun them", {"them": "target"}),
        ("could, would, should", {"could": "target", "would": "target", "should": "target"}),
        ("in before the name of a town", {"in": "target"}),
        ("have or has as the helper of a participle", {"have": "target", "has": "target"}),
        ("who or that starting a clause", {"who": "target", "that": "target"}),
        ("under = during the rule of", {"under": "target"}),
        ("would after the pronoun it", {"would": "target", "it": "before"}),
    ],
)
def test_a_function_word_that_comes_first_is_meant_itself(
    explanation: str, expected: dict[str, str]
) -> None:
    assert terms(explanation) == expected


@pytest.mark.parametrize(
    ("explanation", "expected"),
    [
        ("of after care", {"of": "target", "care": "before"}),
        ("to after proud, dare", {"to": "target", "proud": "before", "dare": "before"}),
        ("words before than", {"than": "after"}),
        ("after out of", {"out of": "before"}),
        ("before and after", {"before": "target", "after": "target"}),
        ("know how to", {"know how to": "target"}),
        ("field of, area of", {"field of": "target", "area of": "target"}),
    ],
)
def test_a_label_names_the_words_beside_and_phrases_left_open(
    explanation: str, expected: dict[str, str]
) -> None:
    assert terms(explanation) == expected


@pytest.mark.parametrize(
    ("explanation", "expected"),
    [
        (
            "mean or say, as in does not mean that, what say ye",
            ["does not mean that", "what say ye"],
        ),
        ("superlatives, e.g. greatest and most ambitious", ["greatest", "most ambitious"]),
        ("musical instruments such as the violin or a flute; music", ["violin", "flute"]),
        ("number words like three, four and five.", ["three", "four", "five"]),
        ("colours such as red, green and others", ["red", "green"]),
        ("modal verbs (can, could)", ["can", "could"]),
        ("sounds (bark, hiss, purr...) of animals", ["bark", "hiss", "purr"]),
        ("conjunctions (and, or, y) in lists", ["and", "or", "y"]),
        ("relatives, including aunts and sons.", ["aunts", "sons"]),
    ],
)
def test_examples_are_named_up_to_the_end_of_the_clause(
    explanation: str, expected: list[str]
) -> None:
    assert terms(explanation) == dict.fromkeys(expected, "example")


@pytest.mark.parametrize(
    "explanation",
    [
        "",
        "what a person is like",
        "words such as pronouns and prepositions",
        "the noun phrase before a verb",
        "the modal verb (can)",
        "the article author, in news",
        "the term used in medicine",
        "the phrase that introduces a quote",
        "numbers after $",
        "the opening word of a riddle",
        "stories ending in war",
        "tokens that end in the",
        "life after death",
        "before elections",
        "tokens preceded by whitespace",
        "numbers, such as in dates",
        "for when people are sad",
        "such as it is in the end of the day when all of it is over and done",
        "fast animals",
        "fear of death",
        "names of months",
        "words for delays and waiting",
        "the word that follows a verb",
        "the word standing right before a noun",
        "verbs of motion after numbers",
        "just before a noun",
        "boasting and showing off",
        "one of many ways to put a thing so that it ends in of",
    ],
)
def test_a_description_names_no_word(explanation: str) -> None:
    assert terms(explanation) == {}


def test_beside_quotations_only_the_function_words_at_the_beginning_are_mentions() -> None:
    assert terms("the word of after 'care'") == {"of": "target", "care": "before"}
    assert terms("the verb run after 'care' or before food") == {"care": "before"}


_WORDS = ("the", "word", "words", "of", "after", "phrase", "verb", "care", ",", "/", "or", "and")


@given(st.lists(st.sampled_from(_WORDS), max_size=300).map(" ".join))
def test_what_is_named_stands_in_the_explanation(explanation: str) -> None:
    assert all(term.text in explanation for term in parse(explanation).terms)
