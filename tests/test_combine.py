from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.records import ActivationRecord, Request
from pipeline.scoring import correlation_score
from pipeline.simulation import FloatArray
from stages.combine import combine, corrected_correlation
from stages.gate import Constants, Estimate

CONSTANTS = Constants(
    sampling=0.04,
    sampling_share=0.0,
    power=0.5,
    power_records=4.0,
    cheap_quantile=2.0,
    partial_quantile=1.5,
    cheap_mean=1.0,
    partial_mean=0.75,
)
TRUSTING = replace(CONSTANTS, power=1.0)
UNSURE = Estimate(0.0, 1e6)
RECORDS = 20


def asked(values: Sequence[FloatArray]) -> Request:
    records = (ActivationRecord((" a",) * len(v), v) for v in values)
    return Request("foxes", tuple(records))


def neuron(seed: int, records: int = RECORDS) -> tuple[Request, list[FloatArray], list[FloatArray]]:
    """True activations, a full simulation of them and cheap predictions that half agree with it."""
    rng = np.random.default_rng(seed)
    true = [np.maximum(rng.normal(size=12), 0) ** 2 for _ in range(records)]
    noise, doubt = (rng.normal(size=(records, 12)) for _ in range(2))
    full = [np.clip(3 * t + n, 0, 10) for t, n in zip(true, noise, strict=True)]
    cheap = [np.clip(s + 2 * d, 0, 10) for s, d in zip(full, doubt, strict=True)]
    return asked(true), full, cheap


def score_of(request: Request, full: Sequence[FloatArray]) -> float:
    return correlation_score(request.true_values, np.concatenate(full))


def test_with_everything_simulated_the_score_is_the_correlation_whatever_was_thought() -> None:
    request, full, cheap = neuron(0)
    in_any_order = {i: full[i] for i in reversed(range(RECORDS))}
    found = combine(request, cheap, in_any_order, Estimate(-1.0, 0.001), CONSTANTS)
    assert found == score_of(request, full)


def test_with_nothing_simulated_the_score_is_the_prior() -> None:
    request, _, cheap = neuron(0)
    assert combine(request, cheap, {}, Estimate(0.123, 0.2), CONSTANTS) == 0.123


def test_more_records_bring_the_estimate_closer() -> None:
    far = dict.fromkeys((2, 6, 12, 18), 0.0)
    for seed in range(60):
        request, full, cheap = neuron(seed)
        for count in far:
            done = {i: full[i] for i in range(count)}
            found = corrected_correlation(request, cheap, done, CONSTANTS)
            far[count] += abs(found - score_of(request, full)) / 60
    assert list(far.values()) == sorted(far.values(), reverse=True)
    assert far[18] < far[2] / 2


def test_cheap_predictions_that_agree_bring_it_closer_than_ones_that_do_not() -> None:
    helped = alone = 0.0
    for seed in range(60):
        request, full, cheap = neuron(seed)
        done = {i: full[i] for i in range(4)}
        silent = [np.zeros(12)] * RECORDS
        goal = score_of(request, full)
        helped += abs(corrected_correlation(request, cheap, done, CONSTANTS) - goal)
        alone += abs(corrected_correlation(request, silent, done, CONSTANTS) - goal)
    assert helped < 0.9 * alone


@pytest.mark.parametrize("count", [1, 2, 7])
def test_perfect_cheap_predictions_give_the_full_score_early(count: int) -> None:
    request, full, _ = neuron(3)
    done = {i: full[i] for i in range(count)}
    exact = score_of(request, full)
    assert corrected_correlation(request, full, done, TRUSTING) == pytest.approx(exact, abs=1e-9)
    assert combine(request, full, done, UNSURE, TRUSTING) == pytest.approx(exact, abs=1e-6)


def test_trust_in_the_cheap_predictions_follows_their_measured_agreement() -> None:
    request, full, _ = neuron(3)
    done = {i: full[i] for i in range(5)}
    exact = score_of(request, full)
    off = [
        abs(corrected_correlation(request, full, done, replace(CONSTANTS, power_records=n)) - exact)
        for n in (0.0, 5.0, 1e9)
    ]
    assert off[0] == pytest.approx(0, abs=1e-9)
    assert off[0] < off[1] < off[2]


def test_the_prior_weighs_by_how_sure_it_is() -> None:
    request, full, cheap = neuron(1)
    done = {i: full[i] for i in range(5)}
    observed = corrected_correlation(request, cheap, done, CONSTANTS)
    errors = (0.001, 0.05, 0.2, 1e6)
    found = [combine(request, cheap, done, Estimate(-0.5, e), CONSTANTS) for e in errors]
    assert found == sorted(found)
    assert found[0] == pytest.approx(-0.5, abs=0.01)
    assert found[-1] == pytest.approx(observed)
    variance = 0.04 * (1 / 5 - 1 / 20)
    weight = 0.05**2 / (0.05**2 + variance)
    assert found[1] == pytest.approx(-0.5 + weight * (observed + 0.5))


@pytest.mark.parametrize("unit", [1e-90, 1e-12, 1e-3, 1e6, 1e90])
def test_the_unit_of_the_activations_does_not_matter(unit: float) -> None:
    request, full, cheap = neuron(2)
    done = {i: full[i] for i in range(5)}
    scaled = asked([record.values * unit for record in request.records])
    found = corrected_correlation(scaled, cheap, done, CONSTANTS)
    assert found == pytest.approx(corrected_correlation(request, cheap, done, CONSTANTS))


strengths = st.sampled_from([0.0, 0.0, 1e-6, 5.0, 10.0])
values = st.sampled_from([0.0, 0.0, -1.0, 3.0, 1e100, -1e100, 1e-100])


@given(st.integers(1, 5), st.data())
def test_any_records_give_a_correlation(records: int, data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=records, max_size=records))

    def draw(kind: st.SearchStrategy[float]) -> list[FloatArray]:
        return [np.array(data.draw(st.lists(kind, min_size=n, max_size=n))) for n in sizes]

    done = data.draw(st.sets(st.integers(0, records - 1)))
    full = draw(strengths)
    found = combine(
        asked(draw(values)),
        draw(strengths),
        {i: full[i] for i in done},
        Estimate(data.draw(st.floats(-1, 1)), 0.1),
        CONSTANTS,
    )
    assert -1 <= found <= 1
