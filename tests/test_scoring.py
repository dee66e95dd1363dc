from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import scoring
from pipeline.errors import InvalidRequest, SimulatorError
from pipeline.records import ActivationRecord
from pipeline.scoring import (
    ActivationScale,
    ScoredSequenceSimulation,
    SequenceSimulation,
    correlation_score,
    linear_calibration,
    make_explanation_simulator,
    make_simulator_and_score,
    make_uncalibrated_explanation_simulator,
    percentile_matching_calibration,
    score_records,
    simulate_and_score,
    uncalibrated,
)
from pipeline.simulation import Distribution, FloatArray, Simulation, Usage

CLASSIC = json.loads((Path(__file__).parent / "data" / "classic_parity.json").read_text())
SCORES = {
    "ev_correlation_score": "correlation_score",
    "rsquared_score": "rsquared_score_from_sequences",
    "absolute_dev_explained_score": "absolute_dev_explained_score_from_sequences",
}
FITS = {
    "none": lambda _true, _predicted: uncalibrated,
    "linear": linear_calibration,
    "percentile": percentile_matching_calibration,
}
SIMULATED = [case for case in CLASSIC["figures"] if case not in CLASSIC["pairs"]]


class FakeSimulator:
    """Answers with the strengths that it was given, text by text."""

    def __init__(
        self,
        *values: Sequence[float] | FloatArray | None,
        failures: Mapping[int, str] | None = None,
    ) -> None:
        self.values = {f"{index}/0": value for index, value in enumerate(values)}
        self.failures = failures or {}
        self.asked: list[str] = []

    def simulate(self, explanation: str, texts: Sequence[Sequence[str]]) -> Simulation:
        self.asked.append(explanation)
        values = (self.values[tokens[0]] for tokens in texts)
        return Simulation(
            tuple(None if v is None else np.array(v) for v in values),
            Usage(prompt_tokens=7, calls=1),
            self.failures,
        )


def records(*values: Sequence[float] | FloatArray, first: int = 0) -> list[ActivationRecord]:
    """Records whose first token tells the fake simulator which text it is."""
    return [
        ActivationRecord(tuple(f"{index}/{i}" for i in range(len(v))), np.array(v, dtype=float))
        for index, v in enumerate(values, start=first)
    ]


def floats(numbers: Sequence[float | str]) -> FloatArray:
    return np.array([float(number) for number in numbers])


def as_here(kind: str, classic: Sequence[float | str]) -> FloatArray:
    """The classic figures, with 0 where the package leaves a correlation undefined."""
    figures = floats(classic)
    return np.nan_to_num(figures, nan=0.0) if kind == "ev_correlation_score" else figures


def strict_json(value: object) -> str:
    return json.dumps(value, allow_nan=False)


@pytest.mark.parametrize("name", SIMULATED)
def test_simulated_scores_equal_those_of_the_classic_package(name: str) -> None:
    case, _, fit = name.rpartition(", ")
    calibration, _, fitted_on = fit.partition(" on ")
    texts = CLASSIC["texts"][case]
    fit_texts = CLASSIC["texts"].get(fitted_on, texts)
    simulator = FakeSimulator(*[floats(text["predicted"]) for text in [*texts, *fit_texts]])

    scored = make_simulator_and_score(
        lambda: make_explanation_simulator(
            "",
            records(*[floats(text["true"]) for text in fit_texts], first=len(texts)),
            simulator,
            FITS[calibration],
        ),
        records(*[floats(text["true"]) for text in texts]),
    )

    parts = scored.scored_sequence_simulations
    expected = CLASSIC["figures"][name]
    for kind in SCORES:
        figures = [getattr(scored, kind), *(getattr(part, kind) for part in parts)]
        np.testing.assert_allclose(figures, as_here(kind, expected[kind]), 1e-9, 1e-9)
    activations = np.concatenate([part.simulation.expected_activations for part in parts])
    np.testing.assert_allclose(activations, floats(expected["expected_activations"]), 1e-9, 1e-9)


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize("name", CLASSIC["pairs"])
def test_score_functions_equal_those_of_the_classic_package(name: str, kind: str) -> None:
    pair = CLASSIC["pairs"][name]
    score = getattr(scoring, SCORES[kind])(floats(pair["true"]), floats(pair["predicted"]))
    np.testing.assert_allclose(score, as_here(kind, CLASSIC["figures"][name][kind])[0], 1e-9, 1e-9)


