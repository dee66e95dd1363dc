from __future__ import annotations

import math

import pytest

from stages.background import Background, background
from stages.vocabulary import normalise


@pytest.fixture(scope="module")
def small() -> Background:
    places = {"fox": [(0, 0), (1, 1)], "ran": [(0, 1)], "a": [(1, 0)]}
    words = (("Fox", "ran"), ("a", "fox"))
    return Background(("Fox ran", "a fox"), words, {words[0]: [0], words[1]: [1]}, places, 4)


def test_a_common_word_is_more_frequent_and_an_unknown_one_counts_as_one(small: Background) -> None:
    found = small.log_frequency(["fox", "ran", "wolf"])
    assert found.tolist() == pytest.approx([math.log(3 / 4), math.log(2 / 4), math.log(1 / 4)])
    assert small.log_frequency([]).shape == (0,)


def test_the_shipped_corpus_is_what_its_index_says() -> None:
    corpus = background()
    assert len(corpus.texts) == len(corpus.words) == 4000
    assert corpus.total == sum(map(len, corpus.words)) == sum(map(len, corpus.places.values()))
    assert all(corpus.words)
    wrong = [
        word
        for word, found in corpus.places.items()
        if any(normalise(corpus.words[text][position]) != word for text, position in found)
    ]
    assert wrong == []


def test_common_words_stand_in_many_texts_of_the_corpus() -> None:
    the, time, more = (
        len({text for text, _ in background().places[w]}) for w in ("the", "time", "more")
    )
    assert the > time > 100
    assert more > 100


def test_the_corpus_is_read_once() -> None:
    assert background() is background()
