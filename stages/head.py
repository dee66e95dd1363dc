"""The trained head: gradient-boosted regression trees as plain arrays.

The trees are grown by scikit-learn (`benchmarks/train.py`) and kept as safetensors: numbers only,
no code, independent of the library's version. Here they are only walked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.errors import ConfigurationError

FeatureMatrix = npt.NDArray[np.float32]

_ARRAYS = ("column", "threshold", "children", "value", "roots", "depths")
_ROWS = 128  # at a time, so that what a step touches stays in the processor's cache


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
        matrix = np.stack([features[name] for name in self.names], axis=1)
        out = np.empty(len(matrix))
        for start in range(0, len(matrix), _ROWS):
            out[start : start + _ROWS] = self._walk(matrix[start : start + _ROWS])
        return out

    def _walk(self, matrix: FeatureMatrix) -> npt.NDArray[np.float64]:
        """All rows down all trees, one level a step."""
        cells = matrix.ravel()
        row = (np.arange(len(matrix)) * matrix.shape[1])[:, None]
        node = np.repeat(self.roots[None], len(matrix), axis=0)
        for step in range(int(self.depths.max(initial=0))):
            deeper = node[:, : int((self.depths > step).sum())]
            right = cells.take(row + self.column.take(deeper)) > self.threshold.take(deeper)
            deeper[:] = self.children.take(2 * deeper + right)
        return np.asarray(self.baseline + self.value.take(node).sum(axis=1))

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
