"""Estimate the full simulation's score from the records simulated so far.

The score is a correlation, so it follows from sums over records: of the simulated strengths, their
squares, and their products with the true activations. For records not simulated, these are taken
from the cheap prediction, corrected by how far it was off on the simulated ones
(prediction-powered inference with power tuning: Angelopoulos, Duchi and Zrnic 2023, "PPI++",
arXiv 2311.01453). The result is then weighed against the gate's own estimate by their variances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.records import Request
from pipeline.scoring import correlation_score
from pipeline.simulation import FloatArray
from stages.gate import Constants, Estimate, sampling_variance


def combine(
    request: Request,
    cheap: Sequence[FloatArray],
    simulated: Mapping[int, FloatArray],
    prior: Estimate,
    constants: Constants,
) -> float:
    """Estimate the correlation that simulating every record would give.

    Parameters
    ----------
    cheap : the cheap prediction of every record, strength 0-10.
    simulated : record → simulated strengths 0-10.
    prior : the gate's estimate.
    """
    records = request.records
    if len(simulated) == len(records):
        return correlation_score(
            request.true_values, np.concatenate([simulated[i] for i in range(len(records))])
        )
    if not simulated:
        return prior.score
    observed = corrected_correlation(request, cheap, simulated, constants)
    variance = sampling_variance(constants, prior, len(simulated), len(records))
    return float(np.clip(prior.updated(observed, variance).score, -1.0, 1.0))


def corrected_correlation(
    request: Request,
    cheap: Sequence[FloatArray],
    simulated: Mapping[int, FloatArray],
    constants: Constants,
) -> float:
    """Estimate the correlation from the simulated records and the corrected rest, no prior used."""
    done = sorted(simulated)
    rest = [i for i in range(len(request.records)) if i not in simulated]
    # A correlation has no unit: with the largest activation at 1, "almost none" has a meaning.
    largest = float(np.abs(request.true_values).max()) or 1.0
    true = [record.values / largest for record in request.records]
    guessed = _moments(cheap, true)
    found = _moments([simulated[i] for i in done], [true[i] for i in done])
    power = _power(guessed[done], found, constants)
    off = (found - power * guessed[done]).mean(axis=0)
    total, squares, products = (
        found.sum(axis=0) + power * guessed[rest].sum(axis=0) + len(rest) * off
    )
    values = np.concatenate(true)
    n = len(values)
    variance = squares / n - (total / n) ** 2
    spread = float(np.sqrt(max(variance, 0.0)) * values.std())
    if spread < 1e-9:
        return 0.0
    return float(np.clip((products / n - total / n * values.mean()) / spread, -1.0, 1.0))


def _moments(strengths: Sequence[FloatArray], true: Sequence[FloatArray]) -> FloatArray:
    """Shape (n_records, 3): sums of strength, of its square, and of its product with the truth."""
    return np.array(
        [[s.sum(), (s**2).sum(), (s * t).sum()] for s, t in zip(strengths, true, strict=True)]
    )


def _power(guessed: FloatArray, found: FloatArray, constants: Constants) -> FloatArray:
    """Shape (3,): how far to trust the cheap sums, 0-1, by their agreement so far.

    The regression slope of found on guessed sums, shrunk to the usual one while records are few.
    """
    spread = guessed - guessed.mean(axis=0)
    products = (spread * (found - found.mean(axis=0))).sum(axis=0)
    squares = (spread**2).sum(axis=0)
    slope = np.where(squares > 1e-12, products / np.maximum(squares, 1e-12), constants.power)
    weight = len(guessed) / (len(guessed) + constants.power_records)
    return np.asarray(np.clip(weight * slope + (1 - weight) * constants.power, 0.0, 1.0))
