"""Parquet in and out. Needs pyarrow: the extra `parquet`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigurationError, InvalidRequest

_ROWS_AT_ONCE = 64
_NESTED = ("adjustment", "simulations", "evidence")
"""Columns that hold JSON, as their form hangs on the request."""


def require_pyarrow() -> Any:
    """The module `pyarrow`, with `pyarrow.parquet` loaded.

    Raises
    ------
    ConfigurationError : if it is not installed.
    """
    try:
        import pyarrow.parquet

        return pyarrow
    except ImportError:
        raise ConfigurationError(
            "Parquet needs pyarrow: pip install 'neuron-scorer[parquet]', or use .jsonl.gz"
        ) from None


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a table, a few at a time; what is null in one is missing.

    Raises
    ------
    InvalidRequest : if the file is no sound Parquet.
    ConfigurationError : without pyarrow.
    """
    arrow = require_pyarrow()
    try:
        with arrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    yield {name: value for name, value in row.items() if value is not None}
    except arrow.ArrowException as error:
        raise InvalidRequest(f"{path} is no sound Parquet file ({error})") from None


def write_answers(path: Path, answers: Iterable[Mapping[str, Any]]) -> None:
    """Write answers as a table; `adjustment`, `simulations` and `evidence` are JSON in it."""
    arrow = require_pyarrow()
    schema = _schema(arrow)
    with arrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in _batched(answers):
            writer.write_table(arrow.Table.from_pylist([_flat(row) for row in rows], schema))


def read_answers(path: Path) -> Iterator[dict[str, Any]]:
    """The answers that `write_answers` was given, in as far as they were not null."""
    for row in read_rows(path):
        yield {k: json.loads(v) if k in _NESTED else v for k, v in row.items()}


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: json.dumps(value) if name in _NESTED and value is not None else value
        for name, value in row.items()
    }


def _schema(arrow: Any) -> Any:
    text, whole, number = arrow.string(), arrow.int64(), arrow.float64()
    counts = ("prompt_tokens", "completion_tokens", "calls", "cached_calls", "total_tokens")
    columns = {
        "index": whole,
        "line": whole,
        "id": text,
        "explanation": text,
        "score": number,
        "raw_score": number,
        "interval": arrow.list_(number),
        "route": text,
        "status": text,
        "reason": text,
        "usage": arrow.struct({**dict.fromkeys(counts, whole), "cost_usd": number}),
        "version": text,
        "digest": text,
        **dict.fromkeys(_NESTED, text),
    }
    return arrow.schema(columns)


def _batched(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    waiting: list[Mapping[str, Any]] = []
    for row in rows:
        waiting.append(row)
        if len(waiting) == _ROWS_AT_ONCE:
            yield waiting
            waiting = []
    if waiting:
        yield waiting
