from __future__ import annotations

import numpy as np
import pytest

from benchmarks import examples
from pipeline.examples import load_examples


def test_the_classic_request_comes_first() -> None:
    classic = load_examples()[0]
    assert classic.explanations == ("fast animals",)
    assert [record["values"] for record in classic.activations] == [
        [0, 2, 0, 2.5],
        [0.5, 2.5, 1.5, 0],
    ]


def test_six_features_follow_with_four_explanations_of_their_top_records() -> None:
    features = load_examples()[1:]
    assert len({feature.name for feature in features}) == 6
    for feature in features:
        assert len(feature.explanations) == 4
        assert len(feature.activations) in {19, 20}
        peaks = [max(record["values"]) for record in feature.activations]
        assert np.min(peaks) > 0


def test_the_file_is_what_its_command_writes(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = examples.OUT.read_text("utf-8")
    monkeypatch.setattr(examples, "OUT", tmp_path_factory.mktemp("examples") / "examples.json")
    examples.main()
    assert examples.OUT.read_text("utf-8") == shipped
