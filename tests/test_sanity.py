from __future__ import annotations

import numpy as np
import pytest

from benchmarks.dataset import load
from benchmarks.recorded import RecordedSimulator
from benchmarks.sanity import FREQUENCIES, Trial, exact_correlation, falls, trials
from pipeline.records import Request


@pytest.fixture(scope="module", params=FREQUENCIES)
def made(request: pytest.FixtureRequest) -> list[Trial]:
    return trials(request.param, 0)[:10]


def exact(request: Request) -> tuple[float]:
    return (exact_correlation(request),)


def test_narrower_names_fewer_words_and_broader_more(made: list[Trial]) -> None:
    for trial in made:
        assert trial.words["narrower"] < trial.words["true"] < trial.words["broader"]
        assert trial.words["narrower"]


def test_the_true_explanation_fits_the_records(made: list[Trial]) -> None:
    for trial in made:
        assert exact_correlation(trial.request("true", trial.top)) > 0.7
        assert len(trial.top) == 20


def test_missing_labels_show_in_the_exact_correlation(made: list[Trial]) -> None:
    found = [falls(trial, exact, trial.top)[0] for trial in made]
    assert np.mean(found) == 1.0


def test_the_exact_correlation_seldom_sees_extra_labels_of_rare_features() -> None:
    shares = [
        np.mean([falls(t, exact, t.top)[1] for t in trials(frequency, 0)])
        for frequency in FREQUENCIES
    ]
    assert shares[0] > 0.8 > 0.4 > shares[1] >= shares[2]


def test_the_recorded_llm_answers_for_its_texts_and_no_others() -> None:
    case = load()[0]
    texts = [case.top.records[3].tokens, ("never", "seen"), case.top.records[0].tokens]
    third, unknown, first = RecordedSimulator(case).simulate("x", texts).values
    assert third is case.simulated[3]
    assert first is case.simulated[0]
    assert unknown is None
