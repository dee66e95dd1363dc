from __future__ import annotations

from collections import Counter

import pytest
from models import request

from stages.peaks import kinds_of, peak_stems, peaks_of


def test_peaks_are_those_of_the_strong_records() -> None:
    asked = request("a", "a fox*9 ran", "the dog*3", "the cat*5 sat", "it")
    assert peaks_of(asked) == [(0, 1), (2, 1)]


def test_forms_of_a_word_are_one_peak_word() -> None:
    asked = request("a", "a loan*9", "two Loans*8", "the cat*7 sat", "the dog*1")
    assert peak_stems(asked) == {"loan": 2, "cat": 1}


@pytest.mark.parametrize(
    ("peaks", "kinds"),
    [({}, 1.0), ({"a": 7}, 1.0), ({"a": 3, "b": 3}, 2.0), ({"a": 97, "b": 3}, 1.144)],
)
def test_a_rare_peak_word_hardly_counts_as_a_kind(peaks: dict[str, int], kinds: float) -> None:
    assert kinds_of(Counter(peaks)) == pytest.approx(kinds, abs=0.001)
