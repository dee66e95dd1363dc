from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.matching import Mismatch, match

TOKENS = ["There", " has", " been", " a", " more", " exc", "iting", " time", "\n", "."]
WORDS = np.array([0, 1, 2, 3, 4, 5, 5, 6, -1, 7])


def found(given_: list[str], strengths: list[float] | None = None) -> list[float]:
    """The strength that each token gets; by default each item's place in the answer."""
    strengths = strengths or [float(at) for at in range(len(given_))]
    return [strengths[item] for item in match(TOKENS, given_, strengths, WORDS)]


def refusal(given_: list[str], strengths: list[float] | None = None) -> str:
    with pytest.raises(Mismatch) as caught:
        found(given_, strengths)
    return str(caught.value)


def test_every_token_in_its_place_is_found() -> None:
    assert found(TOKENS) == list(range(10))


@pytest.mark.parametrize(
    "change", [str.strip, str.upper, lambda token: f" {token}", lambda t: t.replace("\n", "↵")]
)
def test_blanks_and_capitals_make_no_difference(change: object) -> None:
    assert callable(change)
    given_ = [token if token == "\n" and change is str.strip else change(token) for token in TOKENS]
    assert found(given_) == list(range(10))


@pytest.mark.parametrize("dropped", range(10))
def test_a_dropped_token_is_named(dropped: int) -> None:
    given_ = TOKENS[:dropped] + TOKENS[dropped + 1 :]
    said = refusal(given_)
    assert f"number {dropped} (" in said
    assert ("the answer ends before" in said) == (dropped == 9)


def test_as_many_items_as_tokens_are_not_enough() -> None:
    assert refusal([*TOKENS[1:], "."]) == "number 0 ('There') is missing"


def test_an_exchanged_token_is_missing() -> None:
    assert refusal([t.replace("more", "less") for t in TOKENS]) == "number 4 (' more') is missing"


def test_surplus_items_do_no_harm() -> None:
    given_ = ["<s>", *TOKENS[:3], " um", *TOKENS[3:], "</s>"]
    assert found(given_) == [1, 2, 3, 5, 6, 7, 8, 9, 10, 11]


def test_a_token_repeated_with_the_same_strength_is_found() -> None:
    given_ = [*TOKENS[:5], *TOKENS[4:]]
    strengths = [0.0] * 4 + [7.0, 7.0] + [0.0] * 5
    assert found(given_, strengths) == [0, 0, 0, 0, 7, 0, 0, 0, 0, 0]


def test_a_token_repeated_with_another_strength_is_refused() -> None:
    assert "number 4 (' more') is given more than one" in refusal([*TOKENS[:5], *TOKENS[4:]])


def test_pieces_joined_to_their_word_share_its_strength() -> None:
    given_ = [*TOKENS[:5], " exciting", *TOKENS[7:]]
    assert found(given_) == [0, 1, 2, 3, 4, 5, 5, 6, 7, 8]


def test_words_joined_to_one_are_refused() -> None:
    assert "' more') is joined" in refusal([*TOKENS[:3], " a more", *TOKENS[5:]])


def test_of_a_token_cut_in_pieces_the_strongest_counts() -> None:
    given_ = [*TOKENS[:4], " mo", "re", *TOKENS[5:]]
    strengths = [0.0] * 4 + [9.0, 2.0] + [0.0] * 5
    assert found(given_, strengths)[4] == 9


WORD_LISTS = st.lists(st.text(st.characters(categories=["L", "N", "P"]), min_size=1), min_size=1)


@given(WORD_LISTS)
def test_tokens_are_found_in_their_own_text(tokens: list[str]) -> None:
    strengths = [float(at) for at in range(len(tokens))]
    assert match(tokens, tokens, strengths, np.arange(len(tokens))) == list(range(len(tokens)))


@given(WORD_LISTS, WORD_LISTS, st.data())
def test_a_token_never_gets_what_was_said_of_another_text(
    tokens: list[str], given_: list[str], data: st.DataObject
) -> None:
    """Whatever the answer: a token's item has the same text, shares its word, or there is none."""
    answers = data.draw(st.permutations([*tokens, *given_]))[: len(tokens) + 1]
    strengths = [float(data.draw(st.integers(0, 10))) for _ in answers]
    try:
        items = match(tokens, answers, strengths, np.arange(len(tokens)))
    except Mismatch:
        return
    assert items == sorted(items)
    for token, item in zip(tokens, items, strict=True):
        assert answers[item].casefold() in token.casefold()


@given(WORD_LISTS, st.data())
def test_dropping_or_moving_a_token_never_shifts_the_others(
    tokens: list[str], data: st.DataObject
) -> None:
    """Each item says which token it was made from, so that a shift would show."""
    kept = data.draw(st.lists(st.integers(0, len(tokens) - 1), max_size=len(tokens)))
    answers = [tokens[at] for at in kept]
    try:
        items = match(tokens, answers, [float(at) for at in kept], np.arange(len(tokens)))
    except Mismatch:
        return
    assert [tokens[kept[item]] for item in items] == tokens
