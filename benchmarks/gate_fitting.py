"""Fitting the gate on what rungs make of features that they never saw."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from sklearn.kernel_approximation import Nystroem
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVR

from benchmarks.fitting import Sample
from pipeline.simulation import FloatArray
from stages.cheap import CheapPrediction
from stages.combine import corrected_correlation
from stages.gate import (
    LEAST_ERROR,
    NORMAL_QUANTILE,
    Constants,
    Estimate,
    Gate,
    KernelMachine,
    sampling_variance,
    standard_errors,
)

COVERAGE = 0.9


@dataclass(frozen=True)
class GateData:
    """What a gate is fitted on: samples judged by heads that never saw their features.

    Attributes
    ----------
    inputs : shape (n, len(EVIDENCE)).
    scores : shape (n,), the full simulation's.
    groups : shape (n,), fold of each sample's feature.
    weights : shape (n,), 1, or less for what teaches doubt more than what scores are usual: neurons
        that were invented, which fit an explanation perfectly or not at all.
    samples, predictions : of the recorded ones, which come first.
    """

    inputs: FloatArray
    scores: FloatArray
    groups: npt.NDArray[np.int64]
    weights: FloatArray
    samples: tuple[Sample, ...]
    predictions: tuple[CheapPrediction, ...]


def fit_gate(data: GateData, seed: int) -> Gate:
    """Fit correction, error, quantiles and means, each on predictions for folds unseen by it."""
    base, recorded = data.inputs[:, 0], slice(len(data.samples))
    correction, held_out = _search(data, data.scores - base, data.weights, len(base))
    estimates = np.clip(base + held_out, -1.0, 1.0)
    missed = np.abs(data.scores - estimates)
    # Little is known of a request unlike any sample: its error is taken to be a large one.
    far = float(np.quantile(missed[data.weights == 1.0], COVERAGE))
    # Assumed scores may teach, but recorded ones judge how sure the gate may be.
    error, held_out = _search(data, missed - far, np.ones(len(missed)), len(data.samples))
    errors = np.maximum(far + held_out, LEAST_ERROR)
    machines = {"correction": _machine(correction), "error": _machine(error, far)}
    # Recorded ones say little of neurons from elsewhere, so invented ones are asked, too.
    asked = (np.arange(len(base)) < len(data.samples)) | (data.weights < 1.0)
    ratios = (missed / errors)[asked]
    standard = standard_errors(errors, quantile(ratios))
    priors = [
        Estimate(float(score), float(error))
        for score, error in zip(estimates[recorded], standard[recorded], strict=True)
    ]
    constants = _constants(data, priors, ratios, seed)
    return Gate(**machines, constants=constants)


def quantile(ratios: FloatArray) -> float:
    """The conformal quantile: the ⌈(n+1)·0.9⌉-th smallest ratio."""
    rank = min(len(ratios), math.ceil((len(ratios) + 1) * COVERAGE))
    return float(np.sort(ratios)[rank - 1])


def _constants(
    data: GateData, priors: Sequence[Estimate], cheap_ratios: FloatArray, seed: int
) -> Constants:
    """Measure what one record tells, then how wrong combined estimates are."""
    rng = np.random.default_rng(seed)
    constants = Constants(
        sampling=0.0,
        sampling_share=0.0,
        power=0.5,
        power_records=4.0,
        cheap_quantile=quantile(cheap_ratios),
        partial_quantile=1.0,
        cheap_mean=float(cheap_ratios.mean()) * NORMAL_QUANTILE / quantile(cheap_ratios),
        partial_mean=1.0,
    )
    variances, draws = [], []
    for sample, prediction, prior in zip(data.samples, data.predictions, priors, strict=True):
        n = len(sample.simulated)
        order, score = rng.permutation(n), sample.llm_score
        for m in range(1, n):
            done = {int(i): sample.simulated[i] for i in order[:m]}
            found = corrected_correlation(
                sample.seen.request, prediction.strengths, done, constants
            )
            variances.append((found - score) ** 2 / (1.0 / m - 1.0 / n))
            draws.append((found, score, prior, m, n))
    squared_errors = np.array([prior.error**2 for _, _, prior, _, _ in draws])
    # Squares scatter in proportion to what they are expected to be.
    scale = 1.0 / (squared_errors + squared_errors.mean())
    inputs = np.stack([scale, scale * squared_errors], axis=1)
    (base, share), _ = nnls(inputs, scale * np.array(variances))
    constants = replace(constants, sampling=float(base), sampling_share=float(share))
    ratios = []
    # The gate is asked how wrong it is with few records, and is more wrong there.
    for found, score, prior, m, n in (draw for draw in draws if 2 * draw[3] <= draw[4]):
        combined = prior.updated(found, sampling_variance(constants, prior, m, n))
        ratios.append(abs(combined.score - score) / combined.error)
    return replace(
        constants,
        partial_quantile=quantile(np.array(ratios)),
        partial_mean=float(np.mean(ratios)),
    )


def _search(
    data: GateData, target: FloatArray, weights: FloatArray, judging: int
) -> tuple[Pipeline, FloatArray]:
    """The support vector regression whose parameters do best on held-out folds.

    It has no intercept: far from all samples a kernel machine answers just that, and a request
    unlike any of them is to keep its own score.

    Parameters
    ----------
    weights : shape (n,), of the samples in fitting.
    judging : how many of them, the first ones, judge the parameters.

    Returns
    -------
    The model, and shape (n,) what it says of each group when it is fitted on the others.
    """
    inputs, groups, weighed = data.inputs, data.groups, {"svr__sample_weight": weights}
    grid = {"svr__C": [0.3, 1.0], "kernel__gamma": [0.005, 0.01, 0.02]}
    steps = {
        "scale": StandardScaler(),
        "kernel": Nystroem(n_components=len(inputs), random_state=0),
        "svr": LinearSVR(epsilon=0.03, fit_intercept=False, max_iter=20_000, random_state=0),
    }
    model = Pipeline(list(steps.items()))
    folds = list(GroupKFold(len(np.unique(groups))).split(inputs, groups=groups))
    by_judging = [(train, test[test < judging]) for train, test in folds]
    search = GridSearchCV(model, grid, cv=by_judging, scoring="neg_mean_absolute_error")
    with _fewer_samples():
        search.fit(inputs, target, **weighed)
        best: Pipeline = search.best_estimator_
        held_out = cross_val_predict(best, inputs, target, cv=folds, params=weighed)
    return best, np.asarray(held_out)


@contextmanager
def _fewer_samples() -> Iterator[None]:
    """A kernel machine centred on all samples has fewer centres where a fold is held out."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_components > n_samples", category=UserWarning)
        yield


def _machine(model: Pipeline, far: float = 0.0) -> KernelMachine:
    """A fitted model, with what it is to add far from all samples."""
    kernel = model["kernel"]
    return KernelMachine(
        mean=model["scale"].mean_,
        scale=model["scale"].scale_,
        centres=kernel.components_,
        weights=kernel.normalization_.T @ model["svr"].coef_,
        gamma=float(kernel.gamma),
        intercept=far,
    )
