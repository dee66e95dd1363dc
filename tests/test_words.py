from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import fast_encoder, words_of

from stages.background import background
from stages.embedding import WordVectors, normalised
from stages.encoding import REACHES, intern
from stages.words import Column, Words

background()  # read here, so that it is not within the time of an example

sizes = st.lists(st.integers(0, 7), min_size=1, max_size=6)
seeds = st.integers(0, 2**32 - 1)


def some_words(sizes: list[int], seed: int = 0) -> Words:
    """Texts of these sizes with random vectors."""
    rng = np.random.default_rng(seed)
    texts = []
    for size in sizes:
        written = tuple(rng.choice(["fox", "dog", "cat"], size).tolist())
        vectors = [normalised(rng.normal(size=(size, 5)).astype(np.float32)) for _ in range(2)]
        pieces = np.zeros((0, 5), np.float16), np.zeros(0, np.int64)
        texts.append(intern(written, WordVectors(vectors[0], vectors[1], *pieces)))
    return Words(texts)


def column_of(words: Words, seed: int) -> Column:
    return np.random.default_rng(seed).normal(size=len(words))


def naive(words: Words, of_text: Callable[[int, int, int], object]) -> list[object]:
    """`of_text(position, first, size)` for each word, `first` the index of its text's first."""
    first = 0
    out = []
    for size in words.sizes.tolist():
        out += [of_text(position, first, size) for position in range(size)]
        first += size
    return out


@given(sizes)
def test_every_word_knows_its_text_and_place(sizes: list[int]) -> None:
    words = some_words(sizes)
    assert len(words) == sum(sizes) == len(words.written)
    places = [(text, position) for text, size in enumerate(sizes) for position in range(size)]
    assert list(zip(words.text_of.tolist(), words.position.tolist(), strict=True)) == places
    assert [len(part) for part in words.split(words.position)] == sizes


@given(sizes, seeds, st.integers(-9, 9))
def test_a_shift_stays_inside_its_text(sizes: list[int], seed: int, by: int) -> None:
    words = some_words(sizes)
    column = column_of(words, seed)
    expected = naive(
        words, lambda at, first, size: column[first + at + by] if 0 <= at + by < size else 0.0
    )
    assert words.shifted(column, by).tolist() == expected


@pytest.mark.parametrize("by", [-1, 0, 1])
def test_a_shift_keeps_the_kind_and_leaves_the_column_alone(by: int) -> None:
    words = some_words([3, 2])
    column = np.array([True, False, True, True, False])
    assert words.shifted(column, by).dtype == bool
    assert column.tolist() == [True, False, True, True, False]


@given(sizes, seeds, st.lists(st.integers(-4, 4), min_size=1, max_size=4))
def test_the_largest_nearby_stays_inside_its_text(
    sizes: list[int], seed: int, offsets: list[int]
) -> None:
    words = some_words(sizes)
    column = column_of(words, seed)
    expected = naive(
        words,
        lambda at, first, size: max(
            column[first + at + by] if 0 <= at + by < size else 0.0 for by in offsets
        ),
    )
    assert words.near(column, offsets).tolist() == expected


@given(sizes, seeds, st.sampled_from(REACHES))
def test_a_window_is_the_mean_of_the_words_around(sizes: list[int], seed: int, reach: int) -> None:
    words = some_words(sizes, seed)
    vectors = np.random.default_rng(seed).normal(size=(2, 5)).astype(np.float32)

    def around(at: int, first: int, size: int) -> object:
        low, high = max(at - reach, 0), min(at + reach + 1, size)
        others = [words.contextual[first + i] for i in range(low, high) if i != at]
        total = np.sum(others, axis=0) if others else np.zeros(5)
        return total / max(float(np.linalg.norm(total)), 1e-9)

    expected = np.array(naive(words, around)).reshape(-1, 5)
    at = np.arange(len(words))[::2]
    np.testing.assert_allclose(words.windows(reach, at), expected[at], atol=1e-4)
    cosines = words.window_cosines(reach, vectors @ words.contextual.T)
    np.testing.assert_allclose(cosines, vectors @ expected.T, atol=5e-3)


def test_a_lone_word_has_nothing_around_it_wherever_its_text_stands() -> None:
    words = some_words([4000, 1, 300, 1])
    lone = np.array([4000, len(words) - 1])
    assert not words.windows(6, lone).any()
    cosines = words.window_cosines(6, words.contextual[:3] @ words.contextual.T)
    assert abs(cosines[:, lone]).max() < 1e-4


@given(sizes, seeds)
def test_figures_of_a_text_are_those_of_its_words(sizes: list[int], seed: int) -> None:
    words = some_words(sizes)
    column = column_of(words, seed)
    for got, figure in (
        (words.text_max(column), np.max),
        (words.text_sum(column), np.sum),
        (words.text_mean(column), np.mean),
    ):
        of_texts = [figure(part) for part in words.split(column) if len(part)]
        expected = np.repeat(of_texts, words.sizes[words.sizes > 0])
        np.testing.assert_allclose(got, expected, atol=1e-12)


def test_truth_values_are_counted() -> None:
    words = some_words([2, 1])
    assert words.text_sum(np.array([True, True, False])).tolist() == [2, 2, 0]


def test_all_texts_may_be_empty() -> None:
    words = Words(fast_encoder().encode(words_of("", " ")))
    assert len(words) == 0
    assert words.windows(3, np.zeros(0, np.int64)).shape == (0, 6)
    assert words.window_cosines(2, np.zeros((4, 0), np.float32)).shape == (4, 0)
    assert [len(part) for part in words.split(np.zeros(0))] == [0, 0]
