from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import fast_encoder, words_of
from safetensors.numpy import save_file
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from pipeline.errors import ConfigurationError
from pipeline.simulation import FloatArray
from stages.cheap import HEAD_PATH
from stages.explanation import encode_explanation
from stages.features import Features, features
from stages.head import Head
from stages.words import Words

NAMES = ("a", "b", "c")


def rows(n: int, seed: int = 0) -> Features:
    matrix = np.random.default_rng(seed).normal(size=(n, len(NAMES))).astype(np.float32)
    return dict(zip(NAMES, matrix.T, strict=True))


def target(columns: Features) -> FloatArray:
    return np.asarray(columns["a"] * columns["b"] + (columns["c"] > 0), dtype=np.float64)


@cache
def fitted(**options: Any) -> HistGradientBoostingRegressor:
    columns = rows(400)
    model = HistGradientBoostingRegressor(max_iter=10, random_state=0, **options)
    with threadpool_limits(1):  # more threads than free cores make it a hundred times slower
        return model.fit(matrix(columns), target(columns))


def matrix(columns: Features) -> FloatArray:
    return np.stack(list(columns.values()), axis=1).astype(np.float64)


def predicted(model: HistGradientBoostingRegressor, columns: Features) -> FloatArray:
    with threadpool_limits(1):
        return np.asarray(model.predict(matrix(columns)), dtype=np.float64)


@pytest.fixture(scope="module")
def head() -> Head:
    return Head.from_sklearn(fitted(), NAMES)


@pytest.mark.parametrize("options", [{}, {"max_leaf_nodes": 2}, {"max_depth": 3}])
@pytest.mark.parametrize("n", [1, 128, 129, 300])
def test_walking_the_trees_is_what_scikit_learn_predicts(options: dict[str, int], n: int) -> None:
    model, columns = fitted(**options), rows(n, seed=1)
    walked = Head.from_sklearn(model, NAMES).predict(columns)
    np.testing.assert_allclose(walked, predicted(model, columns), rtol=1e-9)
    assert n == 1 or walked.std() > 0.1


def test_a_value_on_a_threshold_goes_left_as_it_does_in_scikit_learn() -> None:
    columns = {"a": np.repeat(np.arange(4, dtype=np.float32), 30)}
    model = HistGradientBoostingRegressor(max_iter=1, learning_rate=1.0)
    with threadpool_limits(1):
        model.fit(matrix(columns), columns["a"])
    head = Head.from_sklearn(model, ("a",))
    on = {"a": np.unique(head.threshold[head.threshold > 0]).astype(np.float32)}
    assert on["a"].tolist() == [0.5, 1.5, 2.5]
    assert head.predict(on) == pytest.approx([0, 1, 2])
    assert predicted(model, on) == pytest.approx([0, 1, 2])


def test_trees_without_a_split_give_the_mean() -> None:
    columns = rows(50)
    model = HistGradientBoostingRegressor(max_iter=3)
    with threadpool_limits(1):
        model.fit(matrix(columns), np.full(50, 0.25))
    assert Head.from_sklearn(model, NAMES).predict(columns) == pytest.approx(np.full(50, 0.25))


def test_columns_are_found_by_name(head: Head) -> None:
    columns = rows(10)
    others = {"unused": columns["a"], **{name: columns[name] for name in NAMES[::-1]}}
    assert head.predict(others).tolist() == head.predict(columns).tolist()
    with pytest.raises(KeyError, match="'c'"):
        head.predict({"a": columns["a"], "b": columns["b"]})


def test_no_rows_have_no_predictions(head: Head) -> None:
    assert head.predict(rows(0)).shape == (0,)


def test_a_saved_head_predicts_the_same(head: Head, tmp_path: Path) -> None:
    head.save(tmp_path / "head.safetensors")
    loaded = Head.load(tmp_path / "head.safetensors")
    assert loaded.names == NAMES
    assert loaded.predict(rows(200)).tolist() == head.predict(rows(200)).tolist()


def test_the_file_holds_numbers_and_nothing_else(head: Head, tmp_path: Path) -> None:
    head.save(tmp_path / "head.safetensors")
    for path in (tmp_path / "head.safetensors", HEAD_PATH):
        content = path.read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        about = json.loads(header.pop("__metadata__")["head"])
        assert set(about) == {"names", "baseline"}
        assert {entry["dtype"] for entry in header.values()} <= {"F32", "F64", "I16", "I32", "I64"}
        assert max(entry["data_offsets"][1] for entry in header.values()) == len(content) - start


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def without_metadata(path: Path) -> None:
    save_file({"vectors": np.zeros(3)}, path)


def with_metadata(about: object) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        names = ("column", "threshold", "children", "value", "roots")
        save_file({name: np.zeros(1) for name in names}, path, {"head": json.dumps(about)})

    return write


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(Path.unlink, id="missing"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(b"not a head" * 9), id="garbage"),
        pytest.param(cut, id="cut off"),
        pytest.param(without_metadata, id="some other safetensors"),
        pytest.param(with_metadata(["a", "b"]), id="of a strange form"),
        pytest.param(with_metadata({"baseline": 1}), id="without names"),
        pytest.param(
            with_metadata({"names": ["a"], "baseline": 1, "colour": 2}), id="of the future"
        ),
    ],
)
def test_a_file_that_is_not_a_head_says_how_to_get_one(
    head: Head, tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    path = tmp_path / "head.safetensors"
    head.save(path)
    spoil(path)
    with pytest.raises(ConfigurationError, match=r"head\.safetensors: .*make train"):
        Head.load(path)


def test_the_shipped_head_knows_its_features() -> None:
    encoder = fast_encoder()
    columns = features(
        encode_explanation("the word 'fox'", encoder), Words(encoder.encode(words_of("a fox")))
    )
    names = Head.load(HEAD_PATH).names
    assert len(set(names)) == len(names)
    assert set(names) <= set(columns)
