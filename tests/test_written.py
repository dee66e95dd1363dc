from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest

from benchmarks.dataset import Case, load
from benchmarks.further import UNTAUGHT, further_cases
from benchmarks.written import written_cases
from pipeline.text import WORD


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return written_cases(0)


def test_every_text_of_a_case_has_a_strength_for_each_word(cases: list[Case]) -> None:
    for case in cases:
        assert len(case.simulated) == len(case.all_records.records)
        parts = zip(case.all_records.records, case.simulated, strict=True)
        for record, strengths in parts:
            words = WORD.findall("".join(record.tokens))
            assert len(words) == len(record.tokens) == len(strengths)
            assert 0 <= strengths.min() <= strengths.max() <= 10


def test_the_own_explanation_predicts_its_neuron_best(cases: list[Case]) -> None:
    first: dict[str, list[float]] = {}
    best: dict[str, list[bool]] = {}
    for _, found in groupby(cases, key=lambda c: [id(record) for record in c.top.records]):
        own, *others = found
        first.setdefault(own.kind, []).append(own.gold_score)
        best.setdefault(own.kind, []).extend(own.gold_score >= o.gold_score for o in others)
    assert set(first) == {"word", "concept", "sense", "class"}
    for kind in first:
        assert np.mean(first[kind]) > 0.9
        assert np.mean(best[kind]) > 0.95


def test_a_group_stays_in_one_fold(cases: list[Case]) -> None:
    folds = {(case.feature, case.fold) for case in cases}
    assert len(folds) == len({feature for feature, _ in folds})
    assert {fold for _, fold in folds} == set(range(5))


def test_short_texts_also_make_a_request_of_their_own(cases: list[Case]) -> None:
    small = [c for c in cases if all(len(r.tokens) <= 12 for r in c.top.records)]
    assert len(small) > 100
    assert all(len(c.top.records) == len(c.all_records.records) >= 2 for c in small)


def test_no_explanation_is_one_that_is_judged(cases: list[Case]) -> None:
    taught = {case.top.explanation.casefold() for case in cases}
    judged = [*load(), *further_cases(load(), UNTAUGHT)]
    assert not taught & {case.top.explanation.casefold() for case in judged}
