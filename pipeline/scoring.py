"""The classic scores of a simulation against a neuron's activations.

Names, formulas and figures are those of `neuron_explainer.explanations` (Bills et al. 2023,
"Language models can explain neurons in language models") in the package
`automated-interpretability` 0.0.24; `benchmarks/classic_parity.py` compares the two. What differs:

- Nothing is async: one call of a `Simulator` takes all texts, so there is nothing to gather.
- An undefined correlation is 0.0, as in OpenAI's later releases, where 0.0.24 gives NaN. So is
  that of constant input, of which rounding makes 1 there (``[0.1, 0.1, 0.1]`` with itself).
- `make_explanation_simulator` takes a `pipeline.simulation.Simulator` and a function that fits a
  calibration, where the classic one takes a model's name and a class.
- A text that the simulator could not do raises `SimulatorError`; it never counts as zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.calibration import (
    ActivationScale,
    CalibratedNeuronSimulator,
    Calibration,
    SequenceSimulation,
    finite_list,
    linear_calibration,
    make_explanation_simulator,
    make_uncalibrated_explanation_simulator,
    percentile_matching_calibration,
    uncalibrated,
)
from pipeline.errors import InvalidRequest
from pipeline.records import ActivationRecord
from pipeline.simulation import Distribution, FloatArray

__all__ = [
    "ActivationScale",
    "CalibratedNeuronSimulator",
    "ScoredSequenceSimulation",
    "ScoredSimulation",
    "SequenceSimulation",
    "absolute_dev_explained_score_from_sequences",
    "aggregate_scored_sequence_simulations",
    "correlation_score",
    "linear_calibration",
    "make_explanation_simulator",
    "make_simulator_and_score",
    "make_uncalibrated_explanation_simulator",
    "percentile_matching_calibration",
    "rsquared_score_from_sequences",
    "score_from_simulation",
    "score_records",
    "simulate_and_score",
    "uncalibrated",
]

_LEAST_SQUARABLE = 1e-100


@dataclass(frozen=True, slots=True, eq=False)
class ScoredSequenceSimulation:
    """One text's simulation, its true activations and its scores on this text alone.

    Attributes
    ----------
    true_activations : shape (len(simulation.tokens),), in the neuron's unit.
    ev_correlation_score : in [-1, 1], 0.0 where undefined.
    rsquared_score, absolute_dev_explained_score : at most 1; NaN or -inf where every true
        activation is 0.
    """

    simulation: SequenceSimulation
    true_activations: FloatArray
    ev_correlation_score: float
    rsquared_score: float | None = None
    absolute_dev_explained_score: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Its JSON, free of NaN and infinities: null where R² or the deviation is undefined."""
        return {
            "simulation": self.simulation.to_dict(),
            "true_activations": finite_list(self.true_activations),
            "ev_correlation_score": _finite(self.ev_correlation_score) or 0.0,
            "rsquared_score": _finite(self.rsquared_score),
            "absolute_dev_explained_score": _finite(self.absolute_dev_explained_score),
        }


@dataclass(frozen=True, slots=True, eq=False)
class ScoredSimulation:
    """The simulations of all texts, scored on all their tokens at once.

    The scores are as in `ScoredSequenceSimulation`, and None without texts.
    """

    scored_sequence_simulations: Sequence[ScoredSequenceSimulation]
    ev_correlation_score: float | None = None
    rsquared_score: float | None = None
    absolute_dev_explained_score: float | None = None

    def get_preferred_score(self) -> float | None:
        return self.ev_correlation_score


def correlation_score(
    real_activations: npt.ArrayLike, predicted_activations: npt.ArrayLike
) -> float:
    """Pearson correlation, in [-1, 1]; 0.0 where undefined.

    Parameters
    ----------
    real_activations, predicted_activations : shape (n_tokens,), any unit each.

    Raises
    ------
    InvalidRequest : if their lengths differ.

    Examples
    --------
    >>> round(correlation_score([0.0, 0.0, 3.5], [0.0, 2.0, 10.0]), 3)
    0.982
    """
    real, predicted = _pair(real_activations, predicted_activations)
    with np.errstate(all="ignore"):
        if real.size < 2 or np.ptp(real) == 0 or np.ptp(predicted) == 0:
            return 0.0
        real, predicted = (_squarable(of - of.mean()) for of in (real, predicted))
        score = real @ predicted / np.sqrt(real @ real) / np.sqrt(predicted @ predicted)
    return float(np.clip(score, -1.0, 1.0)) if np.isfinite(score) else 0.0


def _squarable(values: FloatArray) -> FloatArray:
    """The values, in a larger unit if their squares would vanish."""
    largest = float(np.abs(values).max())
    return values / largest if 0.0 < largest < _LEAST_SQUARABLE else values


def rsquared_score_from_sequences(
    real_activations: npt.ArrayLike, predicted_activations: npt.ArrayLike
) -> float:
    """``1 - Σ(real - predicted)² / Σ real²``: R² about 0, not about the mean.

    Both in one unit. At most 1; NaN or -inf where every real activation is 0.
    """
    return _share_explained(real_activations, predicted_activations, np.square)


