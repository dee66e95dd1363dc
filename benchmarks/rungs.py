"""The cheap stage's two rungs, fitted without some folds, so that others can judge them.

What is fitted later must see predictions as they come for features never seen: the reader's hints
come from heads that missed the example's fold, the gate's evidence from both rungs that missed the
sample's. Hence rungs for sets of up to two held folds (`HELD`), and heads for up to three.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.dataset import FOLDS
from benchmarks.fitting import Rows, examples, fit_head
from benchmarks.reading import Example, fit_reader
from stages.embedding import MiniLM
from stages.head import Head
from stages.reader import Reader

logger = logging.getLogger(__name__)

Held = frozenset[int]
"""Folds that were not seen."""

Fitted = TypeVar("Fitted")


@dataclass(frozen=True, slots=True)
class Rungs:
    """A head and a reader that were fitted on the same folds."""

    head: Head
    reader: Reader

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.head.save(folder / "head.safetensors")
        self.reader.save(folder / "reader.safetensors")

    @classmethod
    def load(cls, folder: Path, encoder: MiniLM) -> Rungs:
        head = Head.load(folder / "head.safetensors")
        return cls(head, Reader.load(folder / "reader.safetensors", encoder))


def _held_sets(most: int) -> list[Held]:
    """All sets of up to so many held folds."""
    return [frozenset(h) for n in range(most + 1) for h in combinations(range(FOLDS), n)]


HELD = tuple(_held_sets(2))

_PASSES = ((0.2, 2.0), (0.4, 0.3))
"""Of each later pass: how often it shows a common case, and how often a strange one."""


def fit_rungs(
    training: Sequence[Rows], strange: Sequence[Rows], encoder: MiniLM, seed: int
) -> dict[Held, Rungs]:
    """Rungs for every set of `HELD`.

    Parameters
    ----------
    strange : what a reader learns in later passes, beside some of the other cases again, once the
        common kinds are known. Heads see none of it.
    """
    heads = _side_by_side(lambda held: fit_head(_without(training, held), seed), _held_sets(3))
    logger.info("%d heads fitted", len(heads))

    def fit(held: Held) -> Rungs:
        common = _without(training, held)
        taught = lesson(common, [], heads, held)
        reader = fit_reader(taught, encoder, seed)
        for number, (often, strange_often) in enumerate(_PASSES):
            rng = np.random.default_rng(seed + number)
            again = _drawn(common, often, rng)
            unlike = _drawn(_without(strange, held), strange_often, rng)
            more = lesson(again, unlike, heads, held)
            reader = fit_reader(more, encoder, seed + number, start=reader)
        logger.info("reader without %s taught on %d texts and more", sorted(held), len(taught))
        return Rungs(heads[held], reader)

    return _side_by_side(fit, HELD)


def lesson(
    common: Sequence[Rows], strange: Sequence[Rows], heads: Mapping[Held, Head], held: Held
) -> list[Example]:
    """What a reader is taught of these cases in one pass."""
    usual = [e for part in common for e in examples(part, heads[held | {part.case.fold}])]
    # No head has seen a strange case, of whatever fold.
    return usual + [e for part in strange for e in examples(part, heads[held])]


def _drawn(of: Sequence[Rows], often: float, rng: np.random.Generator) -> list[Rows]:
    """Each so often on average, none more than once more than another."""
    order = np.resize(rng.permutation(len(of)), round(often * len(of)))
    return [of[i] for i in order.tolist()]


def _side_by_side(fit: Callable[[Held], Fitted], wanted: Sequence[Held]) -> dict[Held, Fitted]:
    """One core each: fits side by side take less time than one after the other on all cores."""

    def alone() -> None:
        torch.set_num_threads(1)
        threadpool_limits(1)

    with ThreadPoolExecutor(os.cpu_count(), initializer=alone) as pool:
        return dict(zip(wanted, pool.map(fit, wanted), strict=True))


def _without(training: Sequence[Rows], held: Held) -> list[Rows]:
    return [part for part in training if part.case.fold not in held]
