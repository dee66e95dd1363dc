"""Fitting a gate, on three features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from models import predictor
from taught import three_features

from benchmarks.fitting import whole_sample
from benchmarks.gate_fitting import GateData, fit_gate, quantile
from stages.gate import NORMAL_QUANTILE, Estimate, Gate, sampling_variance
from stages.gate_evidence import EVIDENCE, evidence


@pytest.fixture(scope="module")
def data() -> GateData:
    samples = [whole_sample(case, predictor().observer) for case in three_features()]
    predictions = tuple(predictor().judge(sample.seen) for sample in samples)
    return GateData(
        inputs=np.array([evidence(prediction) for prediction in predictions]),
        scores=np.array([sample.llm_score for sample in samples]),
        groups=np.array([sample.case.fold for sample in samples]),
        weights=np.ones(len(samples)),
        samples=tuple(samples),
        predictions=predictions,
    )


@pytest.fixture(scope="module")
def fitted(data: GateData) -> Gate:
    return fit_gate(data, 7)


def test_a_gate_is_fitted_from_few_samples(data: GateData, fitted: Gate) -> None:
    assert data.inputs.shape == (12, len(EVIDENCE))
    assert 0.0 < sampling_variance(fitted.constants, Estimate(0.5, 0.2), 1, 20) < 1.0
    covered = [
        abs(prior.score - score) <= fitted.half_width(prior, 0, 20)
        for prior, score in zip(fitted.estimates(data.inputs), data.scores, strict=True)
    ]
    assert np.mean(covered) >= 0.7
    constants = fitted.constants
    assert 0.0 < constants.cheap_mean < NORMAL_QUANTILE
    assert 0.0 < constants.partial_mean < constants.partial_quantile


def test_a_request_unlike_any_keeps_its_own_score_and_is_expected_to_be_far_off(
    data: GateData, fitted: Gate
) -> None:
    strange = data.inputs.mean(axis=0) + 1e3 * data.inputs.std(axis=0)
    strange[0] = 0.4
    (estimate,) = fitted.estimates(strange[None])
    assert estimate.score == pytest.approx(0.4)
    usual = [of.error for of in fitted.estimates(data.inputs)]
    assert estimate.error > np.median(usual)


def test_what_weighs_little_teaches_doubt_more_than_what_is_usual(
    data: GateData, fitted: Gate
) -> None:
    def beside_strange_ones(weight: float) -> Gate:
        strange = replace(
            data,
            inputs=np.tile(data.inputs, (2, 1)),
            scores=np.append(data.scores, -np.ones(len(data.scores))),
            groups=np.tile(data.groups, 2),
            weights=np.repeat([1.0, weight], len(data.scores)),
        )
        return fit_gate(strange, 7)

    (score, error), (light, doubt), (full, _) = (
        np.mean([(e.score, e.error) for e in gate.estimates(data.inputs)], axis=0)
        for gate in (fitted, beside_strange_ones(0.1), beside_strange_ones(1.0))
    )
    assert score - light < 0.3 * (score - full)
    assert doubt > 1.5 * error


def test_the_conformal_quantile_counts_the_case_to_come() -> None:
    assert quantile(np.arange(1.0, 11.0)) == 10.0  # ⌈11 · 0.9⌉ = 10th of 10
    assert quantile(np.arange(1.0, 101.0)) == 91.0  # ⌈101 · 0.9⌉ = 91st of 100


def test_the_interval_is_to_hold_on_strange_ones_too(data: GateData) -> None:
    n = len(data.scores)
    strange = replace(
        data,
        inputs=np.tile(data.inputs, (3, 1)),
        scores=np.concatenate([data.scores, data.scores, -np.ones(n)]),
        groups=np.tile(data.groups, 3),
        weights=np.repeat([1.0, 0.1, 0.1], n),
    )
    gate = fit_gate(strange, 7)
    covered = [
        abs(prior.score - score) <= gate.half_width(prior, 0, 20)
        for prior, score in zip(gate.estimates(strange.inputs), strange.scores, strict=True)
    ]
    assert np.mean(covered) >= 0.85
