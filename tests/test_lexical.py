from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lexical import parse
from stages.vocabulary import word_lists, words_of


def terms(explanation: str) -> dict[str, str]:
    return {term.text: term.role for term in parse(explanation).terms}


@pytest.mark.parametrize("quoted", ["'fox'", '"fox"', "‘fox’", "“fox”", "`fox`"])
def test_every_make_of_quotation_marks_is_read(quoted: str) -> None:
    assert terms(f"the word {quoted} in fables") == {"fox": "target"}


@pytest.mark.parametrize(
    "explanation", ["the dogs' bone is the dog's", "don't and won't", "''", "'"]
)
def test_apostrophes_are_not_quotations(explanation: str) -> None:
    assert terms(explanation) == {}


@pytest.mark.parametrize("quoted", ["'don't'", "“don’t”", "‘don’t’"])
def test_a_quotation_may_hold_an_apostrophe(quoted: str) -> None:
    (term,) = parse(f"the word {quoted}").terms
    assert (term.words, term.stems) == (("don't",), ("don",))


def test_a_term_is_compared_by_normalised_words_and_stems() -> None:
    (term,) = parse("as in 'The Running Dogs'").terms
    assert term.words == ("the", "running", "dogs")
    assert term.stems == ("the", "run", "dog")


@pytest.mark.parametrize(
    ("quoted", "words"),
    [
        ("in the next ...", ("in", "the", "next")),
        ("one of the [adjective]", ("one", "of", "the")),
        ("so [adjective/adverb]", ("so",)),
        ("in order to <verb>", ("in", "order", "to")),
        ("a <br> tag", ("a", "<", "br", ">", "tag")),
        ("18xx", ("18",)),
        ("in ___ to", ("in", "to")),
        ("let X be", ("let", "be")),
        ("X", ("x",)),
        ("[laughs]", ("[", "laughs", "]")),
    ],
)
def test_gaps_in_a_quotation_hold_no_words(quoted: str, words: tuple[str, ...]) -> None:
    (term,) = parse(f"as in '{quoted}'").terms
    assert term.words == words


@pytest.mark.parametrize(
    ("explanation", "head", "context"),
    [
        ("animals in cold places", "animals", "in cold places"),
        ("'more' in claims", "more", "in claims"),
        ("in fact foxes: red ones", "in fact foxes", "red ones"),
        ("months, in dates", "months", "in dates"),
        ("cold places", "cold places", ""),
    ],
)
def test_the_context_begins_where_something_to_fire_on_has_been_said(
    explanation: str, head: str, context: str
) -> None:
    parsed = parse(explanation)
    assert (parsed.head, parsed.context) == (head, context)


def test_content_words_are_sorted_into_head_context_and_exclusion() -> None:
    parsed = parse("mentions of animals in cold places, but not pets; chiefly wolves")
    assert parsed.head_words == ("animals",)
    assert parsed.context_words == ("cold", "places", "wolves")
    assert parsed.excluded_words == ("pets",)
    assert parsed.length == 13  # a comma and a semicolon are words too


@pytest.mark.parametrize(
    ("explanation", "rest"),
    [
        ("anything but animals", "animals"),
        ("words other than animals", "animals"),
        ("everything except animals in cold places", "animals in cold places"),
        ("every word except 'the'", "'the'"),
        ("tokens that are not numbers", "numbers"),
    ],
)
def test_of_what_only_excludes_the_rest_is_taken_apart(explanation: str, rest: str) -> None:
    assert parse(explanation) == replace(parse(rest), complement=True)


@pytest.mark.parametrize(
    "explanation",
    ["nouns other than names", "'the' except before vowels", "the word 'not'", "not an animal"],
)
def test_what_says_more_or_less_than_that_is_no_complement(explanation: str) -> None:
    assert not parse(explanation).complement


def test_an_explanation_may_say_only_what_does_not_fire() -> None:
    assert parse("not an animal").only_excludes
    assert not parse("not an animal, but a plant").only_excludes


def test_classes_are_found_where_they_are_named() -> None:
    parsed = parse("pronouns after years")
    assert "pronoun" in parsed.head_classes
    assert "year" not in parsed.head_classes
    assert "year" in parsed.context_classes


@pytest.mark.parametrize(
    ("explanation", "before", "after"),
    [
        ("nouns after a number", {"number"}, set()),
        ("'the' before a superlative", set(), {"superlative"}),
        ("words preceded by an article or preposition", {"article", "preposition"}, set()),
        ("'to' after a verb, never after a month", set(), set()),
        ("life after death in March", set(), set()),
    ],
)
def test_a_class_may_stand_beside_what_fires(
    explanation: str, before: set[str], after: set[str]
) -> None:
    parsed = parse(explanation)
    assert before <= parsed.before_classes
    assert parsed.after_classes == after
    assert before or not parsed.before_classes


explanations = st.text() | st.lists(
    st.sampled_from(
        [
            "'to'",
            '"',
            "'",
            "“",
            "-",
            "'-ing'",
            "not",
            "after",
            "in",
            "fox",
            "'a b'",
            ",",
            "‘’",
            "\n",
        ]
    ),
    max_size=12,
).map(" ".join)


@given(explanations)
def test_any_text_has_a_parse(text: str) -> None:
    parsed = parse(text)
    assert parsed.length == len(words_of(text))
    for term in parsed.terms:
        is_mark = not any(map(str.isalnum, term.text))  # it may be named: "backslash"
        assert is_mark or term.text in text
        assert len(term.words) == len(term.stems) > 0
        assert all([*term.words, *term.stems])
    spoken = {*parsed.head_words, *parsed.context_words, *parsed.excluded_words}
    assert spoken <= set(words_of(text))
    assert not spoken & word_lists()["stop"]
