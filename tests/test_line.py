from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fault_server import DROP, HANG, Body, FaultServer, Reply, error, mark_first_words

from pipeline.errors import ConfigurationError, SimulatorError
from pipeline.settings import Settings
from stages.endpoint import Endpoint
from stages.line import Lost
from stages.question import Chat

QUESTION = Chat([{"role": "user", "content": "<texts>\n[0] One two\n</texts>"}], {}, 10)


def endpoint(server: FaultServer, **changes: object) -> Endpoint:
    given = {"llm_retries": 0, "llm_timeout": 5.0, **changes}
    return Endpoint(Settings(openai_base_url=server.base_url, **given))  # type: ignore[arg-type]


def test_closing_ends_what_is_under_way_and_what_waits(fault_server: FaultServer) -> None:
    entered = threading.Semaphore(0)

    def hang(body: Body) -> str:
        entered.release()
        return HANG

    fault_server.otherwise = hang
    asked = endpoint(fault_server, llm_concurrency=1, llm_timeout=60.0)
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(asked.ask, QUESTION) for _ in range(3)]
        assert entered.acquire(timeout=10)
        start = time.monotonic()
        asked.close()
        errors = [future.exception() for future in futures]
    assert time.monotonic() - start < 5
    # Only what was sent may be charged for.
    assert sorted(isinstance(one, Lost) for one in errors) == [False, False, True]
    assert all(isinstance(one, SimulatorError) for one in errors)
    assert len(fault_server.requests) == 1
    fault_server.otherwise = mark_first_words
    assert asked.ask(QUESTION).content
    asked.close()


def test_a_call_ends_in_its_time_however_the_endpoint_puts_it_off(
    fault_server: FaultServer,
) -> None:
    fault_server.otherwise = error(429, retry_after="2")
    start = time.monotonic()
    with pytest.raises(SimulatorError, match="HTTP 429"):
        endpoint(fault_server, llm_retries=100, llm_timeout=3.5).ask(QUESTION)
    assert time.monotonic() - start < 3.5
    assert len(fault_server.requests) == 2


def test_all_wait_where_the_endpoint_says_how_long(fault_server: FaultServer) -> None:
    fault_server.script = [error(429, retry_after="100")]
    asked = endpoint(fault_server, llm_retries=3)
    for left in ("HTTP 429", "left alone for another 100 s"):
        with pytest.raises(SimulatorError, match=left):
            asked.ask(QUESTION)
    assert len(fault_server.requests) == 1


def test_what_the_endpoint_refuses_by_itself_does_not_make_it_down(
    fault_server: FaultServer,
) -> None:
    fault_server.otherwise = error(404, "no such model")
    asked = endpoint(fault_server)
    for _ in range(4):
        with pytest.raises(SimulatorError, match="no such model"):
            asked.ask(QUESTION)
    assert len(fault_server.requests) == 4


def test_one_call_tries_whether_it_is_back(fault_server: FaultServer) -> None:
    def slow(body: Body) -> Reply:
        time.sleep(0.3)
        return mark_first_words(body)

    fault_server.script = [DROP, DROP]
    fault_server.otherwise = slow
    asked = endpoint(fault_server, llm_pause=0.1)
    for _ in range(2):
        with pytest.raises(Lost):
            asked.ask(QUESTION)
    time.sleep(0.2)
    with ThreadPoolExecutor(4) as pool:
        outcomes = [pool.submit(asked.ask, QUESTION) for _ in range(4)]
        errors = [future.exception() for future in outcomes]
    assert sum(one is None for one in errors) == 1
    assert len(fault_server.requests) == 3
    assert asked.ask(QUESTION).content
    asked.close()


def test_a_server_without_tls_is_not_asked_in_the_clear(fault_server: FaultServer) -> None:
    url = fault_server.base_url.replace("http:", "https:")
    asked = Endpoint(Settings(openai_base_url=url, llm_retries=0, openai_api_key="sk-private"))
    with pytest.raises(SimulatorError, match=r"could not be secured \(TLS\)") as caught:
        asked.ask(QUESTION)
    assert not isinstance(caught.value, Lost)
    assert not fault_server.requests


def test_a_password_in_the_url_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="OPENAI_BASE_URL") as caught:
        Endpoint(Settings(openai_base_url="https://me:s3cret@llm.example/v1"))
    assert "s3cret" not in str(caught.value)
