from __future__ import annotations

import numpy as np
import pytest
from models import gate, predictor, request

from pipeline.records import Request
from stages.blind import blind_share
from stages.gate import standard_errors
from stages.gate_evidence import evidence

LINES = ("the fox", "\n", "ran", "\n", "off")
STORY = ("the quick fox*9 ran far", "a fox*8 met a dog", "he paid taxes and left")


def of_lines(explanation: str, *values: float) -> Request:
    return Request.parse(explanation, [{"tokens": LINES, "values": values}])


def test_what_fires_on_words_can_be_judged() -> None:
    assert blind_share(request("foxes", *STORY)) == 0.0
    assert blind_share(of_lines("foxes", 9, 0, 0, 0, 0)) == pytest.approx(0.1)  # silence counts


def test_what_fires_on_tokens_without_a_word_cannot() -> None:
    assert blind_share(of_lines("pauses", 0, 9, 0, 9, 0)) == pytest.approx(0.6)
    assert blind_share(of_lines("pauses", 0, 9, 0, 0, 0)) > 0.8


@pytest.mark.parametrize(
    ("explanation", "share"),
    [
        ("动物", 1.0),
        ("животные", 1.0),
        ("des animaux", 0.0),
        ("les animaux dans des contes", 1.0),
        ("palabras que terminan en '-ción'", 1.0),
        ("Wörter nach dem Artikel", 1.0),
        ("'de' and 'la' in Spanish", 0.0),
        ("de facto leaders of the junta", 0.0),
        ("the Japanese particle は", 1 / 20),
        ("the particle 'は' after a noun", 0.0),
        ("¿?", 0.0),
        ("anything but foxes", 1.0),
        ("the first word of each line", 1.0),
        ("'in' at the beginning of a line", 1.0),
        ("indented code", 1.0),
        ("bullet points", 1.0),
        ("the word 'newline'", 0.0),
        ("lines of a play", 0.0),
    ],
)
def test_some_explanations_cannot_be_judged(explanation: str, share: float) -> None:
    assert blind_share(request(explanation, *STORY)) == pytest.approx(share)


def test_the_gate_is_unsure_where_it_is_blind() -> None:
    gate_, asked = gate(), predictor().predict(of_lines("pauses", 0, 9, 0, 9, 0))
    (deaf,) = gate_.estimates(evidence(asked)[None])
    found = gate_.estimate(asked)
    far = standard_errors(np.array(gate_.error.intercept), gate_.constants.cheap_quantile)
    assert found.score == deaf.score
    assert found.error == pytest.approx(deaf.error + 0.6 * (far - deaf.error))
