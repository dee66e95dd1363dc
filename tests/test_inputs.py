from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from features import DELPHI_SCORES, NEURONPEDIA, NEURONPEDIA_LINES, OURS

from pipeline import inputs
from pipeline.errors import ConfigurationError, InvalidRequest
from pipeline.inputs import Entry, load_explanations, read_entries

ONE = json.dumps({"explanation": "cats"})
PRETTY = json.dumps({"explanation": "cats", "activations": [{"tokens": ["a"]}]}, indent=1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "in"


def read(file: Path, content: str | bytes) -> list[Entry]:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_entries(str(file)))


@pytest.mark.parametrize(
    ("body", "requests"),
    [
        (ONE, 1),
        (f"\n {ONE}\n\n", 1),
        (PRETTY, 1),
        (f"[{ONE}, {ONE}]", 2),
        (f"[\n{PRETTY},\n{PRETTY}\n]", 2),
        (f"{ONE}\n{ONE}\r\n\n{ONE}", 3),
        (f"\ufeff{ONE}\n{ONE}", 2),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_batch_is_an_array_or_one_request_a_line(
    file: Path, body: str, requests: int, packed: bool
) -> None:
    content = gzip.compress(body.encode()) if packed else body.encode()
    found = read(file, content)
    assert [entry.value["explanation"] for entry in found] == ["cats"] * requests


def test_entries_know_their_lines_and_whether_they_changed(file: Path) -> None:
    first, second = read(file, f"{ONE}\n\n{PRETTY.replace(chr(10), '')}")
    assert (first.line, second.line) == (1, 3)
    assert first.digest != second.digest
    assert read(file, ONE)[0].digest == first.digest


@pytest.mark.parametrize("body", ["", "\n \n", "[]"])
def test_a_file_without_requests_is_refused(file: Path, body: str) -> None:
    with pytest.raises(InvalidRequest, match="expected a JSON object"):
        read(file, body)


@pytest.mark.parametrize(
    ("body", "sound"),
    [
        ("{", []),
        (f"{ONE}\n{{", [1]),
        (f'{{"explanation": "torn\n{ONE}\n{ONE}', [2, 3]),
        (f"nonsense\n{ONE}", [2]),
        (f"{ONE} {ONE}\n{ONE}", [2]),
        (f"{ONE}\n\udcff\n{ONE}", [1, 3]),
    ],
)
def test_a_line_that_is_no_json_spoils_no_other(file: Path, body: str, sound: list[int]) -> None:
    found = read(file, body.encode("utf-8", "surrogateescape"))
    assert [entry.line for entry in found if not entry.error] == sound
    assert len(found) > len(sound)


def test_a_line_that_is_too_long_is_left_out(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_LONGEST_LINE", 100)
    found = read(file, f"{ONE}\n{ONE[:-1]}{' ' * 300}}}\n{ONE}")
    assert [entry.line for entry in found if not entry.error] == [1, 3]
    assert "longer than 100" in str(found[1].error)


def test_lines_are_read_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (f"{ONE}\n".encode() for _ in range(3))
    seen = 0

    class Pipe(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            nonlocal seen
            line = next(lines, b"")
            seen += bool(line)
            buffer[: len(line)] = line
            return len(line)

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(Pipe())))
    entries = read_entries("-")
    next(entries)
    assert seen == 1
    assert len(list(entries)) == 2


def test_gzip_that_ends_early_is_an_error_behind_what_can_be_read(file: Path) -> None:
    content = gzip.compress((f"{ONE}\n" * 2000).encode(), compresslevel=0)
    file.write_bytes(content[:30000])
    entries = read_entries(str(file))
    assert next(entries).value
    with pytest.raises(InvalidRequest, match="cut off or damaged"):
        list(entries)


def test_lone_activations_of_a_feature_come_together(file: Path) -> None:
    lines = [*NEURONPEDIA_LINES, NEURONPEDIA]
    found = read(file, "\n".join(map(json.dumps, lines)))
    assert [entry.line for entry in found] == [1, 3, 5]
    assert [entry.value["index"] for entry in found] == ["204", "205", "10956"]
    assert [len(entry.value["activations"]) for entry in found] == [2, 2, 2]


def test_the_texts_of_one_latent_are_one_entry(file: Path) -> None:
    assert [entry.value for entry in read(file, json.dumps(DELPHI_SCORES))] == [DELPHI_SCORES]


def test_rows_of_parquet_are_entries(file: Path) -> None:
    rows = [{**OURS, "tolerance": None}, {**OURS, "id": None, "tolerance": 0.5}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    first, second = read_entries(str(file))
    assert first.value == OURS
    assert second.value == {**{k: v for k, v in OURS.items() if k != "id"}, "tolerance": 0.5}
    assert (first.line, second.line) == (1, 2)


def test_parquet_that_is_damaged_is_refused(file: Path) -> None:
    with pytest.raises(InvalidRequest, match="no sound Parquet"):
        read(file, b"PAR1" + b"\0" * 100)


def test_parquet_from_a_pipe_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(b"PAR1....")))
    monkeypatch.setattr(sys, "stdin", pipe)
    with pytest.raises(InvalidRequest, match="name the file"):
        next(read_entries("-"))


def test_parquet_without_pyarrow_names_the_remedy(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigurationError, match=r"neuron-scorer\[parquet\]"):
        read(file, b"PAR1....")


def test_files_of_explanations_may_have_several_of_a_feature(file: Path) -> None:
    lines = [{"id": "a", "explanation": "cats"}, {"id": "a", "explanation": "dogs"}]
    file.write_text("\n".join(map(json.dumps, lines)))
    assert load_explanations(str(file)).by_id == {"a": ("cats", "dogs")}
    file.write_text('{"id": "a", "explanation": "cats"}\n{"id": "b"}')
    with pytest.raises(InvalidRequest, match="line 2"):
        load_explanations(str(file))
