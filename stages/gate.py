"""The gate: what the full simulation would score, how sure that is, and what to simulate.

The cheap score is corrected by what similar requests taught (kernel regression of the difference,
so that a request unlike any of them keeps its own score), and gets a 90 % interval by normalised
conformal prediction: half-width = quantile * predicted error. Its standard error, by which it is
weighed against simulated records, is that of a normal distribution with this interval. The
tolerance is held against the expected error: mean * standard error.

References
----------
Lei et al. 2018, "Distribution-free predictive inference for regression", section 5.2 (conformal
intervals scaled by a predicted error).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import ConfigurationError
from pipeline.simulation import FloatArray
from stages.blind import blind_share
from stages.cheap import CheapPrediction
from stages.gate_evidence import EVIDENCE, evidence

GATE_PATH = Path(__file__).parent / "data" / "gate.safetensors"


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated score of the full simulation with its standard error."""

    score: float
    error: float

    def updated(self, observed: float, variance: float) -> Estimate:
        """This estimate weighed against an observation by their variances."""
        weight = self.error**2 / (self.error**2 + variance)
        score = self.score + weight * (observed - self.score)
        return Estimate(score, (self.error**-2 + 1.0 / variance) ** -0.5)


@dataclass(frozen=True, slots=True)
class Constants:
    """What was measured besides the two kernel machines.

    Attributes
    ----------
    sampling, sampling_share : variance of the score from one simulated record: the first, and the
        second times the square of what the prior estimate may be wrong by. Where the cheap stage is
        sure, records differ less.
    power : weight of the cheap predictions before any agreement is measured.
    power_records : how many simulated records that prior weight counts for.
    cheap_quantile : conformal 90 % quantile of |error| / predicted error, no record simulated.
    partial_quantile : the same of |error| / standard error with some records simulated.
    cheap_mean, partial_mean : means of |error| / standard error, with none and with some.
    """

    sampling: float
    sampling_share: float
    power: float
    power_records: float
    cheap_quantile: float
    partial_quantile: float
    cheap_mean: float
    partial_mean: float


@dataclass(frozen=True, eq=False)
class KernelMachine:
    """A fitted kernel regression with a Gaussian kernel on standardised input.

    Attributes
    ----------
    centres : shape (n, n_inputs), standardised. weights : shape (n,).
    """

    mean: FloatArray
    scale: FloatArray
    centres: FloatArray
    weights: FloatArray
    gamma: float
    intercept: float

    def predict(self, inputs: FloatArray) -> FloatArray:
        """Shape (n_rows, n_inputs) → (n_rows,)."""
        standard = (inputs - self.mean) / self.scale
        distance = (
            (standard**2).sum(axis=1)[:, None]
            + (self.centres**2).sum(axis=1)
            - 2.0 * standard @ self.centres.T
        )
        return np.asarray(self.intercept + np.exp(-self.gamma * distance) @ self.weights)


@dataclass(frozen=True)
class Gate:
    """Estimates the full simulation's score from the cheap prediction, and plans its check."""

    correction: KernelMachine
    error: KernelMachine
    constants: Constants

    def estimate(self, prediction: CheapPrediction) -> Estimate:
        """What the full simulation would score, by the cheap prediction alone."""
        blind = np.array([blind_share(prediction.seen.request)])
        return self.estimates(evidence(prediction)[None], blind)[0]

    def estimates(self, inputs: FloatArray, blind: FloatArray | float = 0.0) -> list[Estimate]:
        """The same for rows of `evidence`.

        Parameters
        ----------
        blind : shape (n_rows,), shares of which the evidence says nothing: there the error is as
            large as far from all samples.
        """
        scores = np.clip(inputs[:, 0] + self.correction.predict(inputs), -1.0, 1.0)
        predicted = np.maximum(self.error.predict(inputs), LEAST_ERROR)
        predicted = predicted + blind * np.maximum(self.error.intercept - predicted, 0.0)
        errors = standard_errors(predicted, self.constants.cheap_quantile)
        return [Estimate(float(s), float(e)) for s, e in zip(scores, errors, strict=True)]

    def half_width(self, prior: Estimate, simulated: int, records: int) -> float:
        """Half-width of the 90 % interval once `simulated` of the records are simulated."""
        quantile = self.constants.partial_quantile if simulated else NORMAL_QUANTILE
        return quantile * self._standard_error(prior, simulated, records)

    def expected_error(self, prior: Estimate, simulated: int, records: int) -> float:
        """Mean absolute error of the score once `simulated` of the records are simulated."""
        mean = self.constants.partial_mean if simulated else self.constants.cheap_mean
        return mean * self._standard_error(prior, simulated, records)

    def _standard_error(self, prior: Estimate, simulated: int, records: int) -> float:
        if simulated == records:
            return 0.0
        if simulated == 0:
            return prior.error
        variance = sampling_variance(self.constants, prior, simulated, records)
        return prior.updated(prior.score, variance).error

    def needed(self, prior: Estimate, simulated: int, records: int, tolerance: float) -> int:
        """How many records must be simulated in all for an expected error within `tolerance`."""
        return next(
            count
            for count in range(simulated, records + 1)
            if self.expected_error(prior, count, records) <= tolerance
        )

    def interval(
        self, prior: Estimate, score: float, simulated: int, records: int
    ) -> tuple[float, float]:
        """The 90 % interval of the full simulation's score around an estimate of it."""
        half = self.half_width(prior, simulated, records)
        return max(score - half, -1.0), min(score + half, 1.0)

    def save(self, path: Path) -> None:
        from safetensors.numpy import save_file

        about = {"constants": asdict(self.constants), "evidence": EVIDENCE}
        arrays: dict[str, FloatArray] = {}
        for name in ("correction", "error"):
            machine = getattr(self, name)
            arrays |= {f"{name}.{key}": np.asarray(v) for key, v in vars(machine).items()}
        save_file(arrays, path, metadata={"gate": json.dumps(about)})

    @classmethod
    def load(cls, path: Path) -> Gate:
        """Load a saved gate.

        Raises
        ------
        ConfigurationError : if the file is missing, is not a gate, or knows other evidence.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="np") as file:
                about = json.loads(file.metadata()["gate"])
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            machines = {
                name: KernelMachine(
                    **{k.split(".")[1]: v for k, v in arrays.items() if k.startswith(f"{name}.")}
                )
                for name in ("correction", "error")
            }
            known = tuple(about["evidence"])
            gate = cls(**machines, constants=Constants(**about["constants"]))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"{path.name}: not a usable gate ({error}); `make train` rebuilds it"
            ) from error
        if known != EVIDENCE:
            raise ConfigurationError(f"{path.name}: of another version; `make train` rebuilds it")
        return gate


LEAST_ERROR = 0.02  # predicted
NORMAL_QUANTILE = 1.645
"""How many standard errors to both sides hold 90 % of a normal distribution."""


def standard_errors(predicted: FloatArray, quantile: float) -> FloatArray:
    """Of predicted errors, by the quantile that makes 90 % intervals of them."""
    return predicted * quantile / NORMAL_QUANTILE


def sampling_variance(constants: Constants, prior: Estimate, simulated: int, records: int) -> float:
    """Variance of the score from some records, drawn without replacement."""
    of_one = constants.sampling + constants.sampling_share * prior.error**2
    return max(of_one * (1.0 / simulated - 1.0 / records), 1e-9)
