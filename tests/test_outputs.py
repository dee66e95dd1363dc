from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from serving import shared_scorer

from pipeline.errors import ConfigurationError, InvalidRequest
from pipeline.examples import load_examples
from pipeline.outputs import open_output, waiting_rows

OPTIONS = {"version": "1", "options": {"tolerance": 0.1}}
ENDINGS = [".jsonl", ".jsonl.gz", ".parquet"]
ROWS = [{"index": i, "digest": "d" * i, "explanation": "Füchse\n" * i} for i in range(3)]


def written(path: Path, rows: list[Any], *, complete: bool = False) -> None:
    output = open_output(path, OPTIONS, resume=True)
    assert list(output.rows()) == []
    for row in rows:
        output.write(row)
    output.close(complete=complete)


def kept(path: Path, options: Mapping[str, Any] = OPTIONS) -> list[dict[str, Any]]:
    output = open_output(path, options, resume=True)
    try:
        return list(output.rows())
    finally:
        output.close(complete=False)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("complete", [False, True])
def test_what_was_written_is_there_later(tmp_path: Path, ending: str, complete: bool) -> None:
    path = tmp_path / f"out{ending}"
    written(path, ROWS, complete=complete)
    assert kept(path) == ROWS


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_of_a_torn_file_all_but_the_last_answer_is_kept(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out{ending}"
    written(path, ROWS[:2])
    two = path.stat().st_size
    output = open_output(path, OPTIONS, resume=True)
    output.write(ROWS[2])
    output.close(complete=False)
    whole = path.read_bytes()
    for size in range(two, len(whole)):
        path.write_bytes(whole[:size])
        assert kept(path) == ROWS[:2]
        assert path.stat().st_size == two
    path.write_bytes(whole)
    assert kept(path) == ROWS


def test_others_read_the_packed_answers_as_one_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl.gz"
    written(path, ROWS)
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        assert [json.loads(line) for line in lines] == ROWS


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_what_is_damaged_in_its_middle_is_refused_and_left_alone(
    tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"out{ending}"
    written(path, ROWS)
    content = bytearray(path.read_bytes())
    content[:12] = b"\xff" * 12
    path.write_bytes(content)
    with pytest.raises(InvalidRequest, match="damaged at"):
        kept(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_is_not_overwritten(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out{ending}"
    written(path, ROWS)
    with pytest.raises(ConfigurationError, match="--resume goes on"):
        open_output(path, OPTIONS, resume=False)
    assert kept(path) == ROWS


def test_other_options_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    written(path, ROWS)
    with pytest.raises(ConfigurationError, match=r"options was \{'tolerance': 0.1\}, is None"):
        kept(path, {**OPTIONS, "options": None})
    (tmp_path / "out.jsonl.run.json").unlink()
    with pytest.raises(ConfigurationError, match="is missing"):
        kept(path)


def test_names_without_a_known_ending_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"must end in \.jsonl"):
        open_output(tmp_path / "out.csv", OPTIONS, resume=False)


@pytest.mark.parametrize("ending", ENDINGS)
def test_two_runs_do_not_share_a_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out{ending}"
    output = open_output(path, OPTIONS, resume=False)
    output.write(ROWS[0])
    with pytest.raises(ConfigurationError, match="another run"):
        open_output(path, OPTIONS, resume=True)
    output.close(complete=False)


def test_a_table_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    written(path, ROWS[:2])
    assert not path.exists()
    output = open_output(path, OPTIONS, resume=True)
    output.write(ROWS[2])
    output.close(complete=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "out.parquet",
        "out.parquet.run.json",
    ]
    # Killed behind the renaming: the answers that waited are still there.
    with gzip.open(waiting_rows(path), "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in ROWS[:1])
    assert kept(path) == ROWS[:1]


def test_a_table_holds_the_whole_answer(tmp_path: Path) -> None:
    example = load_examples()[0]
    answer = shared_scorer().score(example.explanations[0], example.activations).to_dict()
    row = {"index": 0, "line": 1, "id": None, "explanation": "x", **answer, "digest": "d"}
    row = json.loads(json.dumps(row))
    path = tmp_path / "out.parquet"
    written(path, [row], complete=True)
    table = pyarrow.parquet.read_table(path)
    assert set(row) | {"evidence"} == set(table.column_names)
    assert table["interval"][0].as_py() == row["interval"]
    assert table["usage"][0].as_py() == row["usage"]
    assert kept(path) == [{name: value for name, value in row.items() if value is not None}]
