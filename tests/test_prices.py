from __future__ import annotations

import json
from datetime import date
from importlib import resources
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from stages.prices import Price, price_of


@pytest.mark.parametrize(
    "model",
    [
        "gpt-4o-mini",
        "gpt-4o-mini-2024-07-18",
        "openai/gpt-4o-mini",
        "openai/gpt-4o-mini-2024-07-18",
    ],
)
def test_dates_and_prefixes_lead_to_the_model(model: str) -> None:
    assert price_of(model) == Price(0.15, 0.6)


def test_a_dated_model_with_a_price_of_its_own_keeps_it() -> None:
    assert price_of("gpt-4o-2024-05-13") == Price(5, 15)


@pytest.mark.parametrize(
    "model", ["", "gpt-4o-mini-tuned", "ft:gpt-4o-mini:me", "gpt-4o-mini:free", "smollm2", "gpt"]
)
def test_unknown_models_have_no_price(model: str) -> None:
    assert price_of(model) is None


@pytest.mark.parametrize(
    "base_url",
    ["http://127.0.0.1:8080/v1", "http://localhost/v1", "http://[::1]:1/v1", "http://10.0.0.5/v1"],
)
def test_list_prices_do_not_hold_on_local_servers(base_url: str) -> None:
    assert price_of("gpt-4o-mini", base_url) is None


def test_list_prices_hold_elsewhere() -> None:
    assert price_of("openai/gpt-4o-mini", "https://router.example/api/v1") == Price(0.15, 0.6)


def test_own_prices_win_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    own = {"smollm2": {"input": 1, "output": 2}, "gpt-4o": {"input": 3, "output": 4}}
    path.write_text(json.dumps({"models": own}))
    assert price_of("smollm2", "http://127.0.0.1/v1", str(path)) == Price(1, 2)
    assert price_of("gpt-4o", overrides=str(path)) == Price(3, 4)
    assert price_of("gpt-4o-mini", overrides=str(path)) == Price(0.15, 0.6)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"models": {"a": {"input": "free"}}}', '{"models": []}']
)
def test_a_broken_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"PRICES_PATH: .*prices\.json"):
        price_of("gpt-4o", overrides=str(path))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"PRICES_PATH: nowhere\.json"):
        price_of("gpt-4o", overrides="nowhere.json")


def test_cost_is_in_dollars() -> None:
    assert Price(2, 8).cost(1_000_000, 500_000) == 6


def test_the_shipped_table_says_where_it_is_from() -> None:
    table = json.loads(resources.files("stages").joinpath("data/prices.json").read_text())
    assert "https://" in table["source"]
    assert date.fromisoformat(table["date"]) >= date(2026, 11, 1)
    assert all(price["output"] > price["input"] > 0 for price in table["models"].values())


def test_batches_are_half_the_price() -> None:
    price = Price(0.15, 0.6)
    assert price.in_batch.cost(1000, 200) == price.cost(1000, 200) / 2
