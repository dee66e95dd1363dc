from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.budget import Limit
from pipeline.cache import AnswerCache
from pipeline.errors import ConfigurationError, SimulatorError
from pipeline.ledger import DailyBudget
from pipeline.settings import Settings
from pipeline.simulation import Usage

LIMIT = Limit(tokens=100, cost_usd=1.0)


class Clock:
    def __init__(self, at: str = "2026-11-22T10:00:00") -> None:
        self.at = at

    def __call__(self) -> datetime:
        return datetime.fromisoformat(self.at).replace(tzinfo=UTC)


def took(tokens: int, cost_usd: float | None = 0.0) -> Usage:
    return Usage(prompt_tokens=tokens, cost_usd=cost_usd)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.sqlite"


def budget(path: Path, clock: Clock | None = None, limit: Limit = LIMIT) -> DailyBudget:
    return DailyBudget(path, limit, clock or Clock())


def test_what_was_spent_outlives_the_process(path: Path) -> None:
    one = budget(path)
    reserved = one.reserve(took(80, 0.5))
    assert reserved
    assert one.left() == Limit(20, 0.5)
    one.settle(reserved, took(60, 0.25))
    assert budget(path).left() == Limit(40, 0.75)


@pytest.mark.parametrize("worst", [took(101), took(1, 1.5), took(1, None)])
def test_more_than_is_left_is_not_given(path: Path, worst: Usage) -> None:
    one = budget(path)
    assert not one.covers(worst)
    assert one.reserve(worst) is None
    assert one.left() == LIMIT


def test_either_number_may_be_the_one_that_ends(path: Path) -> None:
    one = budget(path)
    assert one.reserve(took(60, 0.1))
    assert one.reserve(took(60, 0.1)) is None
    assert one.reserve(took(10, 0.95)) is None
    assert one.reserve(took(40, 0.9))
    assert one.left() == Limit(0, 0.0)
    assert one.reserve(Usage())


def test_a_limit_in_tokens_alone_asks_for_no_price(path: Path) -> None:
    one = budget(path, limit=Limit(tokens=100))
    assert one.reserve(took(100, None))
    assert one.left() == Limit(tokens=0)


def test_a_new_utc_day_has_a_budget_of_its_own(path: Path) -> None:
    clock = Clock("2026-11-22T23:59:59")
    one = budget(path, clock)
    reserved = one.reserve(took(100, 0.5))
    assert reserved
    clock.at = "2026-11-23T00:00:00"
    assert one.left() == LIMIT
    assert one.reserve(took(70))
    # The call that ran over midnight is settled with the day that it was reserved on.
    one.settle(reserved, took(40, 0.25))
    assert one.left().tokens == 30
    clock.at = "2026-11-22T23:59:59"
    assert one.left() == Limit(60, 0.75)


@pytest.mark.parametrize(
    ("at", "seconds"),
    [
        ("2026-11-22T00:00:00", 86_400),
        ("2026-11-22T23:59:59", 1),
        ("2026-11-22T23:59:59.999", 1),
        ("2026-12-31T12:00:00", 43_200),
    ],
)
def test_a_refusal_tells_the_seconds_to_midnight(path: Path, at: str, seconds: int) -> None:
    refusal = budget(path, Clock(at)).refusal()
    assert (refusal.status, refusal.retry_after) == (429, seconds)
    assert "today's budget of 100 LLM tokens and 1 USD is gone" in str(refusal)


def _spend(path: str, results: Any) -> None:
    one = DailyBudget(Path(path), Limit(tokens=100))
    results.put(sum(one.reserve(took(7)) is not None for _ in range(20)))


def test_processes_cannot_spend_the_same_remainder(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    processes = [context.Process(target=_spend, args=(str(path), results)) for _ in range(3)]
    for process in processes:
        process.start()
    given = sum(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
        process.close()
    results.close()
    results.join_thread()
    assert given == 14


def test_a_killed_process_leaves_its_reservation_spent(path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from pipeline.budget import Limit;"
        "from pipeline.ledger import DailyBudget; from pipeline.simulation import Usage;"
        "DailyBudget(Path(sys.argv[1]), Limit(tokens=100)).reserve(Usage(prompt_tokens=30));"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code, path], check=False, env=environment)
    assert run.returncode == -signal.SIGKILL
    left = DailyBudget(path, Limit(tokens=100)).left()
    # The test may run over midnight.
    assert left.tokens in {70, 100}


def test_it_shares_the_file_with_the_answers(path: Path) -> None:
    assert budget(path).reserve(took(1))
    AnswerCache(path)
    assert budget(path).left().tokens == 99


def test_a_file_that_breaks_spends_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = budget(path)
    reserved = one.reserve(took(1))
    assert reserved
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TABLE spending")
    for spend in (one.left, lambda: one.covers(took(1)), lambda: one.reserve(took(1))):
        with pytest.raises(SimulatorError, match="no such table"):
            spend()
    one.settle(reserved, took(1))
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_a_file_that_cannot_be_used_stops_the_start(path: Path) -> None:
    path.write_text("not a database" * 100)
    with pytest.raises(ConfigurationError, match="CACHE_PATH"):
        budget(path)


def test_the_settings_say_whether_there_is_one(path: Path) -> None:
    assert DailyBudget.of(Settings(cache_path=str(path))) is None
    found = DailyBudget.of(Settings(cache_path=str(path), daily_llm_tokens=5, daily_cost_usd=0.5))
    assert found
    assert found.limit == Limit(5, 0.5)
    with pytest.raises(ConfigurationError, match="need CACHE_PATH"):
        DailyBudget.of(Settings(daily_llm_tokens=5))
