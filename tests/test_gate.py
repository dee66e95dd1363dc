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
from pipeline.scoring import correlation_score
from stages.gate import (
    LEAST_ERROR,
    NORMAL_QUANTILE,
    Estimate,
    Gate,
    KernelMachine,
    sampling_variance,
)
from stages.gate_evidence import EVIDENCE

priors = st.builds(Estimate, score=st.floats(-1, 1), error=st.floats(LEAST_ERROR, 0.5))


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
    assert found.score == 1.0
    assert found.error == pytest.approx(LEAST_ERROR * 2.0 / NORMAL_QUANTILE)


def test_the_estimate_starts_from_the_cheap_correlation() -> None:
    prediction = predictor().predict(
        request("the word 'fox'", "the quick fox*9 ran", "he paid taxes")
    )
    truth = prediction.seen.request.true_values
    expected = correlation_score(truth, np.concatenate(prediction.strengths))
    assert (
        PLAIN_GATE.estimate(prediction).score
        == pytest.approx(expected)
        == pytest.approx(1, abs=0.1)
    )


def test_before_any_simulation_the_interval_follows_the_predicted_error() -> None:
    known = replace(PLAIN_GATE, error=machine(0.1, [0.2]))
    unsure, sure = known.estimates(np.stack([np.zeros(len(EVIDENCE)), np.full(len(EVIDENCE), 9.0)]))
    assert known.half_width(unsure, 0, 20) == pytest.approx(2.0 * 0.3)
    assert known.half_width(sure, 0, 20) == pytest.approx(2.0 * 0.1)


def test_nine_of_ten_scores_lie_as_near_as_a_normal_distribution_has_them() -> None:
    (found,) = PLAIN_GATE.estimates(np.zeros((1, len(EVIDENCE))))
    assert found.error == pytest.approx(0.2 / NORMAL_QUANTILE)


def test_a_simulated_sample_narrows_what_the_prediction_leaves_open() -> None:
    variance = 0.04 * (1 / 5 - 1 / 20)
    expected = 1.5 * (0.1**-2 + 1 / variance) ** -0.5
    assert PLAIN_GATE.half_width(Estimate(0.5, 0.1), 5, 20) == pytest.approx(expected)


def test_the_expected_error_is_a_share_of_the_interval() -> None:
    prior = Estimate(0.5, 0.1)
    for simulated, share in ((0, 1.0 / NORMAL_QUANTILE), (1, 0.75 / 1.5), (19, 0.75 / 1.5)):
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
