from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fault_server import Body, FaultServer, Reply, mark_first_words

from pipeline.settings import Settings
from stages.named import simulator_from
from stages.turns import Turns


def test_the_same_name_takes_turns_and_another_does_not_wait() -> None:
    turns = Turns()
    inside = threading.Semaphore(0)

    def enter() -> None:
        with turns.of("a"):
            inside.release()

    with turns.of("a"):
        waiting = threading.Thread(target=enter)
        waiting.start()
        with turns.of("b"):
            assert not inside.acquire(timeout=0.1)
    assert inside.acquire(timeout=10)
    waiting.join()
    assert not turns._waiting


def test_who_asks_the_same_at_the_same_time_pays_once(
    fault_server: FaultServer, tmp_path: Path
) -> None:
    def slow(body: Body) -> Reply:
        fault_server.released.wait(0.2)
        return mark_first_words(body)

    fault_server.otherwise = slow
    url, cache = fault_server.base_url, str(tmp_path / "answers.sqlite")
    made = simulator_from(Settings(openai_base_url=url, cache_path=cache))
    assert made
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: made.simulate("numbers", [[" One", " two"]]), range(6)))
    made.close()
    assert len(fault_server.requests) == 1
    assert sum(one.usage.calls for one in found) == 1
    assert not any(one.failures for one in found)
