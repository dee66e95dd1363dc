"""`neuron-scorer score --out` as a process of its own, killed or interrupted in the middle."""

from __future__ import annotations

import gzip
import json
import os
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from fault_server import Body, FaultServer, Reply, mark_first_words
from forked import Forked

from pipeline import cli
from pipeline.outputs import waiting_rows

REQUESTS = 12  # More than are read ahead.
RECORDS = [
    {"tokens": ["the ", " quick", " brown", " fox"], "values": [0, 2, 0, 2.5]},
    {"tokens": ["spotted ", " leopard", " sprints", " at"], "values": [0.5, 2.5, 1.5, 0]},
]


class Process:
    """The command, and the server that it asks; `deadly` is the call that brings the signal."""

    def __init__(self, server: FaultServer, folder: Path, out: str) -> None:
        self.server = server
        self.out = folder / out
        self.requests = folder / "in.jsonl"
        self.requests.write_text(
            "\n".join(
                json.dumps({"id": n, "explanation": f"fast animals {n}", "activations": RECORDS})
                for n in range(REQUESTS)
            )
        )
        self.environment = {
            "OPENAI_BASE_URL": server.base_url,
            "SIMULATOR_MODEL": server.model,
            # One after the other, so that the deadly call is one of a known request.
            "LLM_CONCURRENCY": "1",
        }
        self.signal = signal.SIGKILL
        self.deadly: int | None = None
        self.process: Forked | None = None
        server.otherwise = self._reply

    def _reply(self, body: Body) -> Reply:
        if len(self.server.requests) == self.deadly:
            assert self.process
            os.kill(self.process.pid, self.signal)
        return mark_first_words(body)

    def run(self, *options: str, deadly: int | None = None) -> tuple[int, str]:
        """The exit code and the last line on stderr."""
        self.deadly = deadly
        command = ["score", str(self.requests), "--out", str(self.out), "--tolerance", "1e-6"]
        self.process = Forked(
            cli.main, [*command, *options], folder=self.out.parent, **self.environment
        )
        code = self.process.wait()
        return code, (self.process.err.read_text().splitlines() or [""])[-1]

    def rows(self) -> list[dict[str, Any]]:
        """The whole answers that are there, by what other programs read them with."""
        path = self.out
        if path.suffix == ".parquet" and path.exists():
            found: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
            return found
        path = waiting_rows(path) if path.suffix == ".parquet" else path
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
            return [json.loads(line) for line in lines]

    def times_asked(self) -> Counter[str]:
        return Counter(body["messages"][-1]["content"] for body in self.server.requests)


def asked_once(process: Process, rows: Sequence[dict[str, Any]]) -> bool:
    """Whether each explanation was paid for a single time."""
    return all(
        sum(n for text, n in process.times_asked().items() if f"{row['explanation']}\n" in text)
        == 1
        for row in rows
    )


@pytest.mark.parametrize("out", ["out.jsonl.gz", "out.parquet"])
def test_a_killed_run_is_gone_on_with_and_nothing_is_lost_or_repeated(
    fault_server: FaultServer, tmp_path: Path, out: str
) -> None:
    process = Process(fault_server, tmp_path, out)
    assert process.run("--resume", deadly=3)[0] == -signal.SIGKILL
    before = process.rows()
    assert 1 <= len(before) < REQUESTS
    assert asked_once(process, before)
    code, last = process.run("--resume")
    assert code == 0
    assert f"{REQUESTS - len(before)} scored" in last
    assert f"{len(before)} kept from before" in last
    after = process.rows()
    assert [row["index"] for row in after] == list(range(REQUESTS))
    assert [row["id"] for row in after] == [str(n) for n in range(REQUESTS)]
    assert [row["usage"]["calls"] for row in after] == [1] * REQUESTS
    assert [row["score"] for row in after[: len(before)]] == [row["score"] for row in before]
    assert asked_once(process, before)
    # Without a cache the answers under way at the kill are paid again, and only these.
    assert len(fault_server.requests) <= REQUESTS + 1


def test_with_a_cache_and_a_torn_line_no_answer_is_paid_twice(
    fault_server: FaultServer, tmp_path: Path
) -> None:
    process = Process(fault_server, tmp_path, "out.jsonl")
    process.environment["CACHE_PATH"] = str(tmp_path / "answers.sqlite")
    process.run(deadly=4)
    whole = process.out.read_bytes()
    process.out.write_bytes(whole[:-10])
    assert process.run("--resume")[0] == 0
    assert [row["index"] for row in process.rows()] == list(range(REQUESTS))
    assert process.out.read_bytes().startswith(whole[: whole.rstrip().rfind(b"\n") + 1])
    # The torn answer came from the cache; the call that was under way had not arrived there.
    assert sorted(process.times_asked().values()) in ([1] * REQUESTS, [*[1] * (REQUESTS - 1), 2])


def test_an_interrupted_run_ends_what_it_pays_for(
    fault_server: FaultServer, tmp_path: Path
) -> None:
    process = Process(fault_server, tmp_path, "out.jsonl")
    process.signal = signal.SIGINT
    code, last = process.run(deadly=2)
    assert code == 130
    assert last.endswith("interrupted; --resume goes on")
    paid = len(fault_server.requests)
    assert [row["index"] for row in process.rows()] == list(range(paid))
    assert process.run("--resume")[0] == 0
    assert [row["index"] for row in process.rows()] == list(range(REQUESTS))
    assert len(fault_server.requests) == REQUESTS
