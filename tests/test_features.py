from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import fast_encoder, minilm, predictor, words_of

from stages.background import background
from stages.encoding import TextEncoder
from stages.explanation import encode_explanation
from stages.features import Features, features, semantic
from stages.words import Words


def see(explanation: str, *texts: str, reference: tuple[str, ...] = ()) -> Features:
    """All features of the texts' words."""
    encoder = fast_encoder()
    words = Words(encoder.encode(words_of(*texts)))
    encoded = encode_explanation(explanation, encoder)
    if not reference:
        return features(encoded, words)
    usual = Words(encoder.encode(words_of(*reference)))
    return features(encoded, words, (usual, features(encoded, usual)))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("is_letter", [1, 1, 0, 0, 1, 1]),
        ("is_digit", [0, 0, 0, 1, 0, 0]),
        ("is_capital", [0, 1, 0, 0, 0, 1]),
        ("length", [1, 3, 1, 2, 3, 3]),
        ("position", [0, 1 / 64, 2 / 64, 3 / 64, 4 / 64, 5 / 64]),
        ("repeat_distance", [0, 0, 0, 0, 1 / 3, 1]),
        ("previous_is_punctuation", [1, 0, 0, 1, 0, 0]),
        ("next_is_punctuation", [0, 1, 0, 0, 0, 1]),
        ("text_length", [6] * 6),
    ],
)
def test_a_word_is_described_whatever_the_explanation(name: str, expected: list[float]) -> None:
    assert see("foxes", "Fox .", "a Fox , 12 fox FOX")[name][2:] == pytest.approx(expected)


def test_a_word_is_as_frequent_as_in_the_background() -> None:
    found = see("the word 'time'", "The zyzzyva")
    expected = background().log_frequency(["the", "zyzzyva", "time"])
    assert found["log_frequency"].tolist() == pytest.approx(expected[:2].tolist())
    assert found["target_frequency"].tolist() == pytest.approx([expected[2]] * 2)


def test_the_explanation_is_counted() -> None:
    found = see("'to' and 'too' after 'proud' in brave letters, but not 'two'", "a b")
    counts = {"n_target": 2, "n_before": 1, "n_after": 0, "n_example": 0, "n_context": 1}
    assert {name: found[name].tolist() for name in counts} == {
        name: [count, count] for name, count in counts.items()
    }


def test_a_word_that_is_the_explanation_is_most_like_it() -> None:
    encoder = TextEncoder(minilm())
    words = Words(encoder.encode(words_of("the tax was paid", "a quick fox ran")))
    found = semantic(encode_explanation("'fox', as in 'a quick fox'", encoder), words)
    for name in ("static_target", "example_target", "whole", "late_max"):
        assert words.written[int(found[name].argmax())] == "fox", name
        assert np.abs(found[name]).max() <= 1 + 1e-5
    for name in ("example_window", "near_whole", "wide_whole", "text_whole"):
        assert found[name][4:].min() > found[name][:4].max(), name


def test_relative_features_compare_with_the_request_and_the_same_word() -> None:
    found = see("the word 'fox'", "a fox ran", "the fox", "dog")
    column = found["whole"]
    assert found["same_words"].tolist() == pytest.approx([1 / 3, 2 / 3, 1 / 3, 1 / 3, 2 / 3, 1 / 3])
    assert found["whole_z"].mean() == pytest.approx(0, abs=1e-5)
    assert found["whole_z"].std() == pytest.approx(1, abs=0.02)
    assert found["whole_text_gap"].tolist() == pytest.approx(
        [*(column[:3] - column[:3].max()), *(column[3:5] - column[3:5].max()), 0], abs=1e-6
    )
    fox = (column[1] + column[4]) / 2
    expected = [0, column[1] - fox, 0, 0, column[4] - fox, 0]
    assert found["whole_same_gap"].tolist() == pytest.approx(expected, abs=1e-6)


def test_texts_judged_by_their_own_standard_are_judged_as_without_a_reference() -> None:
    texts = ("a fox ran", "the dog")
    plain, referred = see("fox", *texts), see("fox", *texts, reference=texts)
    assert all(np.allclose(plain[name], referred[name], atol=1e-5) for name in plain)


def test_other_texts_are_judged_by_the_reference() -> None:
    found = see("the word 'fox'", "a fox ran", "zebra", reference=("fox fox", "a dog"))
    assert found["same_words"].tolist() == [0.5, 1, 0, 0]
    assert found["whole_same_gap"][[2, 3]].tolist() == [0, 0]
    usual = see("the word 'fox'", "fox fox", "a dog")["whole"]
    expected = (found["whole"] - usual.mean()) / (usual.std() + 1e-3)
    assert found["whole_z"].tolist() == pytest.approx(expected.tolist(), abs=1e-4)


texts = st.lists(
    st.text() | st.lists(st.sampled_from(["fox", "'", "の", "😀", "\u200b", "7"])).map(" ".join),
    min_size=1,
    max_size=4,
)
explanations = st.text() | st.sampled_from(
    ["''", "'-'", "'a' after 'b' in 'c d', not 'e'", "。。", "слово в тексте", "never", "the of"]
)


@given(explanations, texts)
def test_no_input_makes_a_feature_that_is_not_a_number(explanation: str, texts: list[str]) -> None:
    found = see(explanation, *texts)
    n_words = sum(map(len, words_of(*texts)))
    for name, column in found.items():
        assert column.shape == (n_words,), name
        assert column.dtype == np.float32
        assert np.isfinite(column).all(), name


@given(st.permutations(range(5)))
def test_the_order_of_the_texts_does_not_matter(order: list[int]) -> None:
    explanation = "'fox' after 'quick', as in 'the quick fox', in fables; not pets"
    texts = ["the quick fox ran", "a fox", "fox", "", "pets: no fox, 7 quick foxes"]
    sizes = [len(words) for words in words_of(*texts)]
    plain = see(explanation, *texts)
    shuffled = see(explanation, *(texts[i] for i in order))
    starts = np.cumsum(sizes) - sizes
    back = np.concatenate([starts[i] + np.arange(sizes[i]) for i in order])
    for name, column in plain.items():
        np.testing.assert_allclose(shuffled[name], column[back], atol=2e-5, err_msg=name)


def test_real_vectors_make_features_too() -> None:
    encoder = predictor().observer._encoder
    words = Words(encoder.encode(words_of("Fox", "\u200b", "狐狸在跑", "")))
    found = features(encode_explanation("“狐狸”", encoder), words)
    assert all(np.isfinite(column).all() for column in found.values())
    assert not math.isclose(found["whole"][0], found["whole"][2])
