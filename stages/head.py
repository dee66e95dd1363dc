"""The trained head: gradient-boosted regression trees as plain arrays.

The trees are grown by scikit-learn (`benchmarks/train.py`) and kept as safetensors: numbers only,
no code, independent of the library's version. Here they are only applied.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.errors import ConfigurationError

FeatureMatrix = npt.NDArray[np.float32]

_ARRAYS = ("column", "threshold", "children", "value", "roots", "depths")
_ROWS = 256  # at a time, so that what a step touches stays in the processor's cache
_LEAVES = 32  # of a tree, a bit each


@dataclass(frozen=True, slots=True)
class _Table:
    """The trees side by side: the splits of all in as many steps as the largest has.

    Every row passes every split, which costs less than to follow each row from node to node
    (Lucchese et al. 2015, "QuickScorer").

    Attributes
    ----------
    column, threshold, left : shape (n_splits, n_trees); `left` has the bits of the leaves on the
        left of a split.
    value : shape (n_trees, 32), of each leaf.
    """

    column: npt.NDArray[np.int64]
    threshold: npt.NDArray[np.float32]
    left: npt.NDArray[np.uint32]
    value: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Head:
    """Boosted regression trees.

    Attributes
    ----------
    names : the features, in the order of the matrix's columns.
    column, threshold, value : shape (n_nodes,), all trees' nodes end to end.
    children : shape (2 * n_nodes,), each node's left and right child; of a leaf, itself. A row
        goes left where ``row[column] <= threshold``.
    roots : shape (n_trees,), node of each tree's root.
    depths : shape (n_trees,), steps after which every row stands on a leaf; deepest tree first.
    baseline : what the sum of the trees' values is added to.
    """

    names: tuple[str, ...]
    column: npt.NDArray[np.int64]
    threshold: npt.NDArray[np.float64]
    children: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    roots: npt.NDArray[np.int64]
    depths: npt.NDArray[np.int64]
    baseline: float

    def predict(self, features: Mapping[str, npt.NDArray[np.float32]]) -> npt.NDArray[np.float64]:
        """Predict each row, in the unit that the head was trained on.

        Parameters
        ----------
        features : by name, each of shape (n_rows,); all of `names` must be there.
        """
        columns = np.stack([features[name] for name in self.names])
        out = np.empty(columns.shape[1])
        for start in range(0, len(out), _ROWS):
            out[start : start + _ROWS] = self._reached(columns[:, start : start + _ROWS])
        return out

    def _reached(self, columns: FeatureMatrix) -> npt.NDArray[np.float64]:
        """The sum of the leaves that each row comes to: those that no split rules out."""
        table = self._table
        ruled_out = np.zeros((len(self.roots), columns.shape[1]), np.uint32)
        taken = np.empty(ruled_out.shape, np.float32)
        for column, threshold, left in zip(table.column, table.threshold, table.left, strict=True):
            columns.take(column, axis=0, out=taken, mode="clip")  # nothing to clip; checks cost
            right = taken > threshold[:, None]
            # Where a row goes right, the leaves on the left are out of reach.
            ruled_out |= right * left[:, None]
        # Of those in reach, the first one: its bit stands lowest.
        leaves = ~ruled_out
        first = np.frexp((leaves & -leaves).astype(np.float64))[1] - 1
        value = table.value.take(first + _LEAVES * np.arange(len(first))[:, None])
        return np.asarray(self.baseline + value.sum(axis=0))

    @cached_property
    def _table(self) -> _Table:
        splits = [self._splits(int(root)) for root in self.roots]
        most = max((len(tree) for tree, _ in splits), default=0)
        shape = most, len(splits)
        table = _Table(
            np.zeros(shape, np.int64),
            np.full(shape, np.inf, np.float32),
            np.zeros(shape, np.uint32),
            np.zeros((len(splits), _LEAVES)),
        )
        for tree, (nodes, values) in enumerate(splits):
            for at, (node, left) in enumerate(nodes):
                table.column[at, tree] = self.column[node]
                table.threshold[at, tree] = _rounded_down(self.threshold[node])
                table.left[at, tree] = sum(1 << leaf for leaf in left)
            table.value[tree, : len(values)] = values
        return table

    def _splits(self, root: int) -> tuple[list[tuple[int, range]], list[float]]:
        """A tree's splits with the leaves on their left, counted from the left, and their values.

        Raises
        ------
        ConfigurationError : if the tree has more leaves than a number has bits.
        """
        splits: list[tuple[int, range]] = []
        values: list[float] = []

        def walk(node: int) -> None:
            left, right = self.children[2 * node], self.children[2 * node + 1]
            if left == node:
                values.append(float(self.value[node]))
                return
            first = len(values)
            walk(int(left))
            splits.append((node, range(first, len(values))))
            walk(int(right))

        walk(root)
        if len(values) > _LEAVES:
            raise ConfigurationError(
                f"a tree of the head has {len(values)} leaves; at most {_LEAVES} can be walked"
            )
        return splits, values

    def save(self, path: Path) -> None:
        from safetensors.numpy import save_file

        arrays = {name: getattr(self, name) for name in _ARRAYS}
        about = {"names": list(self.names), "baseline": self.baseline}
        save_file(arrays, path, metadata={"head": json.dumps(about)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load a saved head.

        Raises
        ------
        ConfigurationError : if the file is missing or is not a head.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="np") as file:
                about = json.loads(file.metadata()["head"])
                arrays = {name: file.get_tensor(name) for name in _ARRAYS}
            names = tuple(about.pop("names"))
            return cls(names=names, **arrays, **about)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"{path.name}: not a usable head ({error}); `make train` rebuilds it"
            ) from error

    @classmethod
    def empty(cls) -> Self:
        """A head without trees, for whoever wants only the features."""
        none, no_value = np.zeros(0, dtype=np.int64), np.zeros(0)
        return cls((), none, no_value, none, no_value, none, none, baseline=0.0)

    @classmethod
    def from_sklearn(cls, model: Any, names: tuple[str, ...]) -> Self:
        """Take over the trees of a fitted `HistGradientBoostingRegressor` without categories."""
        nodes = [predictors[0].nodes for predictors in model._predictors]
        nodes.sort(key=lambda tree: -int(tree["depth"].max()))
        sizes = [len(tree) for tree in nodes]
        roots = np.cumsum([0, *sizes[:-1]])
        every: Any = np.concatenate(nodes)
        offset = np.repeat(roots, sizes)
        leaf = every["is_leaf"].astype(bool)
        itself = np.arange(len(every))
        children = np.stack([every["left"], every["right"]]).astype(np.int64)
        return cls(
            names,
            column=np.where(leaf, 0, every["feature_idx"]).astype(np.int64),
            threshold=np.where(leaf, 0.0, every["num_threshold"]).astype(np.float64),
            children=np.where(leaf, itself, children + offset).T.ravel().astype(np.int64),
            value=np.where(leaf, every["value"], 0.0).astype(np.float64),
            roots=roots.astype(np.int64),
            depths=np.array([tree["depth"].max() for tree in nodes], dtype=np.int64),
            baseline=float(np.ravel(model._baseline_prediction)[0]),
        )


def _rounded_down(threshold: float) -> np.float32:
    """The largest number in single precision that is not above: features go the same way."""
    near = np.float32(threshold)
    return near if near <= threshold else np.nextafter(near, np.float32(-np.inf))
