"""Keeps raw LLM answers in an SQLite file, so that nothing paid for is paid for twice.

A row is written as soon as an answer arrives, before anyone tries to read it. Answers of no use at
all (refusals, garbage) are kept as well, but marked as rejected and never served again: else one
bad answer would bar its question for ever. What an answer says of each text is kept beside it, so
that a text is not paid for again where it is asked about in other company. The cache is a
convenience: whatever is wrong with the file is logged, and the score goes on without it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TypeVar

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_WRITE_AHEAD = "PRAGMA journal_mode = WAL"
_ANSWERS = """
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
_LATER_COLUMNS = {
    "endpoint": "TEXT NOT NULL DEFAULT ''",
    "model": "TEXT NOT NULL DEFAULT ''",
    "prompt_version": "TEXT NOT NULL DEFAULT ''",
    "cost_usd": "REAL",
}
_TEXTS = """
CREATE TABLE IF NOT EXISTS texts (
    key TEXT PRIMARY KEY,
    content TEXT NOT NULL,
    answer INTEGER NOT NULL
) WITHOUT ROWID"""
_INDICES = (
    "CREATE INDEX IF NOT EXISTS answers_by_key ON answers (key)",
    "CREATE INDEX IF NOT EXISTS texts_by_answer ON texts (answer)",
)
_SELECT = """
SELECT content, finish_reason, prompt_tokens, completion_tokens FROM answers
WHERE key = ? AND NOT rejected ORDER BY id DESC LIMIT 1"""
_INSERT = """
INSERT INTO answers (key, content, finish_reason, prompt_tokens, completion_tokens,
    endpoint, model, prompt_version, cost_usd)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_INSERT_NEW = f"""{_INSERT.partition("VALUES")[0]}
SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?
WHERE NOT EXISTS (SELECT 1 FROM answers WHERE key = ? AND NOT rejected)"""
_REJECT = "UPDATE answers SET rejected = 1 WHERE key = ?"
_SELECT_TEXT = "SELECT content FROM texts WHERE key = ?"
_INSERT_TEXT = """
INSERT OR REPLACE INTO texts (key, content, answer)
SELECT ?, ?, id FROM answers WHERE key = ? ORDER BY id DESC LIMIT 1"""
_SECONDS_TO_WAIT = 10.0


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What an LLM sent back, unread; `content` is None where it refused."""

    content: str | None
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Source:
    """Who is asked, and in which wording; empty where it is not known."""

    endpoint: str = ""
    model: str = ""
    prompt_version: str = ""

    def text_key(self, explanation: str, subject: str) -> str:
        """SHA-256 over what decides the answer for one text, whatever it is asked together with."""
        return _digest([*astuple(self), explanation, subject])


def answer_key(
    endpoint: str,
    model: str,
    prompt_version: str,
    messages: Sequence[Mapping[str, str]],
    attempt: int,
) -> str:
    """SHA-256 over all that decides what is asked of whom."""
    return _digest(
        [endpoint, model, prompt_version, [dict(message) for message in messages], attempt]
    )


def _digest(question: object) -> str:
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


class AnswerCache:
    """Raw answers by `answer_key`; safe for several threads and processes at once.

    Every call opens the file anew, which costs a fraction of a millisecond beside an LLM's
    seconds and leaves no connection to share between threads or to close.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._run("prepare", _prepare)

    def get(self, key: str) -> RawAnswer | None:
        """The latest answer that was not rejected."""
        row = self._run("read", lambda db: db.execute(_SELECT, (key,)).fetchone())
        return None if row is None else RawAnswer(*row)

    def put(
        self,
        key: str,
        answer: RawAnswer,
        source: Source | None = None,
        cost_usd: float | None = None,
    ) -> None:
        """Add an answer; those that the question had before stay in the file."""
        row = (key, *astuple(answer), *astuple(source or Source()), cost_usd)
        self._run("write", lambda db: db.execute(_INSERT, row))

    def put_new(
        self, answers: Mapping[str, tuple[RawAnswer, float | None]], source: Source
    ) -> bool:
        """Add answers with their costs by `answer_key`, all or none of them.

        Questions that have an answer keep it, so that it does no harm to add the same ones twice.
        False if they could not be written.
        """
        who = astuple(source)
        rows = [(key, *astuple(answer), *who, cost, key) for key, (answer, cost) in answers.items()]
        written = self._run("write", lambda db: db.executemany(_INSERT_NEW, rows))
        return written is not None

    def reject(self, key: str) -> None:
        """Keep the answers to this question, but serve them no more."""
        self._run("write", lambda db: db.execute(_REJECT, (key,)))

    def get_texts(self, keys: Sequence[str]) -> dict[str, str]:
        """What is known of each text, by `Source.text_key`; unknown ones are left out."""

        def read(db: sqlite3.Connection) -> dict[str, str]:
            rows = ((key, db.execute(_SELECT_TEXT, (key,)).fetchone()) for key in keys)
            return {key: row[0] for key, row in rows if row}

        return self._run("read", read) or {}

    def put_texts(self, answer: str, contents: Mapping[str, str]) -> None:
        """Keep what the answer with this `answer_key` says of each text."""
        rows = [(key, content, answer) for key, content in contents.items()]
        self._run("write", lambda db: db.executemany(_INSERT_TEXT, rows))

    def _run(self, purpose: str, work: Callable[[sqlite3.Connection], _T]) -> _T | None:
        """Do it in one transaction; what fails is logged and left out."""
        try:
            try:
                return self._in_file(work)
            except sqlite3.OperationalError as error:
                # Somebody removed the file, perhaps because it was broken.
                if "no such table" not in str(error) or work is _prepare:
                    raise
                self._in_file(_prepare)
                return self._in_file(work)
        # Values that SQLite cannot hold, such as lone surrogates, are no errors of its own.
        except (sqlite3.Error, ValueError, OverflowError) as error:
            _log.warning("cannot %s the answer cache %s: %s", purpose, self._path, error)
            return None

    def _in_file(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        with closing(sqlite3.connect(self._path, timeout=_SECONDS_TO_WAIT)) as db, db:
            return work(db)


def _prepare(db: sqlite3.Connection) -> None:
    # SQLite does not wait while another connection turns the same new file to this mode.
    end = time.monotonic() + _SECONDS_TO_WAIT
    while True:
        try:
            db.execute(_WRITE_AHEAD)
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.1)
    # Another process may be adding the same columns.
    db.execute("BEGIN IMMEDIATE")
    db.execute(_ANSWERS)
    there = {row[1] for row in db.execute("PRAGMA table_info(answers)")}
    for name, kind in _LATER_COLUMNS.items():
        if name not in there:
            db.execute(f"ALTER TABLE answers ADD COLUMN {name} {kind}")
    for statement in (_TEXTS, *_INDICES):
        db.execute(statement)
