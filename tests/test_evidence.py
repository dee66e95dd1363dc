from __future__ import annotations

import numpy as np
import pytest
from models import predictor, request

from pipeline.result import TokenEvidence
from stages.evidence import LEXICAL, OF_WORD, SHOWN, evidence_of
from stages.lexical import parse
from stages.occurrences import occurrences

STORY = (
    "the quick brown fox*9 jumps over the lazy dog",
    "she said that he was proud to announce it",
    "a fox*8 met a fox*8",
)


def explain(explanation: str, *texts: str) -> tuple[TokenEvidence, ...]:
    return evidence_of(predictor().predict(request(explanation, *texts)), {}, predictor().head)


def test_the_strongest_tokens_come_first_and_say_where_they_stand() -> None:
    asked = request("the word 'fox'", *STORY)
    found = explain("the word 'fox'", *STORY)
    assert len(found) == SHOWN
    assert [one.word for one in found[:3]] == ["fox"] * 3
    strengths = [one.strength for one in found]
    assert strengths == sorted(strengths, reverse=True)
    for one in found:
        assert asked.records[one.record].tokens[one.token] == f" {one.word}"
        assert asked.records[one.record].values[one.token] == one.true_activation


def test_a_named_word_is_carried_by_being_named() -> None:
    (first, *_) = explain("the word 'fox'", *STORY)
    assert "is named by the explanation" in first.matches
    assert first.named > max(2.0, first.meaning)
    assert not first.simulated


def test_a_word_like_the_explanation_is_carried_by_its_meaning() -> None:
    found = explain(
        "wild animals such as wolves", "the quick fox*9 ran", "a bear*8 slept", "no one"
    )
    fox = next(one for one in found if one.word == "fox")
    assert fox.meaning > fox.named
    assert not any("named by" in match for match in fox.matches)


def test_the_context_that_was_found_is_said() -> None:
    found = explain("'to' after 'proud'", *STORY)
    assert any("right behind what" in match for match in found[0].matches)
    assert found[0].word == "to"


def test_what_the_llm_said_goes_before() -> None:
    cheap = predictor().predict(request("the word 'fox'", *STORY))
    simulated = np.zeros(len(cheap.seen.request.records[1].tokens))
    simulated[0] = 10.0
    found = evidence_of(cheap, {1: simulated}, predictor().head)
    assert (found[0].word, found[0].strength, found[0].simulated) == ("she", 10.0, True)
    assert not any(one.record == 1 for one in found[1:])


def test_the_evidence_reads_as_a_sentence() -> None:
    (first, *_) = explain("the word 'fox'", *STORY)
    assert str(first).startswith("'fox' in record ")
    assert "true activation" in str(first)
    assert "is named by the explanation" in str(first)


@pytest.mark.parametrize("texts", [("\u200b",), ("…",), ("fox",)])
def test_there_is_evidence_for_no_more_words_than_there_are(texts: tuple[str, ...]) -> None:
    assert len(explain("foxes", *texts)) <= 1


def test_every_feature_is_of_one_kind() -> None:
    seen = predictor().predict(request("the word 'fox'", *STORY)).seen
    assert set(occurrences(parse("fox"), seen.words)) == LEXICAL
    assert set(seen.columns) > OF_WORD | LEXICAL
    assert not OF_WORD & LEXICAL
