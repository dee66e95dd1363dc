"""Keeps raw LLM answers in an SQLite file, so that nothing paid for is paid for twice.

A row is written as soon as an answer arrives, before anyone tries to read it. Answers of no use at
all (refusals, garbage) are kept as well, but marked as rejected and never served again: else one
bad answer would bar its question for ever. The cache is a convenience: whatever is wrong with the
file is logged, and the score goes on without it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)

_WRITE_AHEAD = "PRAGMA journal_mode = WAL"
_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    content TEXT,
    finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    received TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    rejected INTEGER NOT NULL DEFAULT 0
)"""
_INDEX = "CREATE INDEX IF NOT EXISTS answers_by_key ON answers (key)"
_SELECT = """
SELECT content, finish_reason, prompt_tokens, completion_tokens FROM answers
WHERE key = ? AND NOT rejected ORDER BY id DESC LIMIT 1"""
_INSERT = """
INSERT INTO answers (key, content, finish_reason, prompt_tokens, completion_tokens)
VALUES (?, ?, ?, ?, ?)"""
_REJECT = "UPDATE answers SET rejected = 1 WHERE key = ?"
_SECONDS_TO_WAIT = 10.0


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What an LLM sent back, unread; `content` is None where it refused."""

    content: str | None
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


def answer_key(
    endpoint: str,
    model: str,
    prompt_version: str,
    messages: Sequence[Mapping[str, str]],
    attempt: int,
) -> str:
    """SHA-256 over all that decides what is asked of whom."""
    question = [endpoint, model, prompt_version, [dict(message) for message in messages], attempt]
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


class AnswerCache:
    """Raw answers by `answer_key`; safe for several threads and processes at once.

    Every call opens the file anew, which costs a fraction of a millisecond beside an LLM's
    seconds and leaves no connection to share between threads or to close.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        for statement in (_WRITE_AHEAD, _TABLE, _INDEX):
            self._execute("prepare", statement)

    def get(self, key: str) -> RawAnswer | None:
        """The latest answer that was not rejected."""
        row = self._execute("read", _SELECT, key)
        return None if row is None else RawAnswer(*row)

    def put(self, key: str, answer: RawAnswer) -> None:
        """Add an answer; those that the question had before stay in the file."""
        self._execute("write", _INSERT, key, *astuple(answer))

    def reject(self, key: str) -> None:
        """Keep the answers to this question, but serve them no more."""
        self._execute("write", _REJECT, key)

    def _execute(self, purpose: str, statement: str, *arguments: object) -> tuple[Any, ...] | None:
        """The first row of the result; what fails is logged and left out."""
        try:
            with closing(sqlite3.connect(self._path, timeout=_SECONDS_TO_WAIT)) as db, db:
                row: tuple[Any, ...] | None = db.execute(statement, arguments).fetchone()
                return row
        # Values that SQLite cannot hold, such as lone surrogates, are no errors of its own.
        except (sqlite3.Error, ValueError, OverflowError) as error:
            _log.warning("cannot %s the answer cache %s: %s", purpose, self._path, error)
            return None