def test_parity_data_covers_undefined_and_defined_figures() -> None:
    correlations = np.concatenate(
        [floats(figures["ev_correlation_score"]) for figures in CLASSIC["figures"].values()]
    )
    assert np.isnan(correlations).any()
    assert (correlations > 0.3).any()
    assert (correlations < 0).any()


@pytest.mark.parametrize(
    ("real", "predicted"),
    [
        ([0.0, 0.0, 0.0], [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0], [7.0, 7.0, 7.0]),
        ([2.0], [3.0]),
        ([float("nan")], [3.0]),
        ([float("inf"), float("inf")], [3.0, 4.0]),
        ([], []),
    ],
)
def test_an_undefined_correlation_is_zero(real: list[float], predicted: list[float]) -> None:
    assert correlation_score(real, predicted) == 0.0


@pytest.mark.parametrize("other", [[0.1, 0.1, 0.1], [0.1, 0.2, 0.6]])
def test_constant_input_does_not_correlate_through_rounding(other: list[float]) -> None:
    assert np.corrcoef([0.1] * 3, other)[0, 1] != 0.0
    assert correlation_score([0.1] * 3, other) == 0.0
    assert correlation_score(other, [0.1] * 3) == 0.0


@pytest.mark.parametrize("unit", [1e-200, 1e-300, 1e99])
def test_a_correlation_has_no_unit(unit: float) -> None:
    real, predicted = np.array([0.0, 3.0, 1.0, 0.0]), np.array([1.0, 9.0, 0.0, 2.0])
    expected = correlation_score(real, predicted)
    assert correlation_score(unit * real, predicted) == pytest.approx(expected)
    assert correlation_score(real, unit * predicted) == pytest.approx(expected)


@pytest.mark.parametrize("function", SCORES.values())
@pytest.mark.parametrize("predicted", [[1.0], [1.0, 2.0], []])
def test_different_lengths_are_refused_rather_than_broadcast(
    function: str, predicted: list[float]
) -> None:
    with pytest.raises(InvalidRequest, match=r"\(3,\).*one prediction for each"):
        getattr(scoring, function)([1.0, 2.0, 3.0], predicted)


def test_texts_are_aggregated_over_all_tokens_and_not_averaged() -> None:
    scored = simulate_and_score(
        make_uncalibrated_explanation_simulator("x", FakeSimulator([0, 10], [10, 0])),
        records([0.0, 1.0], [9.0, 8.0]),
    )
    assert [part.ev_correlation_score for part in scored.scored_sequence_simulations] == (
        pytest.approx([1, 1])
    )
    assert scored.get_preferred_score() == pytest.approx(
        np.corrcoef([0, 1, 9, 8], [0, 10, 10, 0])[0, 1]
    )


def test_no_texts_aggregate_to_no_scores() -> None:
    assert scoring.aggregate_scored_sequence_simulations([]).get_preferred_score() is None


def test_the_explanation_reaches_the_simulator() -> None:
    simulator = FakeSimulator([1.0, 2.0])
    simulate_and_score(
        make_uncalibrated_explanation_simulator("more", simulator), records([1.0, 2.0])
    )
    assert simulator.asked == ["more"]


