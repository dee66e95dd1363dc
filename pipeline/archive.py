"""Looks through the file of raw LLM answers: what it holds, all of it as JSON, and less of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.cache import AnswerCache
from pipeline.errors import ConfigurationError

_HOLDINGS = """
SELECT model, endpoint, count(*), sum(rejected),
    (SELECT count(*) FROM texts JOIN answers AS a ON texts.answer = a.id
        WHERE a.model = answers.model AND a.endpoint = answers.endpoint),
    sum(prompt_tokens), sum(completion_tokens), sum(cost_usd), sum(cost_usd IS NULL)
FROM answers GROUP BY model, endpoint ORDER BY model, endpoint"""
_PRUNE = """
DELETE FROM answers WHERE (:model IS NULL OR model = :model)
    AND (:days IS NULL OR julianday('now') - julianday(received) > :days)"""
_PRUNE_TEXTS = "DELETE FROM texts WHERE answer NOT IN (SELECT id FROM answers)"
_SECONDS_TO_WAIT = 10.0


@dataclass(frozen=True, slots=True)
class Holding:
    """What the file holds of one model.

    Attributes
    ----------
    model, endpoint : empty for answers of the first version, which did not note them.
    answers : raw answers; `rejected` of them were of no use.
    texts : single texts that need not be asked about again.
    cost_usd : of the answers whose price was known; `unpriced` of them had none.
    """

    model: str
    endpoint: str
    answers: int
    rejected: int
    texts: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    unpriced: int


def holdings(path: Path) -> list[Holding]:
    """What the file holds, by model.

    Raises
    ------
    ConfigurationError : if it is no file of answers, here as in the other functions.
    """
    with _opened(path) as db:
        return [Holding(*row) for row in db.execute(_HOLDINGS)]


def export(path: Path) -> Iterator[dict[str, Any]]:
    """Every raw answer with all that is known of it, oldest first."""
    with _opened(path) as db:
        db.row_factory = sqlite3.Row
        for row in db.execute("SELECT * FROM answers ORDER BY id"):
            yield {**row, "rejected": bool(row["rejected"])}


def prune(path: Path, older_than_days: float | None = None, model: str | None = None) -> int:
    """Remove the answers to which all that is given applies, and say how many they were.

    The file does not shrink; what is freed is filled by the next answers.
    """
    if older_than_days is None and model is None:
        return 0
    with _opened(path) as db, db:
        removed = db.execute(_PRUNE, {"model": model, "days": older_than_days}).rowcount
        db.execute(_PRUNE_TEXTS)
        return removed


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        raise ConfigurationError(f"{path}: there is no such file of answers")
    try:
        with closing(sqlite3.connect(path, timeout=_SECONDS_TO_WAIT)) as db:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'answers'").fetchone():
                raise ConfigurationError(f"{path}: is not a file of answers")
            # Brings a file of the first version up to date.
            AnswerCache(path)
            yield db
    except sqlite3.Error as error:
        raise ConfigurationError(f"{path}: cannot be used as a file of answers ({error})") from None
