from __future__ import annotations

import numpy as np
import pytest
from models import gate, predictor, request

from pipeline.records import Request
from stages.cheap import CheapPrediction, Judgement
from stages.gate import LEAST_ERROR
from stages.gate_evidence import EVIDENCE, evidence

STORY = ("the quick fox*9 ran far", "a fox*8 met a dog", "he paid taxes and left")


def evidence_of(asked: Request) -> dict[str, float]:
    return dict(zip(EVIDENCE, evidence(predictor().predict(asked)).tolist(), strict=True))


def test_evidence_tells_an_explanation_that_fits_from_one_that_does_not() -> None:
    fits = evidence_of(request("the word 'fox'", *STORY))
    misses = evidence_of(request("the word 'dog'", *STORY))
    for name in ("correlation", "sharp_correlation", "at_peaks", "maxima_above_0.2"):
        assert fits[name] > misses[name] + 0.3, name
    assert fits["mass_on_peaks"] > 0.6 > misses["mass_on_peaks"]
    assert fits["log_records"] == misses["log_records"] == pytest.approx(np.log(3))


def test_evidence_does_not_depend_on_the_unit_of_the_activations() -> None:
    plain = request("the word 'fox'", *STORY)
    scaled = [{"tokens": record.tokens, "values": record.values * 1e-3} for record in plain.records]
    other = Request.parse(plain.explanation, scaled)
    assert evidence_of(other) == pytest.approx(evidence_of(plain))


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param(["fox"], id="one silent token"),
        pytest.param(["fox*1"], id="one token"),
        pytest.param(["the fox*1 ran"], id="one record"),
        pytest.param(["the fox ran", "a dog"], id="silent"),
        pytest.param(["the*2 fox*2", "a*2"], id="constant"),
        pytest.param(["the*-1 fox*-5", "a*-2"], id="negative"),
        pytest.param(["the*-1 fox*1e100", "a*-1e100"], id="huge"),
        pytest.param(["the fox*1e-300", "a"], id="tiny"),
        pytest.param(["\u200b*1 \u200b", "…*3"], id="hardly a word"),
        pytest.param(["a fox*1"] * 40, id="all the same"),
    ],
)
@pytest.mark.parametrize("explanation", ["the word 'fox'", "zyzzyva", "…"])
def test_a_degenerate_request_has_finite_evidence_and_estimate(
    explanation: str, texts: list[str]
) -> None:
    prediction = predictor().predict(request(explanation, *texts))
    assert np.isfinite(evidence(prediction)).all()
    found = gate().estimate(prediction)
    assert -1 <= found.score <= 1
    assert LEAST_ERROR <= found.error < 2


def test_evidence_without_words_or_predictions_is_finite() -> None:
    blank = Request.parse("a", [{"tokens": [" ", "\n"], "values": [1, 0]}])
    assert np.isfinite(evidence(predictor().predict(blank))).all()
    seen = predictor().predict(request("fox", *STORY)).seen
    for value in (0.0, 10.0):
        constant = CheapPrediction.of(seen, Judgement(*[np.full(len(seen.words), value)] * 3))
        assert np.isfinite(evidence(constant)).all()


def test_each_rung_has_its_own_evidence() -> None:
    seen = predictor().predict(request("fox", *STORY)).seen
    fox = np.array([word == "fox" for word in seen.words.written])
    loud, silent = 10.0 * fox, np.zeros(len(fox))
    found = {
        rung: dict(zip(EVIDENCE, evidence(CheapPrediction.of(seen, of)).tolist(), strict=True))
        for rung, of in (
            ("head", Judgement(silent, loud, silent)),
            ("reader", Judgement(silent, silent, loud)),
        )
    }
    assert found["head"]["first_correlation"] > 0.9 > found["reader"]["first_correlation"] == 0
    assert found["reader"]["reader_correlation"] > 0.9 > found["head"]["reader_correlation"] == 0
    assert found["reader"]["reader_maximum"] == pytest.approx(2 / 3)
