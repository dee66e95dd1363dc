"""Invented neurons, judged and taught."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from models import minilm

from benchmarks.dataset import Case
from benchmarks.invented import JUDGED, KINDS, STRANGE, invented_cases
from pipeline.simulation import MAX_STRENGTH, FloatArray


@pytest.fixture(scope="module")
def invented() -> list[Case]:
    return [case for data in KINDS for case in invented_cases(data)]


def test_each_neuron_fires_in_every_top_text_alone_and_has_one_explanation_of_each_kind() -> None:
    for data, kinds in KINDS.items():
        found: dict[str, list[str]] = {}
        for case in invented_cases(data):
            assert all(record.values.max() > 0.0 for record in case.top.records)
            further = case.all_records.records[len(case.top.records) :]
            assert all(record.values.max() == 0.0 for record in further)
            found.setdefault(case.feature, []).append(case.kind)
        assert all(tuple(of_neuron) == kinds for of_neuron in found.values())


def test_each_has_a_strength_for_every_token(invented: list[Case]) -> None:
    for case in invented:
        records = case.all_records.records
        assert [len(s) for s in case.simulated] == [len(r.tokens) for r in records]
        strengths = np.concatenate(case.simulated)
        assert 0.0 <= strengths.min() <= strengths.max() <= MAX_STRENGTH


def test_a_good_explanation_is_simulated_well_and_a_wrong_one_is_not(invented: list[Case]) -> None:
    scores = {
        kind: np.mean([case.llm_score for case in invented if case.kind == kind])
        for kind in ("good", "wrong")
    }
    assert scores["good"] > 0.9
    assert scores["wrong"] < 0.2


def test_what_judges_does_not_teach() -> None:
    judged, taught = (
        {text.text for case in invented_cases(data) for text in case.all_records.texts}
        for data in (JUDGED, STRANGE)
    )
    assert not judged & taught


def test_no_taught_neuron_is_much_like_one_that_judges() -> None:
    assert float((_described(JUDGED) @ _described(STRANGE).T).max()) <= 0.65


def _described(data: Path) -> FloatArray:
    """Embeddings of the neurons' descriptions, shape (n, dim)."""
    texts = [c.top.explanation for c in invented_cases(data) if c.kind in ("good", "plain")]
    vectors: FloatArray = minilm().model.encode(texts, normalize_embeddings=True)
    return vectors


def test_each_fold_has_its_share_of_neurons() -> None:
    folds = Counter({case.feature: case.fold for case in invented_cases(STRANGE)}.values())
    assert max(folds.values()) - min(folds.values()) <= 1
