"""The day's budget, kept in an SQLite file, so that neither a restart nor a second process forgets
what was spent.

A reservation is one statement, so processes cannot spend the same remainder twice. What a process
held back when it was killed stays spent for that day: its calls may well be paid for. Unlike the
cache, whose faults cost a little money at worst, this is no convenience: without the file nothing
is spent.
"""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.budget import Limit, Reservation
from pipeline.errors import ConfigurationError, OverBudget, SimulatorError
from pipeline.settings import Settings
from pipeline.simulation import Usage

_log = logging.getLogger(__name__)

_WRITE_AHEAD = "PRAGMA journal_mode = WAL"
_TABLE = """
CREATE TABLE IF NOT EXISTS spending (
    day TEXT PRIMARY KEY,
    tokens INTEGER NOT NULL DEFAULT 0,
    cost_usd REAL NOT NULL DEFAULT 0
)"""
_OPEN_DAY = "INSERT OR IGNORE INTO spending (day) VALUES (:day)"
_SPENT = "SELECT tokens, cost_usd FROM spending WHERE day = ?"
_RESERVE = """
UPDATE spending SET tokens = tokens + :tokens, cost_usd = cost_usd + :cost
WHERE day = :day
    AND (:tokens = 0 OR :most_tokens IS NULL OR tokens + :tokens <= :most_tokens)
    AND (:cost = 0 OR :most_cost IS NULL OR cost_usd + :cost <= :most_cost)"""
_SETTLE = """
UPDATE spending SET tokens = max(tokens + :tokens, 0), cost_usd = max(cost_usd + :cost, 0)
WHERE day = :day"""
_SECONDS_TO_WAIT = 10.0


def _now() -> datetime:
    return datetime.now(UTC)


class DailyBudget:
    """A `Budget` for each UTC day. Safe for several threads and processes at once.

    Parameters
    ----------
    owner : name of the key whose budget it is; empty: that of the whole server.

    Raises
    ------
    ConfigurationError : if the file cannot be used.
    """

    def __init__(
        self, path: Path, limit: Limit, clock: Callable[[], datetime] = _now, owner: str = ""
    ) -> None:
        self._path = path
        self._limit = limit
        self._clock = clock
        self._owner = owner
        try:
            with closing(self._connect()) as db, db:
                db.execute(_WRITE_AHEAD)
                db.execute(_TABLE)
        except sqlite3.Error as error:
            raise ConfigurationError(
                f"CACHE_PATH: {path} cannot keep the day's budget ({error})"
            ) from None

    @classmethod
    def of(cls, settings: Settings) -> DailyBudget | None:
        """The one that the settings describe, or None where they set no limit.

        Raises
        ------
        ConfigurationError : if they name no file, or one that cannot be used.
        """
        limit = Limit(settings.daily_llm_tokens or None, settings.daily_cost_usd or None)
        if limit.unlimited:
            return None
        if not settings.cache_path:
            raise ConfigurationError(
                "DAILY_LLM_TOKENS and DAILY_COST_USD need CACHE_PATH: the SQLite file keeps what "
                "was spent"
            )
        return cls(Path(settings.cache_path), limit)

    def __str__(self) -> str:
        whose = f" for the key {self._owner}" if self._owner else ""
        return f"today's budget of {self._limit}{whose}"

    @property
    def limit(self) -> Limit:
        return self._limit

    def left(self) -> Limit:
        """What is neither spent nor held back today.

        Raises
        ------
        SimulatorError : if the file cannot be read.
        """
        try:
            with closing(self._connect()) as db:
                spent = db.execute(_SPENT, (self._today(),)).fetchone() or (0, 0.0)
        except sqlite3.Error as error:
            raise self._broken(error) from None
        return self._limit.less(*spent)

    def covers(self, worst: Usage) -> bool:
        return self.left().covers(worst)

    def reserve(self, worst: Usage) -> Reservation | None:
        if not self._limit.covers(worst):
            return None
        day = self._today()
        change = {
            "day": day,
            "tokens": worst.total_tokens,
            "cost": worst.cost_usd or 0.0,
            "most_tokens": self._limit.tokens,
            "most_cost": self._limit.cost_usd,
        }
        try:
            with closing(self._connect()) as db, db:
                db.execute(_OPEN_DAY, {"day": day})
                reserved = db.execute(_RESERVE, change).rowcount == 1
        except sqlite3.Error as error:
            raise self._broken(error) from None
        return Reservation(worst, day) if reserved else None

    def settle(self, reservation: Reservation, taken: Usage) -> None:
        """Give back what the call did not take, to the day that it was reserved on."""
        change = {
            "day": reservation.day,
            "tokens": taken.total_tokens - reservation.worst.total_tokens,
            "cost": (taken.cost_usd or 0.0) - (reservation.worst.cost_usd or 0.0),
        }
        try:
            with closing(self._connect()) as db, db:
                db.execute(_SETTLE, change)
        except sqlite3.Error as error:
            # The answer is there and paid for; too much stays held back, never too little.
            _log.warning("%s", self._broken(error))

    def refusal(self) -> OverBudget:
        """What a caller is told who does not want an answer without the LLM."""
        now = self._clock()
        midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
        return OverBudget(
            f'{self} is gone until midnight UTC; with "on_budget": "degrade" the estimate '
            "without the LLM is given",
            max(1, math.ceil((midnight - now).total_seconds())),
        )

    def _today(self) -> str:
        """The day, with its owner's name behind it: each has an account of its own."""
        return f"{self._clock().date().isoformat()} {self._owner}".rstrip()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=_SECONDS_TO_WAIT)

    def _broken(self, error: sqlite3.Error) -> SimulatorError:
        return SimulatorError(f"the record of what was spent today cannot be used ({error})")