def absolute_dev_explained_score_from_sequences(
    real_activations: npt.ArrayLike, predicted_activations: npt.ArrayLike
) -> float:
    """``1 - Σ|real - predicted| / Σ|real|``; units and range as for R²."""
    return _share_explained(real_activations, predicted_activations, np.abs)


def score_from_simulation(
    real_activations: ActivationRecord,
    simulation: SequenceSimulation,
    score_function: Callable[[FloatArray, FloatArray], float],
) -> float:
    """Apply one of the three scores to a record and its simulation."""
    return score_function(real_activations.values, simulation.expected_activations)


def aggregate_scored_sequence_simulations(
    scored_sequence_simulations: Sequence[ScoredSequenceSimulation],
) -> ScoredSimulation:
    """Score the tokens of all texts at once, which is not the mean of the texts' scores."""
    if not scored_sequence_simulations:
        return ScoredSimulation(())
    real = np.concatenate([s.true_activations for s in scored_sequence_simulations])
    predicted = np.concatenate(
        [s.simulation.expected_activations for s in scored_sequence_simulations]
    )
    return ScoredSimulation(
        scored_sequence_simulations,
        correlation_score(real, predicted),
        rsquared_score_from_sequences(real, predicted),
        absolute_dev_explained_score_from_sequences(real, predicted),
    )


def simulate_and_score(
    simulator: CalibratedNeuronSimulator, activation_records: Sequence[ActivationRecord]
) -> ScoredSimulation:
    """Simulate every record and score the simulations, each alone and all together.

    Raises
    ------
    SimulatorError : if any of the records could not be simulated.
    """
    simulations = simulator.simulate([record.tokens for record in activation_records])
    return aggregate_scored_sequence_simulations(
        [
            _score_sequence(record, simulation, uncalibrated)
            for record, simulation in zip(activation_records, simulations, strict=True)
        ]
    )


def make_simulator_and_score(
    make_simulator: Callable[[], CalibratedNeuronSimulator],
    activation_records: Sequence[ActivationRecord],
) -> ScoredSimulation:
    """`simulate_and_score` with the simulator that `make_simulator` makes."""
    return simulate_and_score(make_simulator(), activation_records)


def score_records(
    records: Sequence[ActivationRecord],
    strengths: Sequence[FloatArray],
    distributions: Mapping[int, Distribution] | None = None,
) -> tuple[ScoredSequenceSimulation, ...]:
    """Score each record of a request against the strengths predicted for it.

    R² and absolute deviation compare amounts, so for them the strengths are calibrated to the
    neuron's scale, linearly over all tokens of the request. The simulations keep strengths 0-10.

    Parameters
    ----------
    records : at least one.
    strengths : one array a record, shape (len(record.tokens),), 0-10.
    distributions : of the records whose strengths are the means of one.

    Raises
    ------
    SimulatorError : if a record has not one finite strength for each of its tokens.
    """
    known = distributions or {}
    simulations = [
        SequenceSimulation.of_strengths(record.tokens, values, known.get(index))
        for index, (record, values) in enumerate(zip(records, strengths, strict=True))
    ]
    calibration = linear_calibration(
        np.concatenate([record.values for record in records]),
        np.concatenate([simulation.expected_activations for simulation in simulations]),
    )
    return tuple(
        _score_sequence(record, simulation, calibration)
        for record, simulation in zip(records, simulations, strict=True)
    )


def _score_sequence(
    record: ActivationRecord, simulation: SequenceSimulation, calibration: Calibration
) -> ScoredSequenceSimulation:
    """Correlation needs no calibration: a linear one leaves it as it is."""
    predicted = calibration(simulation.expected_activations)
    return ScoredSequenceSimulation(
        simulation,
        record.values,
        score_from_simulation(record, simulation, correlation_score),
        rsquared_score_from_sequences(record.values, predicted),
        absolute_dev_explained_score_from_sequences(record.values, predicted),
    )


def _share_explained(
    real_activations: npt.ArrayLike,
    predicted_activations: npt.ArrayLike,
    size: Callable[[FloatArray], FloatArray],
) -> float:
    real, predicted = _pair(real_activations, predicted_activations)
    with np.errstate(all="ignore"):
        return float(1.0 - size(real - predicted).sum() / size(real).sum())


def _pair(
    real_activations: npt.ArrayLike, predicted_activations: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    real = np.asarray(real_activations, dtype=np.float64)
    predicted = np.asarray(predicted_activations, dtype=np.float64)
    if real.shape != predicted.shape or real.ndim != 1:
        raise InvalidRequest(
            f"real activations of shape {real.shape}, predicted ones of shape {predicted.shape}; "
            "send one prediction for each real activation"
        )
    return real, predicted


def _finite(score: float | None) -> float | None:
    return float(score) if score is not None and np.isfinite(score) else None
