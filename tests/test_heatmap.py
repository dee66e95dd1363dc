from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import request

from pipeline.heatmap import around, heat_texts
from pipeline.result import ContrastText, ScoreResult
from pipeline.scoring import score_records


def drawn(request_texts: list[str], strengths: list[list[float]]) -> ScoreResult:
    import numpy as np

    records = request("foxes", *request_texts).records
    simulations = score_records(records, [np.array(one) for one in strengths])
    return ScoreResult(0.5, 0.5, (0.0, 1.0), "cheap", "ok", simulations)


def test_texts_that_agree_least_come_first() -> None:
    result = drawn(["a fox*4", "a dog*2", "a cat*4"], [[0, 10], [0, 10], [0, 0]])
    assert [text.record for text in heat_texts(result)] == [2, 1, 0]
    assert heat_texts(result)[-1].disagreement == pytest.approx(0.0)


def test_the_strongest_activation_of_the_request_is_10() -> None:
    result = drawn(["a fox*4", "a dog*2"], [[0, 10], [0, 10]])
    marked = [token for text in heat_texts(result) for token in text.tokens if token.marked]
    assert [(token.text, token.true, token.activation) for token in marked] == [
        (" dog", 5.0, 2.0),
        (" fox", 10.0, 4.0),
    ]


def test_what_does_not_fire_is_joined_into_plain_text() -> None:
    result = drawn(["a quick brown fox*4 ran away"], [[0, 0, 0, 9, 0, 0.3]])
    tokens = heat_texts(result)[0].tokens
    assert [token.text for token in tokens] == [" a quick brown", " fox", " ran away"]


@given(st.lists(st.binary(min_size=1, max_size=3).map(lambda b: b.decode("latin-1")), min_size=1))
def test_no_character_is_lost_or_shown_twice(tokens: list[str]) -> None:
    import numpy as np

    from pipeline.records import ActivationRecord
    from pipeline.text import decode

    record = ActivationRecord(tuple(tokens), np.arange(len(tokens), dtype=float))
    simulations = score_records([record], [np.zeros(len(tokens))])
    result = ScoreResult(0.0, 0.0, (0.0, 0.0), "cheap", "ok", simulations)
    shown = "".join(token.text for token in heat_texts(result)[0].tokens)
    assert shown == decode([tokens])[0].text


def test_a_background_text_is_cut_at_the_word_and_not_inside_another() -> None:
    text = ContrastText("shelled peas, she said", "she", 5.0, 1.0)
    assert around(text) == ("shelled peas, ", "she", " said")