def test_a_failed_text_raises_with_its_reason_instead_of_counting_as_zeros() -> None:
    simulator = FakeSimulator([1.0, 2.0], None, failures={1: "refused"})
    bound = make_uncalibrated_explanation_simulator("x", simulator)
    with pytest.raises(SimulatorError, match=r"1 of 2 texts.*text 1: refused") as caught:
        simulate_and_score(bound, records([1.0, 2.0], [3.0, 4.0]))
    assert caught.value.usage.prompt_tokens == 7


def test_a_text_that_the_simulator_forgot_raises() -> None:
    class Forgetful(FakeSimulator):
        def simulate(self, explanation: str, texts: Sequence[Sequence[str]]) -> Simulation:
            return super().simulate(explanation, texts[:-1])

    bound = make_uncalibrated_explanation_simulator("x", Forgetful([1.0], [2.0]))
    with pytest.raises(SimulatorError, match="1 of 2 texts"):
        bound.simulate([["0/0"], ["1/0"]])


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0, 3.0], [1.0, float("nan")]])
def test_a_simulation_without_one_finite_activation_a_token_is_refused(values: list[float]) -> None:
    bound = make_uncalibrated_explanation_simulator("x", FakeSimulator(values))
    with pytest.raises(SimulatorError):
        bound.simulate([["0/0", "0/1"]])


def test_a_calibrated_simulation_keeps_the_uncalibrated_one() -> None:
    fitted_on = records([0.0, 4.0])
    bound = make_explanation_simulator("x", fitted_on, FakeSimulator([0.0, 10.0]))
    (simulation,) = bound.simulate([fitted_on[0].tokens])
    np.testing.assert_allclose(simulation.expected_activations, [0.0, 4.0], atol=1e-12)
    assert simulation.activation_scale == "neuron_activations"
    assert simulation.uncalibrated_simulation is not None
    assert simulation.uncalibrated_simulation.expected_activations.tolist() == [0.0, 10.0]
    assert simulation.uncalibrated_simulation.activation_scale == "simulated_normalized_activations"


def test_calibrating_on_no_records_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no records to calibrate on"):
        make_explanation_simulator("x", [], FakeSimulator())


@pytest.mark.parametrize("level", [0.0, 0.1, 7.0])
def test_linear_calibration_maps_constant_predictions_to_the_mean(level: float) -> None:
    calibrate = linear_calibration(np.array([0.1, 0.2, 0.6]), np.full(3, level))
    np.testing.assert_allclose(calibrate(np.array([level, level + 1])), [0.3, 0.3])


def test_percentile_matching_is_flat_beyond_what_it_was_fitted_on() -> None:
    calibrate = percentile_matching_calibration(np.array([6.0, 0.0]), np.array([2.0, 4.0]))
    assert calibrate(np.array([0.0, 2.0, 3.0, 4.0, 9.0])).tolist() == [0, 0, 3, 6, 6]


def test_records_are_scored_on_the_neurons_scale_but_keep_strengths() -> None:
    true = np.array([0.0, 0.05, 0.1])
    (scored,) = score_records(records(true), [true * 100])
    assert scored.simulation.expected_activations.tolist() == [0.0, 5.0, 10.0]
    assert scored.simulation.activation_scale is ActivationScale.SIMULATED_NORMALIZED_ACTIVATIONS
    assert scored.ev_correlation_score == pytest.approx(1.0)
    assert scored.rsquared_score == pytest.approx(1.0)
    assert scored.absolute_dev_explained_score == pytest.approx(1.0)


def test_records_are_calibrated_on_all_tokens_of_the_request() -> None:
    scored = score_records(records([0.0, 1.0], [0.0, 3.0]), [np.array([0.0, 5.0])] * 2)
    # One line for both maps 5 to 2: it errs by 1 on either record.
    assert [part.rsquared_score for part in scored] == pytest.approx([0.0, 1 - 1 / 9])


