from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import fast_encoder, predictor, request

from pipeline.records import Request
from stages.cheap import CheapPrediction, Judgement
from stages.observation import Observer

STORY = (
    "the quick brown fox*9 jumps over the lazy dog",
    "she said that he was proud to announce it",
    "a fox*8 met a fox*8",
)


def strengths(explanation: str, *texts: str) -> list[dict[str, float]]:
    """Token → the strength predicted, of each text."""
    asked = request(explanation, *texts)
    found = predictor().predict(asked).strengths
    return [
        dict(zip(record.tokens, values.tolist(), strict=True))
        for record, values in zip(asked.records, found, strict=True)
    ]


def unlearned(asked: Request) -> CheapPrediction:
    """What is seen of a request, with each word's place in its text for a strength."""
    seen = Observer(fast_encoder()).observe(asked)
    places = seen.words.position.astype(float) + 1
    return CheapPrediction.of(seen, Judgement(places, places / 2, places / 4))


@pytest.mark.parametrize(
    ("explanation", "firing"),
    [
        ("the word 'fox'", {" fox"}),
        ("pronouns", {" she", " he", " it"}),
        ("'to' after 'proud'", {" to"}),
    ],
)
def test_an_explanation_fires_on_what_it_names_and_not_elsewhere(
    explanation: str, firing: set[str]
) -> None:
    found = strengths(explanation, *STORY)
    every = [(token, value) for text in found for token, value in text.items()]
    assert np.mean([value for token, value in every if token in firing]) > 3
    assert max(value for token, value in every if token not in firing) < 3


def test_all_but_what_is_named_fires_where_that_does_not() -> None:
    named = strengths("the word 'fox'", *STORY)
    for explanation in ("anything but the word 'fox'", "words that are not 'fox'"):
        for text, opposite in zip(named, strengths(explanation, *STORY), strict=True):
            assert all((text[token] > 3) == (opposite[token] < 7) for token in text)


def test_a_word_inside_another_does_not_fire() -> None:
    found = strengths("the word 'she'", "she shelled peas on the shelf", "ashes")
    assert found[0][" she"] > 6
    assert max(found[0][" shelled"], found[0][" shelf"], found[1][" ashes"]) < 3


def test_the_context_that_is_asked_for_counts() -> None:
    (found,) = strengths("'to' after 'proud'", "proud to announce , he ran to*1 school")
    ((_, to),) = (item for item in found.items() if item[0] == " to")
    (other,) = strengths("'to' after 'proud'", "proud to announce it")
    assert other[" to"] > to + 1


def test_strength_stands_on_the_last_token_of_a_word() -> None:
    tokens = ["The", " ", "fo", "x", "es", "\n", "", " ran", ",", " "]
    asked = Request.parse("foxes", [{"tokens": tokens, "values": [0.0] * 10}])
    assert unlearned(asked).strengths[0].tolist() == [1, 0, 0, 0, 2, 0, 0, 3, 4, 0]


def test_every_text_gets_a_strength_for_each_of_its_tokens() -> None:
    records = [[" "], ["fox"], ["\n", "\t"], [" a", " b"], [""]]
    asked = Request.parse("a", [{"tokens": t, "values": [0.0] * len(t)} for t in records])
    assert [s.tolist() for s in unlearned(asked).strengths] == [[0], [1], [0, 0], [1, 2], [0]]


def test_a_request_without_any_word_is_silent() -> None:
    blank = Request.parse("a", [{"tokens": [" ", "\n"], "values": [1, 0]}])
    prediction = predictor().predict(blank)
    assert prediction.strengths[0].tolist() == [0, 0]


def test_what_the_head_alone_says_is_kept() -> None:
    prediction = unlearned(request("a", "the fox ran"))
    assert prediction.first[0].tolist() == [0.5, 1, 1.5]
    judged = predictor().predict(request("the word 'fox'", *STORY))
    assert judged.first[0].shape == judged.strengths[0].shape
    assert judged.first[0][3] > 3


def test_the_reader_is_asked_only_where_the_head_hears_something() -> None:
    prediction = predictor().predict(request("the word 'fox'", *STORY))
    first, strengths = (np.concatenate(x) for x in (prediction.first, prediction.strengths))
    silent = first <= 0.1
    assert silent.any()
    assert not silent.all()
    # Half of the head's log-odds, and half of the least there are.
    shares = np.clip(first[silent] / 10, 0.002, None)
    odds = np.sqrt(shares / (1 - shares) * 0.002 / 0.998)
    assert strengths[silent] == pytest.approx(10 * odds / (1 + odds))
    assert abs(strengths - first)[~silent].max() > 0.01


def test_what_an_llm_said_takes_the_place_of_the_prediction() -> None:
    prediction = predictor().predict(request("the word 'fox'", *STORY))
    said = {1: np.full(9, 7.0)}
    found = prediction.strengths_or(said)
    assert found[0] is prediction.strengths[0]
    assert found[1] is said[1]
    assert found[2] is prediction.strengths[2]


def test_other_texts_are_judged_as_those_of_the_request() -> None:
    asked = request("the word 'fox'", *STORY)
    prediction = predictor().predict(asked)
    texts = [asked.texts[2].words, ("no", "match", "here")]
    words, by_word = predictor().predict_elsewhere(prediction.seen, texts)
    own, other = words.split(by_word)
    assert own == pytest.approx(prediction.strengths[2], abs=0.05)
    assert other.max() < 1


words = st.sampled_from(["fox", " dog", "\n", "", "中文", "😀", "'", "7", " the", "\u200b", "ĠĊ"])
records = st.lists(st.lists(words, min_size=1, max_size=6), min_size=1, max_size=4)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(["the word 'fox'", "'", "中文", "numbers, not 'dog'"]), records)
def test_strengths_lie_between_0_and_10(explanation: str, texts: list[list[str]]) -> None:
    asked = Request.parse(explanation, [{"tokens": t, "values": [0.0] * len(t)} for t in texts])
    prediction = predictor().predict(asked)
    assert [len(s) for s in prediction.strengths] == list(map(len, texts))
    every = np.concatenate(prediction.strengths)
    assert every.min() >= 0
    assert every.max() <= 10
