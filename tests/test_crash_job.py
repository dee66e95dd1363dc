"""A batch job that is killed in the middle and gone on with: what is sent or paid for twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import batch_server
import crash_job
import pytest
from batch_server import BatchServer
from forked import Forked

from pipeline.archive import export


@pytest.fixture
def provider() -> Iterator[BatchServer]:
    with batch_server.serve() as server:
        yield server


def run(provider: BatchServer, folder: Path, kill_at: str = "-") -> int:
    """The process's status; it is killed when it sends a request, which the server then handles."""
    process = Forked(crash_job.main, provider.base_url, provider.model, str(folder), folder=folder)

    def kill(request: str) -> None:
        if request.startswith(kill_at):
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

    provider.before = kill
    return process.wait()


def test_a_job_that_is_killed_at_every_step_pays_for_nothing_twice(
    provider: BatchServer, tmp_path: Path
) -> None:
    for kill_at in ("POST /chat/completions", "POST /files", "POST /batches", "GET /files/"):
        assert run(provider, tmp_path, kill_at) == -signal.SIGKILL
    assert run(provider, tmp_path) == 0
    assert provider.seen.count("POST /batches") == 1
    assert set(provider.answered.values()) == {1}
    assert len(provider.answered) == crash_job.REQUESTS - 1
    kept = list(export(tmp_path / "cache.sqlite"))
    assert len(kept) == len({answer["key"] for answer in kept}) == crash_job.REQUESTS
    # The trial was under way when its sender was killed; no other request is sent by itself.
    assert len(provider.at_once) == 2