@pytest.mark.parametrize(
    "strengths", [[np.array([1.0])], [np.array([1.0, float("nan")])], [np.ones((1, 2))]]
)
def test_strengths_that_do_not_fit_the_record_are_refused(strengths: list[FloatArray]) -> None:
    with pytest.raises(SimulatorError):
        score_records(records([1.0, 2.0]), strengths)


def test_strengths_for_fewer_records_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        score_records(records([1.0], [2.0]), [np.array([1.0])])


def test_the_json_of_a_record_has_the_shape_that_readers_expect() -> None:
    (scored,) = score_records(records([0.0, 3.5]), [np.array([0, 10])])
    assert json.loads(strict_json(scored.to_dict())) == {
        "simulation": {
            "tokens": ["0/0", "0/1"],
            "expected_activations": [0.0, 10.0],
            "activation_scale": "simulated_normalized_activations",
            "distribution_values": [],
            "distribution_probabilities": [],
            "uncalibrated_simulation": None,
        },
        "true_activations": [0.0, 3.5],
        "ev_correlation_score": pytest.approx(1.0),
        "rsquared_score": pytest.approx(1.0),
        "absolute_dev_explained_score": pytest.approx(1.0),
    }


def test_the_json_of_a_silent_record_has_zero_correlation_and_null_for_what_is_undefined() -> None:
    silent, other = score_records(
        records([0.0, 0.0], [1.0, 2.0]), [np.array([0.0, 4.0]), np.array([0.0, 1.0])]
    )
    answer = json.loads(strict_json(silent.to_dict()))
    assert answer["ev_correlation_score"] == 0.0
    assert isinstance(answer["ev_correlation_score"], float)
    assert answer["rsquared_score"] is None
    assert answer["absolute_dev_explained_score"] is None
    assert other.to_dict()["rsquared_score"] is not None


def test_json_is_finite_and_expected_activations_are_not_negative_whatever_the_values() -> None:
    nan, inf = float("nan"), float("inf")
    inner = SequenceSimulation(["a", "b"], np.array([1.0, 2.0]), ActivationScale.NEURON_ACTIVATIONS)
    scored = ScoredSequenceSimulation(
        SequenceSimulation(
            ["a", "b"],
            np.array([-1.0, 2.0]),
            ActivationScale.NEURON_ACTIVATIONS,
            [np.array([nan, 1.0])],
            [np.array([inf])],
            inner,
        ),
        np.array([nan, -inf]),
        nan,
        -inf,
        nan,
    )
    answer: dict[str, Any] = json.loads(strict_json(scored.to_dict()))
    assert answer["simulation"]["expected_activations"] == [0.0, 2.0]
    assert answer["simulation"]["uncalibrated_simulation"] == inner.to_dict()
    assert answer["ev_correlation_score"] == 0.0
    assert answer["rsquared_score"] is answer["absolute_dev_explained_score"] is None


def test_importing_the_scores_loads_no_heavy_package() -> None:
    code = "import sys, pipeline.scoring; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "pipeline.scoring" in loaded
    assert not {"torch", "sklearn", "openai", "sentence_transformers"} & set(loaded)


def test_distributions_reach_the_wire() -> None:
    sure = Distribution(np.array([0.0, 10.0]), np.array([[1.0, 0.0], [0.5, 0.5]]))
    strengths = [sure.expected, sure.expected]
    first, second = score_records(records([0, 3], [1, 0]), strengths, {0: sure})
    wire = json.loads(strict_json(first.simulation.to_dict()))
    assert wire["distribution_values"] == [[0, 10], [0, 10]]
    assert wire["distribution_probabilities"] == [[1, 0], [0.5, 0.5]]
    assert second.simulation.to_dict()["distribution_values"] == []


def test_a_distribution_over_other_tokens_raises() -> None:
    short = Distribution(np.array([0.0, 10.0]), np.array([[1.0, 0.0]]))
    with pytest.raises(SimulatorError, match="over 2 tokens"):
        score_records(records([0, 3]), [floats([0, 5])], {0: short})
