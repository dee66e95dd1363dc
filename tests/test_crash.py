"""A batch that is killed in the middle and started again: what is paid for twice."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import crash_batch
import httpx2
import pytest
from fault_server import Body, FaultServer, Reply, mark_first_words
from forked import Forked
from llm_server import LLMServer

from pipeline.archive import export
from pipeline.ledger import DailyBudget

REQUESTS, CALLS_A_REQUEST = 4, 3
Answer = Callable[[Body], Reply]


class Batch:
    """The process, and the server that it asks; `kill_at` is the call that it dies of."""

    def __init__(
        self,
        server: FaultServer,
        model: str,
        folder: Path,
        answer: Answer,
        requests: int = REQUESTS,
    ) -> None:
        self.server = server
        self.folder = folder
        self.cache = folder / "answers.sqlite"
        self.arguments = [server.base_url, model, str(self.cache), requests]
        self.answer = answer
        self.kill_at: int | None = None
        self.process: Forked | None = None
        server.otherwise = self._reply

    def _reply(self, body: Body) -> Reply:
        if len(self.server.requests) == self.kill_at:
            assert self.process
            os.kill(self.process.pid, signal.SIGKILL)
        return self.answer(body)

    def run(self, kill_at: int | None = None) -> list[Any]:
        """What the process printed before it ended or was killed."""
        self.kill_at = kill_at
        self.process = Forked(crash_batch.main, *self.arguments, folder=self.folder)
        assert self.process.wait() == (-signal.SIGKILL if kill_at else 0)
        return [json.loads(line) for line in self.process.out.read_text().splitlines()]

    def times_asked(self) -> Counter[str]:
        return Counter(json.dumps(body["messages"]) for body in self.server.requests)


# In the first call, at the end of a request, and in the last call.
@pytest.mark.parametrize("kill_at", [1, 6, REQUESTS * CALLS_A_REQUEST])
def test_a_killed_batch_pays_for_no_answer_twice(
    fault_server: FaultServer, tmp_path: Path, kill_at: int
) -> None:
    batch = Batch(fault_server, fault_server.model, tmp_path, mark_first_words)
    before = batch.run(kill_at)
    kept = sum(1 for _ in export(batch.cache)) if batch.cache.exists() else 0
    seen = len(fault_server.requests)
    # What was under way when it was killed is lost, which two at once allow to be two calls.
    assert seen - 2 <= kept <= seen - 1
    after = batch.run()
    assert len(fault_server.requests) - seen == REQUESTS * CALLS_A_REQUEST - kept
    assert len(batch.times_asked()) == REQUESTS * CALLS_A_REQUEST
    assert after[: len(before)] == [[*line[:2], 0, 0] for line in before]
    assert [line[0] for line in after] == list(range(REQUESTS))
    answers = len(fault_server.requests)
    again = batch.run()
    assert len(fault_server.requests) == answers
    assert [line[:2] for line in again] == [line[:2] for line in after]


def test_the_day_s_budget_knows_what_the_killed_process_spent(
    fault_server: FaultServer, tmp_path: Path
) -> None:
    batch = Batch(fault_server, fault_server.model, tmp_path, mark_first_words)
    batch.run(kill_at=5)
    batch.run()
    left = DailyBudget(batch.cache, crash_batch.DAY).left().tokens
    assert left is not None
    answers = REQUESTS * CALLS_A_REQUEST * 110
    spent = (crash_batch.DAY.tokens or 0) - left
    # The killed process' last round stays charged at its worst; the test may run over midnight.
    assert answers <= spent <= answers + 20_000 or left == crash_batch.DAY.tokens


def test_a_killed_batch_at_a_real_llm_asks_no_usable_answer_again(
    fault_server: FaultServer, llm_server: LLMServer, tmp_path: Path
) -> None:
    def forward(body: Body) -> Reply:
        url = f"{llm_server.base_url}/chat/completions"
        response = httpx2.post(url, json=body, timeout=60, trust_env=False)
        return Reply(response.status_code, response.text)

    batch = Batch(fault_server, llm_server.model, tmp_path, forward, requests=1)
    batch.run(kill_at=3)
    killed = len(fault_server.requests)
    usable = {answer["key"] for answer in export(batch.cache) if not answer["rejected"]}
    first = {answer["id"] for answer in export(batch.cache)}
    assert killed - 2 <= len(first) <= killed - 1
    batch.run()
    later = [answer for answer in export(batch.cache) if answer["id"] not in first]
    assert len(later) == len(fault_server.requests) - killed
    assert not usable & {answer["key"] for answer in later}
