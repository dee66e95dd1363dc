"""The command `score` on files, in this process; `test_crash_run.py` kills it."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet
import pytest
from features import NEURON_RECORD, NEURONPEDIA, OURS, RECORDS, SIMULATION_RESULTS
from serving import shared_scorer

from pipeline import cli
from pipeline.budget import Allowance, Limit
from pipeline.inputs import Entry
from pipeline.items import Item, read_items
from pipeline.outputs import open_output
from pipeline.records import Limits
from pipeline.run import Faults, Run
from pipeline.scorer import Scorer
from pipeline.simulation import Usage

BAD = [{**OURS, "explanation": ""}, "{torn", {**OURS, "activations": [{"tokens": ["a"]}]}]


@pytest.fixture(autouse=True)
def scorer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Scorer:
    monkeypatch.setattr(cli, "_scorer", shared_scorer)
    monkeypatch.chdir(tmp_path)
    return shared_scorer()


def write(path: str, *lines: Any) -> None:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    Path(path).write_text("\n".join(texts))


def answers(path: str) -> list[dict[str, Any]]:
    if path.endswith(".parquet"):
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
        return rows
    with gzip.open(path, "rt") if path.endswith(".gz") else Path(path).open() as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize("out", ["out.jsonl", "out.jsonl.gz", "out.parquet"])
def test_bad_lines_go_aside_and_the_run_goes_on(
    out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("in.jsonl", OURS, *BAD, NEURONPEDIA)
    assert cli.main(["score", "in.jsonl", "--out", out, "--brief"]) == 1
    rows = answers(out)
    assert [(row["index"], row["line"], row["id"]) for row in rows] == [
        (0, 1, "7"),
        (4, 5, "gemma-2-2b/20-gemmascope-res-16k/10956"),
        (5, 5, "gemma-2-2b/20-gemmascope-res-16k/10956"),
    ]
    assert [row["explanation"] for row in rows] == ["fast animals", "fast animals", "colours"]
    assert rows[0]["score"] == rows[1]["score"] > rows[2]["score"]
    assert not any(row.get("simulations") for row in rows)
    faults = answers(f"{out}.errors.jsonl")
    assert [(fault["line"], fault["field"]) for fault in faults] == [
        (2, "explanation"),
        (3, None),
        (4, "activations[0].values"),
    ]
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("neuron-scorer: 3 scored (0 LLM tokens, 0.0000 USD); 3 could not be")
    assert f"{out}.errors.jsonl" in last


@pytest.mark.parametrize("out", ["out.jsonl", "out.jsonl.gz", "out.parquet"])
def test_a_run_that_is_done_is_gone_on_with_when_lines_are_added(
    out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("in.jsonl", OURS, *BAD)
    options = ["--out", out, "--errors", "bad.jsonl", "--brief"]
    assert cli.main(["score", "in.jsonl", *options]) == 1
    before = answers(out)
    write("in.jsonl", OURS, *BAD, {**OURS, "id": "8"})
    assert cli.main(["score", "in.jsonl", *options]) == 2
    assert "--resume" in capsys.readouterr().err
    assert cli.main(["score", "in.jsonl", *options, "--resume"]) == 1
    assert "1 scored (0 LLM tokens, 0.0000 USD); 1 kept from before; 3 could not" in (
        capsys.readouterr().err
    )
    after = answers(out)
    assert after[:-1] == before
    assert (after[-1]["id"], after[-1]["index"]) == ("8", 4)
    assert len(answers("bad.jsonl")) == 3


@pytest.mark.parametrize(
    "changed",
    [
        [{**OURS, "explanation": "slow animals"}, OURS],
        [OURS],
        [BAD[0], OURS, OURS],
        [NEURONPEDIA, OURS],
    ],
)
def test_changed_input_is_refused(changed: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    write("in.jsonl", OURS, {**OURS, "id": "8"})
    command = ["score", "in.jsonl", "--out", "out.jsonl"]
    assert cli.main(command) == 0
    before = Path("out.jsonl").read_bytes()
    write("in.jsonl", *changed)
    assert cli.main([*command, "--resume"]) == 2
    assert "the input has changed" in capsys.readouterr().err
    assert Path("out.jsonl").read_bytes() == before


def test_changed_options_are_refused_and_budgets_may_change(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("in.jsonl", OURS)
    command = ["score", "in.jsonl", "--out", "out.jsonl", "--resume"]
    assert cli.main([*command, "--tolerance", "0.2"]) == 0
    assert cli.main([*command, "--tolerance", "0.2", "--max-batch-llm-tokens", "9"]) == 0
    assert cli.main([*command, "--tolerance", "0.3"]) == 2
    assert "other options (options was {'tolerance': 0.2}" in capsys.readouterr().err
    assert cli.main([*command, "--tolerance", "0.2", "--explanation", "cats"]) == 2
    assert "explanation was None, is 'cats'" in capsys.readouterr().err


def test_packed_lines_go_from_a_pipe_to_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = io.BytesIO(gzip.compress(f"{json.dumps(OURS)}\n{BAD[1]}\n".encode()))
    pipe = SimpleNamespace(buffer=io.BufferedReader(packed))
    monkeypatch.setattr(sys, "stdin", pipe)
    assert cli.main(["score", "-", "--errors", "bad.jsonl"]) == 1
    shown = capsys.readouterr()
    assert [json.loads(line)["id"] for line in shown.out.splitlines()] == ["7"]
    assert shown.err.splitlines()[-1].endswith("1 could not be scored, see bad.jsonl")


def test_explanations_come_from_the_command_line_or_a_file_of_their_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("neuron.json", NEURON_RECORD)
    write("explanations.jsonl", SIMULATION_RESULTS)
    assert cli.main(["score", "neuron.json", "--explanations", "explanations.jsonl"]) == 0
    given = json.loads(capsys.readouterr().out)
    assert (given["id"], given["explanation"]) == ("9/6236", "fast animals")
    assert cli.main(["score", "neuron.json", "--explanation", "fast animals"]) == 0
    assert json.loads(capsys.readouterr().out)["score"] == given["score"]
    assert cli.main(["score", "neuron.json"]) == 2
    assert "explanation: expected a string" in capsys.readouterr().err


def test_parquet_is_scored_as_lines_are(capsys: pytest.CaptureFixture[str]) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([OURS]), "in.parquet")
    write("in.jsonl", OURS)
    for name in ("in.parquet", "in.jsonl"):
        assert cli.main(["score", name, "--brief"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert {**first, "digest": ""} == {**second, "digest": ""}


def test_a_dry_run_counts_what_cannot_be_scored(capsys: pytest.CaptureFixture[str]) -> None:
    write("in.jsonl", OURS, BAD[0], OURS)
    assert cli.main(["score", "in.jsonl", "--dry-run", "--errors", "bad.jsonl"]) == 1
    shown = capsys.readouterr()
    assert shown.out.startswith("requests: 2, with 4 records")
    assert shown.err.endswith("1 could not be scored, see bad.jsonl\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume"], "--resume needs --out"),
        (["--out", "in.jsonl"], "different files"),
        (["--out", "out.jsonl", "--errors", "in.jsonl"], "different files"),
        (["--out", "out.jsonl", "--tolerance", "7"], "tolerance: expected"),
    ],
)
def test_a_wrong_option_is_no_request_s_fault(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("in.jsonl", OURS)
    assert cli.main(["score", "in.jsonl", *options]) == 2
    assert message in capsys.readouterr().err
    assert [file.name for file in Path().iterdir()] == ["in.jsonl"]


def items(count: int) -> list[Item]:
    return list(read_items(Entry(line, "d", OURS) for line in range(1, count + 1)))


def test_what_was_spent_before_counts_towards_the_batch_s_budget(scorer: Scorer) -> None:
    output = open_output(Path("out.jsonl"), {}, resume=False)
    usage = {"prompt_tokens": 90, "completion_tokens": 5, "cost_usd": 0.5}
    for index in range(2):
        output.write({"index": index, "digest": "d", "usage": usage})
    batch = Allowance(Limit(tokens=200))
    run = Run(output, Faults(None), Limits(), batch, lambda: False)
    run.score(items(2), lambda calls: (call.run(scorer) for call in calls))
    output.close(complete=True)
    assert batch.covers(Usage(10))
    assert not batch.covers(Usage(11))


def test_who_stops_gets_what_was_taken_up(scorer: Scorer) -> None:
    output = open_output(Path("out.jsonl"), {}, resume=False)
    stopped: list[bool] = []
    run = Run(output, Faults(None), Limits(), Allowance(Limit()), lambda: bool(stopped))

    def three_at_once(calls: Any) -> Any:
        taken = [next(calls) for _ in range(3)]
        stopped.append(True)
        taken += calls
        return (call.run(scorer) for call in taken)

    tally = run.score(items(9), three_at_once)
    output.close(complete=False)
    assert (tally.scored, tally.interrupted) == (3, True)
    assert [row["index"] for row in answers("out.jsonl")] == [0, 1, 2]


def test_options_of_the_command_win_over_those_of_a_request() -> None:
    entry = Entry(1, "d", {"explanation": "x", "activations": RECORDS, "tolerance": 0.5})
    (item,) = read_items([entry], {"tolerance": 0.2})
    assert item.call(Limits()).tolerance == 0.2
