"""Recorded cases for tests of the training code."""

from __future__ import annotations

from itertools import islice

from benchmarks.dataset import KINDS, Case, load


def three_features() -> list[Case]:
    """All explanations of three features of different folds."""
    every = load()
    folds: dict[int, list[Case]] = {}
    for start in range(0, len(every), len(KINDS)):
        folds.setdefault(every[start].fold, every[start : start + len(KINDS)])
    return [case for chosen in islice(folds.values(), 3) for case in chosen]
