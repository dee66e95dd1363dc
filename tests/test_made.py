from __future__ import annotations

import numpy as np
import pytest

from benchmarks.dataset import Case
from benchmarks.made import _neighbour, made_cases
from pipeline.records import ActivationRecord


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return made_cases(14, 3)


def test_the_first_explanation_of_a_neuron_is_true_and_the_others_less_so(
    cases: list[Case],
) -> None:
    by_neuron: dict[str, list[Case]] = {}
    for case in cases:
        by_neuron.setdefault(case.feature, []).append(case)
    assert len(by_neuron) == 14
    for first, *others in by_neuron.values():
        assert first.gold_score > 0.9
        assert others
        assert all(other.gold_score <= first.gold_score + 1e-9 for other in others)


def test_records_are_as_a_labelling_site_sends_them(cases: list[Case]) -> None:
    for case in cases:
        assert 6 <= len(case.top.records) <= 12
        assert len(case.simulated) == len(case.all_records.records)
        for record, simulated in zip(case.all_records.records, case.simulated, strict=True):
            ActivationRecord.parse({"tokens": record.tokens, "values": record.values})
            assert simulated.shape == record.values.shape
        assert min(float(record.values.max()) for record in case.top.records) > 1


@pytest.mark.parametrize("seed", range(8))
def test_a_rule_fires_where_its_explanation_says(seed: int) -> None:
    first, second, itself = _neighbour(np.random.default_rng(seed))
    word = itself.explanation.split("'")[1]
    text = ["one", word, "two"]
    for made in (first, second):
        behind = any(cue in made.explanation for cue in ("after", "follow"))
        assert made.rule(text) == [not behind, False, behind]
    assert itself.rule(text) == [False, True, False]


def test_the_same_seed_makes_the_same_neurons() -> None:
    first, second = made_cases(3, 1), made_cases(3, 1)
    assert [c.top.explanation for c in first] == [c.top.explanation for c in second]
    assert first[0].top.records[0].tokens == second[0].top.records[0].tokens
