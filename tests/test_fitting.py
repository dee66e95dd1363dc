"""The training code, on three features: it has to run, repeat itself and keep folds apart."""

from __future__ import annotations

import numpy as np
import pytest
from models import minilm, predictor
from taught import three_features

from benchmarks.dataset import Case, load
from benchmarks.fitting import (
    Rows,
    Sample,
    examples,
    fit_head,
    foreign_sample,
    part_sample,
    rows,
    whole_sample,
)
from benchmarks.reading import fit_reader
from stages.cheap import SILENT
from stages.head import Head
from stages.readings import hints_of
from stages.words import Words


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return three_features()


@pytest.fixture(scope="module")
def samples(cases: list[Case]) -> list[Sample]:
    return [whole_sample(case, predictor().observer) for case in cases]


@pytest.fixture(scope="module")
def training(samples: list[Sample]) -> list[Rows]:
    return [rows(sample, predictor().observer) for sample in samples]


@pytest.fixture(scope="module")
def head(training: list[Rows]) -> Head:
    return fit_head(training, 7)


def test_folds_keep_the_explanations_of_a_feature_together() -> None:
    folds: dict[str, set[int]] = {}
    for case in load():
        folds.setdefault(case.feature, set()).add(case.fold)
    assert len(folds) == 100
    assert all(len(of_feature) == 1 for of_feature in folds.values())


def test_recorded_strengths_reach_the_training_rows(training: list[Rows]) -> None:
    for part in training:
        assert {len(column) for column in part.columns.values()} == {len(part.target)}
        recorded = sum(int(np.count_nonzero(values)) for values in part.case.simulated)
        # Two marks on one word are one row, and a mark on white space is none.
        assert 0.9 * recorded <= np.count_nonzero(part.target) <= recorded
        assert part.target.max() <= 1.0


def test_the_same_seed_grows_the_same_head(training: list[Rows], head: Head) -> None:
    np.testing.assert_array_equal(fit_head(training, 7).value, head.value)
    agreement = [np.corrcoef(head.predict(part.columns), part.target) for part in training]
    assert np.mean([pair[0, 1] for pair in agreement]) > 0.5


def test_a_reader_learns_what_it_is_taught(training: list[Rows], head: Head) -> None:
    of_a_feature = training[:2]
    taught = [example for part in of_a_feature for example in examples(part, head)]
    first, second = (fit_reader(taught, minilm(), 7) for _ in range(2))
    found = []
    for part in of_a_feature:
        words = Words(part.texts)
        hints = hints_of(part.columns, np.clip(head.predict(part.columns), 0.0, 1.0))
        given = part.explanation, words, hints, np.full(len(words), True)
        read = first.read(*given)
        np.testing.assert_allclose(read, second.read(*given), atol=0.02)
        found.append(np.corrcoef(read, part.target)[0, 1])
    assert np.mean(found) > 0.5


def test_examples_hold_every_word_on_which_the_head_is_not_silent(
    training: list[Rows], head: Head
) -> None:
    for part in training:
        found = examples(part, head)
        heard = head.predict(part.columns) > SILENT
        assert 0.02 < heard.mean() < 0.9
        target = np.concatenate([example.target for example in found])
        np.testing.assert_array_equal(target, part.target[heard])
        for example in found:
            assert len(example.reading.asked) == len(example.target) > 0


def test_a_smaller_request_keeps_records_and_simulations_together(cases: list[Case]) -> None:
    sample = part_sample(cases[0], predictor().observer, np.random.default_rng(1))
    whole = dict(zip(map(id, cases[0].top.records), cases[0].simulated, strict=False))
    assert 2 <= len(sample.simulated) < len(cases[0].top.records)
    for record, simulated in zip(sample.seen.request.records, sample.simulated, strict=True):
        assert whole[id(record)] is simulated


def test_a_foreign_explanation_comes_from_another_feature_of_the_same_fold() -> None:
    every = load()
    sample = foreign_sample(every[0], every, predictor().observer, np.random.default_rng(1))
    source = next(c for c in every if c.top.explanation == sample.seen.request.explanation)
    assert source.feature != every[0].feature
    assert source.fold == every[0].fold
    assert not sample.case.recorded
    assert sample.llm_score == 0.0
