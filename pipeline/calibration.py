"""Simulated activations, and their mapping from strength 0-10 to the neuron's own scale.

A calibration is fitted to the true and the predicted activations of all tokens, end to end, and is
then a plain function of predictions. The three here are those of Bills et al. 2023, "Language
models can explain neurons in language models", which the package `automated-interpretability` has
as classes: `UncalibratedNeuronSimulator`, `LinearCalibratedNeuronSimulator`,
`PercentileMatchingCalibratedNeuronSimulator`. Their figures are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.errors import InvalidRequest, SimulatorError
from pipeline.records import ActivationRecord
from pipeline.simulation import Distribution, FloatArray, Simulator

Calibration: TypeAlias = Callable[[FloatArray], FloatArray]
FitCalibration: TypeAlias = Callable[[FloatArray, FloatArray], Calibration]

_ROUNDING = 1e-24
"""A spread whose square is below this share of the values' squares is rounding error."""


class ActivationScale(StrEnum):
    """The unit of simulated activations: the neuron's own, or strength 0-10."""

    NEURON_ACTIVATIONS = "neuron_activations"
    SIMULATED_NORMALIZED_ACTIVATIONS = "simulated_normalized_activations"


@dataclass(frozen=True, slots=True, eq=False)
class SequenceSimulation:
    """The simulated activations of one text.

    Attributes
    ----------
    tokens : as the caller sent them.
    expected_activations : shape (len(tokens),), finite, in the unit that `activation_scale` names.
    distribution_values, distribution_probabilities : one array a token where the simulator gives
        a distribution, else empty.
    uncalibrated_simulation : what was simulated before the calibration.

    Raises
    ------
    SimulatorError : if there is not one finite activation for each token.
    """

    tokens: Sequence[str]
    expected_activations: FloatArray
    activation_scale: ActivationScale
    distribution_values: Sequence[FloatArray] = ()
    distribution_probabilities: Sequence[FloatArray] = ()
    uncalibrated_simulation: SequenceSimulation | None = None

    def __post_init__(self) -> None:
        shape = np.shape(self.expected_activations)
        if shape != (len(self.tokens),):
            raise SimulatorError(
                f"simulated activations of shape {shape} for {len(self.tokens)} tokens; "
                "a simulator must give one for each token"
            )
        if not np.isfinite(self.expected_activations).all():
            raise SimulatorError(
                "a simulated activation is NaN or infinite; a simulator must give None for a text "
                "that it could not do"
            )

    @classmethod
    def of_strengths(
        cls,
        tokens: Sequence[str],
        strengths: FloatArray,
        distribution: Distribution | None = None,
    ) -> SequenceSimulation:
        """Take strengths 0-10 as they are, with the distribution that they are the means of."""
        if distribution is not None and not distribution.fits(len(tokens)):
            raise SimulatorError(
                f"a distribution that is none over {len(tokens)} tokens; a simulator must give "
                "each token probabilities that add up to 1"
            )
        return cls(
            tuple(tokens),
            np.asarray(strengths, dtype=np.float64),
            ActivationScale.SIMULATED_NORMALIZED_ACTIVATIONS,
            (distribution.values,) * len(tokens) if distribution else (),
            tuple(distribution.probabilities) if distribution else (),
        )

    def to_dict(self) -> dict[str, Any]:
        """Its JSON, where activations below 0 (a calibration can give them) are 0."""
        inner = self.uncalibrated_simulation
        return {
            "tokens": list(self.tokens),
            "expected_activations": finite_list(np.maximum(self.expected_activations, 0.0)),
            "activation_scale": self.activation_scale.value,
            "distribution_values": [finite_list(row) for row in self.distribution_values],
            "distribution_probabilities": [
                finite_list(row) for row in self.distribution_probabilities
            ],
            "uncalibrated_simulation": None if inner is None else inner.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class CalibratedNeuronSimulator:
    """A simulator with the explanation to simulate and the calibration of what it answers."""

    simulator: Simulator
    explanation: str
    calibration: Calibration

    def simulate(self, texts: Sequence[Sequence[str]]) -> tuple[SequenceSimulation, ...]:
        """Simulate the tokens of each text, in the order given.

        The scale of the result is always the neuron's, as in the classic package: to leave a
        simulation uncalibrated is to take its numbers for the neuron's.

        Raises
        ------
        SimulatorError : if any text failed, naming the first ones and why, with what the call took.
        """
        answer = self.simulator.simulate(self.explanation, texts)
        values = [values for values in answer.values if values is not None]
        if len(values) != len(texts):
            failed = [index for index, values in enumerate(answer.values) if values is None]
            why = "; ".join(
                f"text {index}: {answer.failures.get(index, 'no reason given')}"
                for index in failed[:3]
            )
            raise SimulatorError(
                f"{len(values)} of {len(texts)} texts were simulated; classic scores need all of "
                f"them, so simulate again or leave out what fails ({why})",
                answer.usage,
            )
        return tuple(
            self._calibrated(
                SequenceSimulation.of_strengths(texts[at], strengths, answer.distributions.get(at))
            )
            for at, strengths in enumerate(values)
        )

    def _calibrated(self, uncalibrated: SequenceSimulation) -> SequenceSimulation:
        possible = uncalibrated.distribution_values
        return replace(
            uncalibrated,
            expected_activations=self.calibration(uncalibrated.expected_activations),
            activation_scale=ActivationScale.NEURON_ACTIVATIONS,
            distribution_values=tuple(map(self.calibration, possible)),
            uncalibrated_simulation=uncalibrated,
        )


def uncalibrated(predicted: FloatArray) -> FloatArray:
    """Pass predictions through."""
    return predicted


def linear_calibration(true: FloatArray, predicted: FloatArray) -> Calibration:
    """Fit ``true ≈ slope * predicted + intercept`` by least squares.

    Predictions that do not vary carry no slope: they are mapped to the mean true activation.

    Parameters
    ----------
    true : shape (n_tokens,), n_tokens ≥ 1, in the neuron's unit.
    predicted : shape (n_tokens,), strength 0-10.
    """
    mean, centre = true.mean(), predicted.mean()
    spread = predicted - centre
    power = spread @ spread
    varies = power > _ROUNDING * (predicted @ predicted)
    slope = spread @ (true - mean) / power if varies else 0.0
    return lambda values: mean + slope * (values - centre)


def percentile_matching_calibration(true: FloatArray, predicted: FloatArray) -> Calibration:
    """Map each percentile of the predictions to the same percentile of the true activations.

    Between percentiles the map is linear; beyond the predictions it was fitted to, it is flat.
    The parameters are those of `linear_calibration`.
    """
    from_values, to_values = np.sort(predicted), np.sort(true)
    return lambda values: np.interp(values, from_values, to_values)


def make_uncalibrated_explanation_simulator(
    explanation: str, simulator: Simulator
) -> CalibratedNeuronSimulator:
    """Bind an explanation to a simulator; what it answers is taken as it is."""
    return CalibratedNeuronSimulator(simulator, explanation, uncalibrated)


def make_explanation_simulator(
    explanation: str,
    calibration_activation_records: Sequence[ActivationRecord],
    simulator: Simulator,
    fit: FitCalibration = linear_calibration,
) -> CalibratedNeuronSimulator:
    """Bind an explanation to a simulator and calibrate it: it simulates these records for that.

    Raises
    ------
    InvalidRequest : if there is no record to calibrate on.
    SimulatorError : if any of the records could not be simulated.
    """
    if not calibration_activation_records:
        raise InvalidRequest(
            "no records to calibrate on; send some, or call "
            "make_uncalibrated_explanation_simulator",
            "calibration_activation_records",
        )
    bound = make_uncalibrated_explanation_simulator(explanation, simulator)
    simulations = bound.simulate([record.tokens for record in calibration_activation_records])
    true = np.concatenate([record.values for record in calibration_activation_records])
    predicted = np.concatenate([simulation.expected_activations for simulation in simulations])
    return replace(bound, calibration=fit(true, predicted))


def finite_list(values: npt.ArrayLike) -> list[float]:
    """Plain floats for JSON, which has no NaN (0 instead) and no infinity (the largest float)."""
    plain: list[float] = np.nan_to_num(np.asarray(values, dtype=np.float64)).tolist()
    return plain
