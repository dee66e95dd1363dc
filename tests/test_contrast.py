from __future__ import annotations

import numpy as np
import pytest
from models import predictor, request

from pipeline.records import Request
from stages import contrast
from stages.background import background
from stages.contrast import Contrasts, _largest, find_contrasts, places_of
from stages.vocabulary import normalise

PLACES = ("north", "sea", "hill", "west", "isle", "moor")
LEADERS = tuple(
    f"the {who} of the country*9 said {what}"
    for who in ("king", "queen", "leader")
    for what in ("no", "yes", "so much", "nothing at all")
)


def contrasts_of(asked: Request) -> Contrasts:
    return find_contrasts(predictor().predict(asked), predictor())


def test_context_texts_hold_a_peak_word_at_their_place() -> None:
    asked = request("kings", "once upon a time*9", "a king*8 and a queen", "the king*7", "time*1")
    found = contrasts_of(asked).context
    assert set(map(normalise, found.tokens)) == {"time", "king"}
    shape = (len(found.texts),)
    assert len(found.tokens) == len(found.strengths) == len(found.texts) == len(set(found.texts))
    assert found.predicted.shape == found.weights.shape == shape
    for text, token, strengths, at in zip(
        found.texts, found.tokens, found.strengths, found.predicted, strict=True
    ):
        words = background().words[text]
        assert strengths.shape == (len(words),)
        assert at in strengths[[i for i, word in enumerate(words) if word == token]]


def test_of_many_contexts_those_least_like_the_peaks_are_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = request("countries", *LEADERS)
    chosen = contrasts_of(asked)
    monkeypatch.setattr(contrast, "_CONTEXTS_JUDGED", 99)
    every = contrasts_of(asked)
    assert len(chosen.context.texts) == 12 < len(every.context.texts)
    assert chosen.dependence == every.dependence
    assert sorted(chosen.context.weights) == sorted(every.context.weights)[-12:]
    weights = dict(zip(every.context.texts, every.context.weights, strict=True))
    assert [weights[text] for text in chosen.context.texts] == chosen.context.weights.tolist()


def test_breadth_texts_hold_a_word_that_is_named_and_never_fires() -> None:
    found = contrasts_of(request("the words 'country' and 'water'", *LEADERS)).breadth
    assert set(map(normalise, found.tokens)) == {"water"}
    assert found.weights.max() > 0.3
    assert found.elsewhere > 0.3


@pytest.mark.parametrize("explanation", ["the word 'country'", "kings and queens and countries"])
def test_a_word_that_fires_in_a_record_is_no_breadth(explanation: str) -> None:
    found = contrasts_of(request(explanation, *LEADERS)).breadth
    assert "country" not in set(map(normalise, found.tokens))


def test_the_more_peaks_lack_a_named_word_the_surer_it_is_that_it_does_not_fire() -> None:
    asked = request("the words 'country' and 'water'", *LEADERS)
    few = contrasts_of(Request(asked.explanation, asked.records[:3])).breadth
    assert few.weights.max() < contrasts_of(asked).breadth.weights.max()


def test_a_rare_word_is_no_surprise() -> None:
    rare = contrasts_of(request("'country' or 'quadrant'", *LEADERS)).breadth
    assert rare.weights.max(initial=0.0) < 0.3


def test_members_of_a_named_class_count_as_named() -> None:
    texts = [f"it came from*9 the {place}" for place in ("north", "sea", "hill", "king", "war")]
    found = contrasts_of(request("prepositions", *texts)).breadth
    assert {"of", "in"} & set(map(normalise, found.tokens))
    assert found.elsewhere > 0.3


def test_a_text_of_the_request_does_not_speak_against_it() -> None:
    index, _ = background().places["captain"][0]
    words = background().words[index]
    record = {
        "tokens": [f" {word}" for word in words],
        "values": [9.0 * (normalise(word) == "captain") for word in words],
    }
    found = contrasts_of(Request.parse("the word 'captain'", [record, record]))
    assert index not in found.context.texts


def test_a_text_that_the_background_holds_twice_does_not_either() -> None:
    words, twice = next((w, at) for w, at in background().index.items() if len(at) > 1)
    rare = min(set(map(normalise, words)), key=lambda word: len(background().places[word]))
    own = {
        "tokens": [f" {word}" for word in words],
        "values": [9.0 * (normalise(word) == rare) for word in words],
    }
    other = {"tokens": [" another", f" {rare}"], "values": [0.0, 9.0]}
    found = places_of(Request.parse("anything", [own, other]))
    assert not {text for text, _ in found.context} & set(twice)


def test_where_nothing_depends_on_the_context_every_peak_word_is_judged() -> None:
    assert _largest(np.zeros(24), ["is"] * 18 + ["was"] * 6).tolist() == [*range(6), *range(18, 24)]


@pytest.mark.parametrize(
    "texts", [("a zyzzyva*9 ran", "one zyzzyva*8"), ("time*-2 a*-1",), ("one zyzzyva*8",)]
)
def test_without_places_there_are_no_texts(texts: tuple[str, ...]) -> None:
    found = contrasts_of(request("zyzzyvas", *texts))
    assert found.context.texts == found.breadth.texts == ()
    assert found.context.elsewhere == found.dependence == 0.0


def test_a_words_contexts_are_compared_with_those_of_its_own_peaks() -> None:
    own = [f"the king of the {place} said to*9 them" for place in PLACES]
    strays = ["rain, zyzzyva*9 here", "ships qwyx*9", "nobody vrumf*8", "it blonked*8"]
    alone, mixed = (contrasts_of(request("'to'", *texts)) for texts in (own, [*own, *strays]))
    assert mixed.dependence == alone.dependence > 0.5
