"""The rungs of held folds, on a few made neurons."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models import minilm, predictor

from benchmarks.dataset import Case
from benchmarks.fitting import Rows, examples, fit_head, rows, whole_sample
from benchmarks.invented import STRANGE, invented_cases
from benchmarks.made import made_cases
from benchmarks.reading import Example
from benchmarks.rungs import HELD, Held, Rungs, _drawn, fit_rungs, lesson
from pipeline.records import Request
from stages.cheap import CheapPredictor

_TEXTS = 3
"""Of a case: the sixteen readers that are fitted on them take one minute, on whole cases seven."""


def _one_of_each_fold(cases: Iterable[Case]) -> list[Rows]:
    observer = predictor().observer
    of_folds = {case.fold: _few_texts(case) for case in cases}
    return [rows(whole_sample(case, observer), observer) for case in of_folds.values()]


def _few_texts(case: Case) -> Case:
    few = Request(case.top.explanation, case.top.records[:_TEXTS])
    return replace(case, top=few, all_records=few, simulated=case.simulated[:_TEXTS])


@pytest.fixture(scope="module")
def training() -> list[Rows]:
    return _one_of_each_fold(made_cases(5, 1))


@pytest.fixture(scope="module")
def strange() -> list[Rows]:
    return _one_of_each_fold(invented_cases(STRANGE))


@pytest.fixture(scope="module")
def rungs(training: list[Rows], strange: list[Rows]) -> dict[Held, Rungs]:
    return fit_rungs(training, strange, minilm(), 7)


def test_every_fold_has_rungs_that_missed_it_and_each_other_one(rungs: dict[Held, Rungs]) -> None:
    assert set(rungs) == set(HELD)
    assert {frozenset[int](), *(frozenset({fold}) for fold in range(5))} < set(rungs)
    for fold in range(5):
        assert sum(fold in held for held in rungs if len(held) == 2) == 4


def test_a_head_has_seen_nothing_of_its_held_folds(
    training: list[Rows], rungs: dict[Held, Rungs]
) -> None:
    held = frozenset({1, 3})
    others = [part for part in training if part.case.fold not in held]
    assert len(others) < len(training)
    np.testing.assert_array_equal(rungs[held].head.value, fit_head(others, 7).value)


def test_a_lesson_shows_all_that_it_is_given(
    training: list[Rows], strange: list[Rows], rungs: dict[Held, Rungs]
) -> None:
    heads = {held: of.head for held, of in rungs.items()}

    def taught(common: list[Rows], unlike: list[Rows]) -> list[Example]:
        return lesson(common, unlike, heads, frozenset())

    once = [e for part in strange for e in examples(part, heads[frozenset()])]
    assert len(taught([], strange)) == len(once) > 0
    assert len(taught(training, strange)) == len(once) + len(taught(training, [])) > len(once)


def test_cases_are_drawn_evenly(training: list[Rows]) -> None:
    def times(often: float) -> list[int]:
        drawn = _drawn(training, often, np.random.default_rng(3))
        return sorted(sum(one is part for one in drawn) for part in training)

    assert times(0.4) == [0, 0, 0, 1, 1]
    assert times(2.2) == [2, 2, 2, 2, 3]


def test_saved_rungs_judge_the_same(
    tmp_path: Path, training: list[Rows], rungs: dict[Held, Rungs]
) -> None:
    fitted = rungs[frozenset()]
    fitted.save(tmp_path)
    loaded = Rungs.load(tmp_path, minilm())
    observer = predictor().observer
    seen = observer.observe(training[0].case.top)
    before, after = (
        CheapPredictor(observer, of.head, of.reader).judge(seen).by_word for of in (fitted, loaded)
    )
    assert after.strengths.max() > 0.5
    np.testing.assert_allclose(after.strengths, before.strengths, atol=1e-4)
    np.testing.assert_array_equal(after.first, before.first)
