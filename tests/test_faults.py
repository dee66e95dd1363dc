"""What a running server does while something around it is broken, and that it heals by itself."""

from __future__ import annotations

import itertools
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import fault_server
import httpx2
import pytest
from fault_server import CUT, DRIP, DROP, HANG, Behaviour, Body, FaultServer, Reply, error
from server_process import ServerProcess, started
from serving import ROOT

from pipeline.archive import export

API_KEY, SERVER_KEY, ALICE = "sk-the-api-key", "the-server-key", "alices-secret"
TIMEOUT, PAUSE = 1.0, 0.2


class Setup:
    """A server process and the LLM that it asks, which can be stopped and started again."""

    def __init__(self, server: ServerProcess, port: int) -> None:
        self.server = server
        self._port = port
        self._running = ExitStack()
        self._numbers = itertools.count()
        self.answers: list[str] = []
        self.start()

    def start(self) -> None:
        self.llm: FaultServer = self._running.enter_context(fault_server.serve(self._port))

    def stop(self) -> None:
        self._running.close()

    def post(self, secret: str = SERVER_KEY, **request: Any) -> httpx2.Response:
        """Ask what was never asked before, so that no answer is in the cache."""
        explanation = f"animals, kind {next(self._numbers)}"
        response = self.server.post(explanation, secret=secret, **request)
        self.answers.append(response.text)
        return response

    def score(self) -> dict[str, Any]:
        response = self.post()
        assert response.status_code == 200, response.text
        found: dict[str, Any] = json.loads(response.text)
        assert isinstance(found["score"], float)
        return found

    def heals(self) -> None:
        """The LLM is asked again soon, with nobody's doing."""
        deadline = time.monotonic() + 20
        while (found := self.score())["status"] != "ok":
            assert time.monotonic() < deadline, found["reason"]
            time.sleep(PAUSE)
        assert found["usage"]["calls"] == 1


@pytest.fixture(scope="module")
def started_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    with fault_server.serve() as first:
        port = int(first.base_url.rpartition(":")[2].partition("/")[0])
    folder = tmp_path_factory.mktemp("server")
    keys = folder / "keys.json"
    keys.write_text(json.dumps({"alice": {"secret": ALICE, "daily_llm_tokens": 1}}))
    with started(
        folder,
        OPENAI_BASE_URL=f"http://127.0.0.1:{port}/v1",
        OPENAI_API_KEY=API_KEY,
        SIMULATOR_MODEL="scripted",
        SERVER_KEY=SERVER_KEY,
        SERVER_KEYS_PATH=str(keys),
        CACHE_PATH=str(folder / "answers.sqlite"),
        DAILY_LLM_TOKENS="100000000",
        LLM_TIMEOUT=str(TIMEOUT),
        LLM_RETRIES="1",
        LLM_PAUSE=str(PAUSE),
        # The kernels for bfloat16 crash where memory runs out.
        ENCODER_PRECISION="float32",
    ) as server:
        made = Setup(server, port)
        try:
            yield made
        finally:
            made.stop()


@pytest.fixture
def setup(started_once: Setup) -> Setup:
    """One that is in good health, whatever the last test did."""
    started_once.llm.script.clear()
    started_once.llm.otherwise = fault_server.mark_first_words
    started_once.heals()
    return started_once


