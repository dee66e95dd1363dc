from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.odds import STRENGTHS, WeighedText, distribution


def weighed(*places: tuple[str, dict[str, float]]) -> WeighedText:
    """Tokens, each with the probabilities of what might have stood in its place."""
    likely = [{other: math.log(p) for other, p in odds.items()} for _, odds in places]
    return WeighedText.of([token.encode() for token, _ in places], likely)


def test_the_digits_behind_a_place_are_weighed_against_each_other() -> None:
    text = weighed(("é\t", {}), ("7", {"7": 0.3, "2": 0.1, "the": 0.5}))
    probabilities = text.probabilities(len("é\t".encode()))
    assert probabilities is not None
    assert probabilities[[7, 2]].tolist() == pytest.approx([0.75, 0.25])
    assert probabilities.sum() == pytest.approx(1)


def test_a_blank_may_be_part_of_the_digits_token() -> None:
    probabilities = weighed((":", {}), (" 7", {" 7": 0.2, "7": 0.2, "1": 0.4})).probabilities(2)
    assert probabilities is not None
    assert probabilities[[7, 1]].tolist() == pytest.approx([0.5, 0.5])


def test_what_is_no_single_digit_is_no_strength() -> None:
    assert weighed(("\t", {}), ("1", {"10": 0.5, "x": 0.2, "²": 0.1})).probabilities(1) is None


@pytest.mark.parametrize("place", [1, 2, 9])
def test_a_place_where_no_token_begins_is_not_known(place: int) -> None:
    assert weighed(("\tun", {"1": 1.0}), ("known", {"1": 1.0})).probabilities(place) is None


def test_an_empty_text_knows_nothing() -> None:
    assert WeighedText().probabilities(0) is None


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"])),
            st.dictionaries(st.sampled_from("0123456789"), st.floats(1e-6, 1)),
        )
    )
)
def test_what_is_written_is_read_again(places: list[tuple[str, dict[str, float]]]) -> None:
    text = weighed(*places)
    again = WeighedText.read(text.write())
    assert (again.data, list(again.ends), list(again.odds)) == (
        text.data,
        list(text.ends),
        list(text.odds),
    )


def test_the_digits_span_the_whole_scale() -> None:
    certain = distribution(list(np.eye(10)))
    np.testing.assert_allclose(certain.expected, STRENGTHS)
    assert (certain.expected[0], certain.expected[-1]) == (0, 10)
    assert certain.fits(10)
    assert not certain.fits(9)
