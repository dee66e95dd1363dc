"""Further explanations, taught and untaught."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.dataset import Case, load
from benchmarks.further import KINDS, further_cases
from pipeline.simulation import MAX_STRENGTH


@pytest.fixture(scope="module")
def further() -> list[Case]:
    return [case for data in KINDS for case in further_cases(load(), data)]


def test_each_has_a_strength_for_every_token_of_its_feature_s_top_texts(
    further: list[Case],
) -> None:
    for case in further:
        assert [len(s) for s in case.simulated] == [len(r.tokens) for r in case.top.records]
        strengths = np.concatenate(case.simulated)
        assert strengths.min() >= 0.0
        assert strengths.max() <= MAX_STRENGTH


def test_every_feature_has_one_of_each_kind_in_its_own_fold(further: list[Case]) -> None:
    fold_of = {case.feature: case.fold for case in load()}
    every = [kind for of_data in KINDS.values() for kind in of_data]
    kinds: dict[str, list[str]] = {}
    for case in further:
        assert case.fold == fold_of[case.feature]
        kinds.setdefault(case.feature, []).append(case.kind)
    assert set(kinds) == set(fold_of)
    assert all(sorted(of_feature) == sorted(every) for of_feature in kinds.values())


@pytest.mark.parametrize("data", KINDS)
def test_no_feature_has_the_same_explanation_twice(data: Path) -> None:
    cases = (*load(), *further_cases(load(), data))
    every = [(case.feature, case.top.explanation.casefold()) for case in cases]
    assert len(every) == len(set(every))


def test_a_strength_stands_on_the_word_that_fires(further: list[Case]) -> None:
    (case,) = (
        c for c in further if c.top.explanation == "the modal may when the very next word is 'seem'"
    )
    fired = {
        record.tokens[i].strip()
        for record, strengths in zip(case.top.records, case.simulated, strict=True)
        for i in np.flatnonzero(strengths)
    }
    assert fired == {"may"}