# The LLM


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        pytest.param(HANG, "no answer within 1 s", id="hangs"),
        pytest.param(DRIP, "no answer within 1 s", id="trickles"),
        pytest.param(CUT, "connection", id="killed in mid-answer"),
        pytest.param(DROP, "connection", id="killed before the answer"),
        pytest.param(error(401, f"no such key: {API_KEY}"), "refused the API key", id="401"),
        pytest.param(error(403), "refused the API key", id="403"),
        pytest.param(error(429), "HTTP 429", id="429"),
        pytest.param(error(429, retry_after="1"), "HTTP 429", id="429, says when"),
        pytest.param(error(500, f"sent with {API_KEY}"), "HTTP 500", id="500"),
        pytest.param(Reply(200, "<html>sorry"), "cannot be read", id="garbage"),
        pytest.param(Reply(200, '{"choices": '), "cannot be read", id="half a JSON"),
    ],
)
def test_an_llm_that_fails_degrades_answers_until_it_is_back(
    setup: Setup, behaviour: Behaviour, reason: str
) -> None:
    setup.llm.otherwise = behaviour
    found = setup.score()
    assert (found["route"], found["status"]) == ("cheap", "degraded")
    assert reason in found["reason"]
    setup.llm.otherwise = fault_server.mark_first_words
    setup.heals()


def test_an_llm_that_is_down_degrades_answers_until_it_is_back(setup: Setup) -> None:
    setup.stop()
    try:
        found = setup.score()
        assert found["status"] == "degraded"
        # A slow machine may take longer to refuse a connection than we wait for an answer.
        assert re.search(r"connection to the LLM endpoint|gave no answer", found["reason"])
    finally:
        setup.start()
    setup.heals()


def test_an_llm_that_is_slow_is_waited_for(setup: Setup) -> None:
    def slow(body: Body) -> Reply:
        setup.llm.released.wait(0.6 * TIMEOUT)
        return fault_server.mark_first_words(body)

    setup.llm.otherwise = slow
    assert setup.score()["status"] == "ok"


def test_a_dead_llm_does_not_cost_every_request_its_timeout(setup: Setup) -> None:
    setup.llm.otherwise = HANG
    asked = len(setup.llm.requests)
    # The pause doubles with every try in vain, until it is longer than a score takes here.
    found = [setup.score()]
    while "it is left alone for" not in found[-1]["reason"]:
        assert len(found) < 20
        found.append(setup.score())
    assert {one["status"] for one in found} == {"degraded"}
    assert len(setup.llm.requests) - asked < len(found)
    setup.llm.otherwise = fault_server.mark_first_words
    setup.heals()


# The file of the cache


