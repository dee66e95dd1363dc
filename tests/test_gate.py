from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import PLAIN_GATE, gate, machine, predictor, request
from safetensors.numpy import save_file

from pipeline.errors import ConfigurationError
from pipeline.records import Request
from pipeline.scoring import correlation_score
from stages.cheap import CheapPrediction, Judgement
from stages.gate import (
    EVIDENCE,
    LEAST_ERROR,
    Estimate,
    Gate,
    KernelMachine,
    evidence,
    sampling_variance,
)

priors = st.builds(Estimate, score=st.floats(-1, 1), error=st.floats(LEAST_ERROR, 0.5))
STORY = ("the quick fox*9 ran far", "a fox*8 met a dog", "he paid taxes and left")


def evidence_of(asked: Request) -> dict[str, float]:
    return dict(zip(EVIDENCE, evidence(predictor().predict(asked)).tolist(), strict=True))


def test_the_kernel_machine_sums_bumps_around_its_centres() -> None:
    rng = np.random.default_rng(0)
    fitted = KernelMachine(
        rng.normal(size=3),
        rng.uniform(1, 2, 3),
        rng.normal(size=(5, 3)),
        rng.normal(size=5),
        0.3,
        2,
    )
    rows = rng.normal(size=(4, 3))
    expected = [
        2
        + sum(
            weight * np.exp(-0.3 * np.sum(((row - fitted.mean) / fitted.scale - centre) ** 2))
            for centre, weight in zip(fitted.centres, fitted.weights, strict=True)
        )
        for row in rows
    ]
    assert fitted.predict(rows).tolist() == pytest.approx(expected)


def test_a_request_unlike_any_known_one_keeps_its_own_score() -> None:
    known = replace(PLAIN_GATE, correction=machine(0.0, [-0.3]))
    near, far = np.zeros((2, len(EVIDENCE)))
    near[0], far[:] = 0.1, 9.0
    far[0] = 0.7
    found, kept = known.estimates(np.stack([near, far]))
    assert found.score == pytest.approx(0.1 - 0.3, abs=0.01)
    assert kept.score == pytest.approx(0.7)


def test_an_estimate_is_a_score_with_some_error() -> None:
    wild = Gate(machine(5.0), machine(-3.0), PLAIN_GATE.constants)
    (found,) = wild.estimates(np.zeros((1, len(EVIDENCE))))
    assert (found.score, found.error) == (1.0, LEAST_ERROR)


def test_the_estimate_starts_from_the_cheap_correlation() -> None:
    prediction = predictor().predict(request("the word 'fox'", *STORY))
    truth = prediction.seen.request.true_values
    expected = correlation_score(truth, np.concatenate(prediction.strengths))
    assert (
        PLAIN_GATE.estimate(prediction).score
        == pytest.approx(expected)
        == pytest.approx(1, abs=0.1)
    )


def test_before_any_simulation_the_interval_follows_the_predicted_error() -> None:
    assert PLAIN_GATE.half_width(Estimate(0.5, 0.1), 0, 20) == pytest.approx(0.2)
    assert PLAIN_GATE.half_width(Estimate(0.5, 0.2), 0, 20) == pytest.approx(0.4)


def test_a_simulated_sample_narrows_what_the_prediction_leaves_open() -> None:
    variance = 0.04 * (1 / 5 - 1 / 20)
    expected = 1.5 * (0.1**-2 + 1 / variance) ** -0.5
    assert PLAIN_GATE.half_width(Estimate(0.5, 0.1), 5, 20) == pytest.approx(expected)


def test_the_expected_error_is_a_share_of_the_interval() -> None:
    prior = Estimate(0.5, 0.1)
    for simulated, share in ((0, 1.0 / 2.0), (1, 0.75 / 1.5), (19, 0.75 / 1.5)):
        half_width = PLAIN_GATE.half_width(prior, simulated, 20)
        assert PLAIN_GATE.expected_error(prior, simulated, 20) == pytest.approx(share * half_width)
    assert PLAIN_GATE.expected_error(prior, 20, 20) == 0.0


@pytest.mark.parametrize("of", [lambda: PLAIN_GATE, gate])
@given(prior=priors, records=st.integers(1, 60))
def test_the_interval_shrinks_with_every_record_and_closes_with_the_last(
    of: Callable[[], Gate], prior: Estimate, records: int
) -> None:
    widths = [of().half_width(prior, count, records) for count in range(1, records + 1)]
    assert widths[-1] == 0.0
    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) == records


