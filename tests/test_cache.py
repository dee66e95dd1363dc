from __future__ import annotations

import logging
import multiprocessing
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest

from pipeline.cache import AnswerCache, RawAnswer, Source, answer_key

ANSWER = RawAnswer('{"0": ["a«1»"]}', "stop", 100, 10)
CHAT = [{"role": "user", "content": "hello"}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.sqlite"


def rows(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT key, content, rejected, received FROM answers").fetchall()


def test_an_answer_comes_back(path: Path) -> None:
    AnswerCache(path).put("key", ANSWER)
    assert AnswerCache(path).get("key") == ANSWER
    assert AnswerCache(path).get("other") is None


def test_a_refusal_is_kept_as_it_is(path: Path) -> None:
    refusal = RawAnswer(None, "content_filter", 100, 0)
    AnswerCache(path).put("key", refusal)
    assert AnswerCache(path).get("key") == refusal


def test_rejected_answers_are_kept_but_not_served(path: Path) -> None:
    cache = AnswerCache(path)
    cache.put("key", ANSWER)
    cache.reject("key")
    assert cache.get("key") is None
    better = RawAnswer("{}", "stop", 1, 1)
    cache.put("key", better)
    assert cache.get("key") == better
    assert [row[:3] for row in rows(path)] == [("key", ANSWER.content, 1), ("key", "{}", 0)]


def test_answers_are_dated(path: Path) -> None:
    AnswerCache(path).put("key", ANSWER)
    assert str(rows(path)[0][3]).endswith("Z")


def test_every_part_of_the_question_counts_in_the_key() -> None:
    keys = {
        answer_key("http://a", "m", "v1", CHAT, 0),
        answer_key("http://b", "m", "v1", CHAT, 0),
        answer_key("http://a", "n", "v1", CHAT, 0),
        answer_key("http://a", "m", "v2", CHAT, 0),
        answer_key("http://a", "m", "v1", [*CHAT, *CHAT], 0),
        answer_key("http://a", "m", "v1", CHAT, 1),
    }
    assert len(keys) == 6
    assert answer_key("http://a", "m", "v1", [dict(CHAT[0])], 0) in keys


def _write(path: str, start: int) -> None:
    for number in range(start, start + 20):
        AnswerCache(Path(path)).put(str(number), ANSWER)


def test_threads_and_processes_share_the_file(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write, args=(str(path), 100 * i)) for i in (1, 2)]
    for process in processes:
        process.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda start: _write(str(path), start), (1000, 2000, 3000, 4000)))
    for process in processes:
        process.join()
        assert process.exitcode == 0
        process.close()
    assert len(rows(path)) == 120
    assert not caplog.records


def test_many_may_open_a_new_file_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in map(str, range(20)):
        start = Barrier(8)

        def open_it(_: int, file: Path = tmp_path / name, start: Barrier = start) -> None:
            start.wait()
            AnswerCache(file)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(open_it, range(8)))
    assert not caplog.records


def test_a_file_that_is_no_database_is_logged_and_left_alone(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text("not a database" * 100)
    cache = AnswerCache(path)
    cache.put("key", ANSWER)
    cache.reject("key")
    assert cache.get("key") is None
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert path.read_text().startswith("not a database")


def test_a_folder_that_does_not_exist_does_no_harm(path: Path) -> None:
    cache = AnswerCache(path.parent / "none" / "answers.sqlite")
    cache.put("key", ANSWER)
    assert cache.get("key") is None


def test_a_file_that_cannot_be_written_still_serves(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    AnswerCache(path).put("key", ANSWER)
    connect = sqlite3.connect

    def connect_read_only(_: Path, timeout: float) -> sqlite3.Connection:
        return connect(f"file:{path}?mode=ro", timeout=timeout, uri=True)

    monkeypatch.setattr(sqlite3, "connect", connect_read_only)
    cache = AnswerCache(path)
    cache.put("other", ANSWER)
    assert cache.get("key") == ANSWER
    assert "cannot write the answer cache" in caplog.text


def test_text_that_sqlite_cannot_hold_is_not_kept(path: Path) -> None:
    cache = AnswerCache(path)
    cache.put("key", RawAnswer("lone \ud83d surrogate", "stop", 1, 1))
    assert cache.get("key") is None


SOURCE = Source("http://a", "m", "v1")


def test_what_is_known_of_texts_comes_back(path: Path) -> None:
    cache = AnswerCache(path)
    cache.put("key", ANSWER, SOURCE, 0.5)
    cache.put_texts("key", {"a": "1", "b": "2"})
    cache.put_texts("key", {"b": "3"})
    assert AnswerCache(path).get_texts(["a", "b", "c"]) == {"a": "1", "b": "3"}


def test_texts_without_an_answer_are_not_kept(path: Path) -> None:
    cache = AnswerCache(path)
    cache.put_texts("key", {"a": "1"})
    assert cache.get_texts(["a"]) == {}


def test_every_part_of_the_question_counts_in_a_text_s_key() -> None:
    keys = {
        source.text_key(explanation, text)
        for source in (SOURCE, Source("http://b", "m", "v1"), Source("http://a", "n", "v1"))
        for explanation, text in (("e", "t"), ("f", "t"), ("e", "u"), ("e\ud83d", "t"))
    }
    assert len(keys) == 12


def test_a_file_of_the_first_version_is_taken_on(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "CREATE TABLE answers (id INTEGER PRIMARY KEY, key TEXT NOT NULL, content TEXT, "
            "finish_reason TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens "
            "INTEGER NOT NULL, received TEXT NOT NULL DEFAULT 'then', "
            "rejected INTEGER NOT NULL DEFAULT 0)"
        )
        db.execute("INSERT INTO answers VALUES (1, 'old', '{}', 'stop', 1, 1, 'then', 0)")
    cache = AnswerCache(path)
    cache.put("key", ANSWER, SOURCE, 0.5)
    assert cache.get("old") == RawAnswer("{}", "stop", 1, 1)
    with closing(sqlite3.connect(path)) as db:
        kept = db.execute("SELECT endpoint, model, prompt_version, cost_usd FROM answers")
        assert kept.fetchall() == [("", "", "", None), ("http://a", "m", "v1", 0.5)]
    assert not caplog.records


def test_answers_in_bulk_leave_those_alone_that_are_there(path: Path) -> None:
    cache = AnswerCache(path)
    first, second = RawAnswer("first", "stop", 1, 1), RawAnswer("second", "stop", 2, 2)
    cache.put("known", first)
    cache.put("rejected", first)
    cache.reject("rejected")
    for _ in range(2):
        assert cache.put_new(dict.fromkeys(("known", "rejected", "new"), (second, 0.5)), SOURCE)
    assert [cache.get(key) for key in ("known", "rejected", "new")] == [first, second, second]


def test_answers_in_bulk_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "missing" / "cache.sqlite")
    assert not cache.put_new({"key": (ANSWER, None)}, SOURCE)