@contextmanager
def limited(setup: Setup, what: int, most: int) -> Iterator[None]:
    """Let the process have no more of something for a while."""
    pid, (soft, hard) = setup.server.process.pid, resource.prlimit(setup.server.process.pid, what)
    resource.prlimit(pid, what, (most, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, what, (soft, hard))


@contextmanager
def read_only(setup: Setup) -> Iterator[None]:
    files = [setup.server.folder, *setup.server.folder.glob("answers.sqlite*")]
    modes = [file.stat().st_mode for file in files]
    for file in files:
        file.chmod(0o555)
    try:
        yield
    finally:
        for file, mode in zip(files, modes, strict=True):
            file.chmod(mode)


@contextmanager
def corrupted(setup: Setup) -> Iterator[None]:
    cache = setup.server.folder / "answers.sqlite"
    for extra in ("-wal", "-shm"):
        cache.with_name(cache.name + extra).unlink(missing_ok=True)
    content = cache.read_bytes()
    cache.write_bytes(b"corrupted " * 1000)
    try:
        yield
    finally:
        cache.write_bytes(content)


@contextmanager
def disk_full(setup: Setup) -> Iterator[None]:
    with limited(setup, resource.RLIMIT_FSIZE, 1):
        yield


@pytest.mark.parametrize("fault", [disk_full, read_only, corrupted])
def test_a_budget_that_cannot_be_kept_is_not_spent_until_it_can(setup: Setup, fault: Any) -> None:
    asked = len(setup.llm.requests)
    with fault(setup):
        found = setup.score()
        assert found["status"] == "degraded"
        assert "the record of what was spent today cannot be used" in found["reason"]
        assert len(setup.llm.requests) == asked
    setup.heals()


def test_memory_that_runs_out_fails_one_request_and_not_the_server(setup: Setup) -> None:
    record = {"tokens": [" fox", " den"] * 1000, "values": [1.0, 0.0] * 1000}
    with limited(setup, resource.RLIMIT_AS, setup.server.addressed + 1_000_000):
        response = setup.post(activations=[record] * 20)
        assert response.status_code == 500, response.text[:300]
        assert response.json()["code"] == "internal"
    assert setup.server.process.poll() is None
    setup.heals()


# What it leaves behind; after all faults


def test_keys_and_secrets_are_found_nowhere(setup: Setup) -> None:
    setup.llm.script = [error(500, f"told {API_KEY}")] * 2
    assert setup.score()["status"] == "degraded"
    assert setup.post(secret="wrong").status_code == 401
    assert setup.post(secret=ALICE).status_code == 429
    assert setup.post(secret=SERVER_KEY, activations=[]).status_code == 400
    folder = setup.server.folder
    left = [path for path in folder.rglob("*") if path.is_file() and path.name != "keys.json"]
    assert {path.name for path in left} >= {"err", "answers.sqlite"}
    kept = b"".join(path.read_bytes() for path in left)
    assert b"animals" not in setup.server.log.encode()
    said = "".join([*setup.answers, setup.server.get("/metrics").text, setup.server.get("/").text])
    asked = json.dumps(setup.llm.requests)
    for secret in (API_KEY, SERVER_KEY, ALICE):
        assert secret.encode() not in kept
        assert secret not in said
        assert secret not in asked
    # The LLM gets its key, and none of ours.
    headers = json.dumps(setup.llm.headers)
    assert API_KEY in headers
    assert SERVER_KEY not in headers


# The process itself


def test_two_servers_share_a_cache_and_one_stops_in_time_under_load(
    setup: Setup, tmp_path: Path
) -> None:
    cache = setup.server.folder / "answers.sqlite"
    entered = threading.Semaphore(0)

    def hang(body: Body) -> str:
        entered.release()
        return HANG

    with started(
        tmp_path,
        OPENAI_BASE_URL=setup.llm.base_url,
        SIMULATOR_MODEL="scripted",
        CACHE_PATH=str(cache),
        LLM_TIMEOUT="60",
    ) as second:
        first = setup.server
        explanations = [f"both ask, {number}" for number in range(4)]
        with ThreadPoolExecutor(4) as pool:
            one = pool.map(lambda text: first.post(text, secret=SERVER_KEY), explanations)
            other = pool.map(second.post, reversed(explanations))
            answers = [response.json() for response in [*one, *other]]
        assert {answer["status"] for answer in answers} == {"ok"}
        again = [first.post(text, secret=SERVER_KEY).json() for text in explanations]
        assert {answer["usage"]["calls"] for answer in again} == {0}
        assert sum(1 for _ in export(cache)) >= len(explanations)

        setup.llm.otherwise = hang
        with ThreadPoolExecutor(4) as pool:
            waiting = [pool.submit(second.post, f"stopped {number}") for number in range(3)]
            assert all(entered.acquire(timeout=30) for _ in waiting)
            start = time.monotonic()
            os.kill(second.process.pid, signal.SIGTERM)
            ended = [future.result().json() for future in waiting]
        assert second.process.wait(timeout=10) == 0
        assert time.monotonic() - start < 10
        assert [answer["status"] for answer in ended] == ["degraded"] * 3
        assert "closed by this side" in ended[0]["reason"]
        assert second.log.rstrip().endswith("stopped")
        assert "Traceback" not in second.log


def test_too_little_memory_to_start_is_a_clear_failure(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, ROOT / "server.py"], cwd=tmp_path, stderr=subprocess.PIPE
    ) as process:
        resource.prlimit(process.pid, resource.RLIMIT_AS, (1_200_000_000, 1_200_000_000))
        said = process.communicate(timeout=60)[1].decode()
    assert process.returncode != 0
    # Where the memory ends, a library may speak before we can.
    assert "memory" in said or "failed to map" in said