def test_sampling_without_replacement_leaves_no_variance_at_the_end() -> None:
    constants, prior = PLAIN_GATE.constants, Estimate(0.5, 0.1)
    assert sampling_variance(constants, prior, 1, 20) == pytest.approx(0.04 * 19 / 20)
    assert sampling_variance(constants, prior, 10, 20) == pytest.approx(0.04 / 20)
    assert 0 < sampling_variance(constants, prior, 20, 20) < 1e-8


def test_records_tell_more_where_the_estimate_is_sure() -> None:
    constants = replace(PLAIN_GATE.constants, sampling_share=2.0)
    sure, unsure = Estimate(0.5, 0.1), Estimate(0.5, 0.3)
    assert sampling_variance(constants, sure, 1, 20) == pytest.approx(0.06 * 19 / 20)
    assert sampling_variance(constants, unsure, 1, 20) == pytest.approx(0.22 * 19 / 20)


@given(priors, st.integers(1, 60), st.data())
def test_as_many_records_are_needed_as_bring_the_expected_error_within_tolerance(
    prior: Estimate, records: int, data: st.DataObject
) -> None:
    done = data.draw(st.integers(0, records))
    tolerances = sorted(data.draw(st.lists(st.floats(1e-6, 1), min_size=2, max_size=5)))
    needed = [PLAIN_GATE.needed(prior, done, records, tolerance) for tolerance in tolerances]
    assert needed == sorted(needed, reverse=True)
    for count, tolerance in zip(needed, tolerances, strict=True):
        assert PLAIN_GATE.expected_error(prior, count, records) <= tolerance
        worse = [PLAIN_GATE.expected_error(prior, fewer, records) for fewer in range(done, count)]
        assert all(error > tolerance for error in worse)


def test_a_sure_request_needs_no_simulation_and_an_impossible_tolerance_all() -> None:
    assert PLAIN_GATE.needed(Estimate(0.5, 0.02), 0, 20, 0.05) == 0
    assert PLAIN_GATE.needed(Estimate(0.5, 0.3), 0, 20, 1e-9) == 20


@given(priors, st.floats(-1, 1), st.integers(1, 30), st.data())
def test_an_interval_holds_its_score_and_stays_a_correlation(
    prior: Estimate, score: float, records: int, data: st.DataObject
) -> None:
    low, high = PLAIN_GATE.interval(prior, score, data.draw(st.integers(0, records)), records)
    assert -1 <= low <= score <= high <= 1


def test_a_saved_gate_judges_the_same(tmp_path: Path) -> None:
    gate().save(tmp_path / "gate.safetensors")
    loaded = Gate.load(tmp_path / "gate.safetensors")
    rows = np.random.default_rng(0).normal(size=(50, len(EVIDENCE)))
    assert loaded.estimates(rows) == gate().estimates(rows)
    assert loaded.constants == gate().constants


def of_other_evidence(path: Path) -> None:
    from stages import gate as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "EVIDENCE", (*EVIDENCE[:-1], "moon_phase"))
        PLAIN_GATE.save(path)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(Path.unlink, id="missing"),
        pytest.param(lambda path: path.write_bytes(b"not a gate" * 9), id="garbage"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-9]), id="cut off"),
        pytest.param(lambda path: save_file({"a": np.zeros(3)}, path), id="other safetensors"),
        pytest.param(
            lambda path: save_file({"a": np.zeros(3)}, path, {"gate": "{}"}), id="without constants"
        ),
        pytest.param(of_other_evidence, id="of other evidence"),
    ],
)
def test_a_file_that_is_not_a_gate_says_how_to_get_one(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    path = tmp_path / "gate.safetensors"
    PLAIN_GATE.save(path)
    spoil(path)
    with pytest.raises(ConfigurationError, match=r"gate\.safetensors: .*make train"):
        Gate.load(path)


def test_evidence_tells_an_explanation_that_fits_from_one_that_does_not() -> None:
    fits = evidence_of(request("the word 'fox'", *STORY))
    misses = evidence_of(request("the word 'dog'", *STORY))
    for name in ("correlation", "sharp_correlation", "at_peaks", "lexical_at_peaks", "peak_share"):
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
def test_evidence_of_a_degenerate_request_is_finite(explanation: str, texts: list[str]) -> None:
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
        constant = CheapPrediction.of(seen, Judgement(*[np.full(len(seen.words), value)] * 2))
        assert np.isfinite(evidence(constant)).all()
