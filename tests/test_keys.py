from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.budget import Limit
from pipeline.errors import ConfigurationError, Unauthorised
from pipeline.keys import Keys
from pipeline.settings import Settings
from pipeline.simulation import Usage

SECRET = "ключ-of-alice"


def settings(folder: Path, content: Any, **changes: Any) -> Settings:
    path = folder / "keys.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    given = {"server_keys_path": str(path), "cache_path": str(folder / "answers.sqlite"), **changes}
    return Settings(**given)


def name_of(keys: Keys, secret: object) -> str | None:
    key = keys.whose(secret)
    return key.name if key else None


def test_every_secret_has_its_name(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"bob's").hexdigest()
    entries = {"alice": {"secret": SECRET}, "bob": {"secret_sha256": digest}}
    keys = Keys(settings(tmp_path, entries, server_key="old"))
    assert [name_of(keys, secret) for secret in (SECRET, "bob's", "old")] == [
        "alice",
        "bob",
        "server",
    ]
    for wrong in ("", None, 7, ["old"], digest, "\ud800", SECRET + " "):
        with pytest.raises(Unauthorised):
            keys.whose(wrong)


def test_without_keys_everybody_may() -> None:
    assert Keys(Settings()).whose(None) is None


def test_each_name_has_a_day_s_budget_of_its_own(tmp_path: Path) -> None:
    entries = {
        "alice": {"secret": "a", "daily_llm_tokens": 100},
        "bob": {"secret": "b", "daily_llm_tokens": 100},
        "carol": {"secret": "c"},
    }
    keys = Keys(settings(tmp_path, entries))
    alice, bob, carol = (keys.whose(secret) for secret in "abc")
    assert alice
    assert alice.day
    assert alice.day.reserve(Usage(prompt_tokens=70))
    again = Keys(settings(tmp_path, entries)).whose("a")
    assert again
    assert again.day
    assert again.day.left() == Limit(30)
    assert bob
    assert bob.day
    assert bob.day.left() == Limit(100)
    assert carol
    assert carol.day is None
    assert "for the key alice is gone" in str(again.day.refusal())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not JSON"),
        ('{"a": {"secret": "x"}, "a": {"secret": "y"}}', "twice"),
        ({}, "no object with a key"),
        ([], "no object with a key"),
        ({"a": "x"}, "expected an object"),
        ({"a": {"secret": "x", "budget": 1}}, "expected an object"),
        ({"a b": {"secret": "x"}}, "is no name"),
        ({"server": {"secret": "x"}}, "is no name"),
        ({"a": {}}, "either secret"),
        ({"a": {"secret": ""}}, "either secret"),
        ({"a": {"secret": 7}}, "either secret"),
        ({"a": {"secret": "x", "secret_sha256": "0" * 64}}, "either secret"),
        ({"a": {"secret_sha256": "0" * 63}}, "either secret"),
        ({"a": {"secret": "x"}, "b": {"secret": "x"}}, "same secret"),
        ({"a": {"secret": "x", "daily_llm_tokens": 1.5}}, "daily_llm_tokens"),
        ({"a": {"secret": "x", "daily_llm_tokens": True}}, "daily_llm_tokens"),
        ({"a": {"secret": "x", "daily_cost_usd": -1}}, "daily_cost_usd"),
        ({"a": {"secret": "x", "daily_cost_usd": "1"}}, "daily_cost_usd"),
    ],
)
def test_a_file_that_is_wrong_stops_the_start(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        Keys(settings(tmp_path, content))
    assert "SERVER_KEYS_PATH" in str(caught.value)


def test_a_missing_file_does_not_open_the_server(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="SERVER_KEYS_PATH"):
        Keys(Settings(server_keys_path=str(tmp_path / "none.json")))


def test_budgets_that_cannot_be_kept_stop_the_start(tmp_path: Path) -> None:
    dollars = {"a": {"secret": "x", "daily_cost_usd": 1}}
    with pytest.raises(ConfigurationError, match="CACHE_PATH"):
        Keys(settings(tmp_path, dollars, cache_path=""))
    with pytest.raises(ConfigurationError, match="PRICES_PATH"):
        Keys(settings(tmp_path, dollars, openai_api_key="k", simulator_model="unheard-of"))


def test_no_secret_is_shown(tmp_path: Path) -> None:
    given = settings(tmp_path, {"alice": {"secret": SECRET}}, server_key="server-key")
    shown = repr([given, Keys(given), Keys(given).whose(SECRET)])
    digest = hashlib.sha256(SECRET.encode()).digest()
    assert not any(part in shown for part in (SECRET, "server-key", digest.hex(), repr(digest)))
