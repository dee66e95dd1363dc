from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.archive import Holding, export, holdings, prune
from pipeline.cache import AnswerCache, RawAnswer, Source
from pipeline.errors import ConfigurationError

SMALL = Source("http://a/v1", "small", "quote-1")
LARGE = Source("http://b/v1", "large", "quote-1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two answers of one model, about three texts, and a refusal of another, ten days old."""
    file = tmp_path / "answers.sqlite"
    cache = AnswerCache(file)
    cache.put("1", RawAnswer('{"0": ["ä«1»"]}', "stop", 100, 10), SMALL, 0.25)
    cache.put_texts("1", {"a": "x", "b": "x"})
    cache.put("2", RawAnswer("{}", "stop", 50, 5), SMALL, None)
    cache.put_texts("2", {"c": "x"})
    cache.put("3", RawAnswer(None, "content_filter", 7, 0), LARGE, None)
    cache.reject("3")
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE answers SET received = datetime('now', '-10 days') WHERE key = '3'")
    return file


def test_holdings_sum_up_by_model(path: Path) -> None:
    assert holdings(path) == [
        Holding("large", "http://b/v1", 1, 1, 0, 7, 0, None, 1),
        Holding("small", "http://a/v1", 2, 0, 3, 150, 15, 0.25, 1),
    ]


def test_an_export_has_all_that_is_known_of_each_answer(path: Path) -> None:
    answers = list(export(path))
    assert [answer["id"] for answer in answers] == [1, 2, 3]
    first = answers[0]
    assert first.pop("received").endswith("Z")
    assert first == {
        "id": 1,
        "key": "1",
        "content": '{"0": ["ä«1»"]}',
        "finish_reason": "stop",
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "rejected": False,
        "endpoint": "http://a/v1",
        "model": "small",
        "prompt_version": "quote-1",
        "cost_usd": 0.25,
    }
    assert (answers[2]["content"], answers[2]["rejected"]) == (None, True)


@pytest.mark.parametrize(
    ("days", "model", "removed", "left"),
    [
        (5, None, 1, {"1", "2"}),
        (11, None, 0, {"1", "2", "3"}),
        (None, "small", 2, {"3"}),
        (5, "small", 0, {"1", "2", "3"}),
        (5, "large", 1, {"1", "2"}),
        (None, "none such", 0, {"1", "2", "3"}),
        (None, None, 0, {"1", "2", "3"}),
    ],
)
def test_pruning_removes_what_all_conditions_apply_to(
    path: Path, days: float | None, model: str | None, removed: int, left: set[str]
) -> None:
    assert prune(path, days, model) == removed
    assert {answer["key"] for answer in export(path)} == left


def test_what_is_known_of_texts_goes_with_its_answer(path: Path) -> None:
    prune(path, model="small")
    assert AnswerCache(path).get_texts(["a", "b", "c"]) == {}


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        holdings(tmp_path / "none.sqlite")
    assert not list(tmp_path.iterdir())


def test_another_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    text, other = tmp_path / "text", tmp_path / "other.sqlite"
    text.write_text("not a database" * 100)
    with closing(sqlite3.connect(other)) as db, db:
        db.execute("CREATE TABLE mine (x)")
    before = other.read_bytes()
    for file in (text, other):
        with pytest.raises(ConfigurationError, match="file of answers"):
            prune(file, model="small")
    assert other.read_bytes() == before


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["cache", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_show_is_a_line_for_each_model(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, shown, _ = run(capsys, "show", "--file", str(path))
    assert status == 0
    assert shown.splitlines() == [
        "large at http://b/v1: 1 answers (1 of no use) about 0 texts, 7 tokens in, 0 out, "
        "cost not known",
        "small at http://a/v1: 2 answers (0 of no use) about 3 texts, 150 tokens in, 15 out, "
        "0.2500 USD and 1 answers of unknown cost",
    ]


def test_the_file_of_the_settings_is_the_default(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    monkeypatch.delenv("CACHE_PATH", raising=False)
    assert run(capsys, "show")[0] == 2
    monkeypatch.setenv("CACHE_PATH", str(path))
    status, exported, _ = run(capsys, "export")
    assert status == 0
    assert [json.loads(line) for line in exported.splitlines()] == list(export(path))


def test_prune_tells_how_many_and_wants_to_know_which(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, said = run(capsys, "prune", "--file", str(path))
    assert status == 2
    assert "--older-than" in said
    assert run(capsys, "prune", "--file", str(path), "--older-than", "5")[1] == (
        "1 answers removed\n"
    )
    AnswerCache(path).put("4", RawAnswer("{}", "stop", 1, 1), SMALL)
    assert run(capsys, "prune", "--file", str(path), "--model", "small")[1] == (
        "3 answers removed\n"
    )
    assert run(capsys, "show", "--file", str(path))[1] == "no answers\n"
    with pytest.raises(SystemExit):
        cli.main(["cache", "prune", "--older-than", "-1"])
