from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from pipeline.settings import Settings


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings()


def test_every_kind_of_setting_is_read() -> None:
    settings = Settings.from_environment(
        {
            "SERVER_KEY": " s3cret ",
            "PORT": "8080",
            "LLM_TIMEOUT": "1.5",
            "ALLOW_OPEN": "yes",
            "LLM_RETRIES": "0",
            "DAILY_LLM_TOKENS": "5000000",
            "DAILY_COST_USD": "2.5",
            "ON_BUDGET": "degrade",
        }
    )
    assert settings == Settings(
        server_key="s3cret",
        port=8080,
        llm_timeout=1.5,
        allow_open=True,
        llm_retries=0,
        daily_llm_tokens=5_000_000,
        daily_cost_usd=2.5,
        on_budget="degrade",
    )


def test_an_empty_variable_is_an_unset_one() -> None:
    assert Settings.from_environment({"PORT": "", "SERVER_KEY": " "}) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("THREADS", "0"),
        ("LLM_TIMEOUT", "0"),
        ("LLM_TIMEOUT", "nan"),
        ("LLM_TIMEOUT", "inf"),
        ("LLM_RETRIES", "-1"),
        ("MAX_BODY_BYTES", "4e6"),
        ("ALLOW_OPEN", "maybe"),
        ("DAILY_LLM_TOKENS", "0"),
        ("DAILY_COST_USD", "-1"),
        ("ON_BUDGET", "ignore"),
    ],
)
def test_a_bad_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Settings.from_environment({name: value})


def test_the_process_environment_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("PORT=1000\nTHREADS=2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", "2000")
    monkeypatch.delenv("THREADS", raising=False)
    settings = Settings.from_environment()
    assert (settings.port, settings.threads) == (2000, 2)


@pytest.mark.parametrize(
    ("settings", "has_llm"),
    [
        (Settings(), False),
        (Settings(openai_api_key="k"), True),
        (Settings(openai_base_url="http://127.0.0.1:1/v1"), True),
    ],
)
def test_a_key_or_an_address_makes_an_llm(settings: Settings, has_llm: bool) -> None:
    assert settings.has_llm is has_llm


def test_secrets_do_not_show() -> None:
    shown = repr(Settings(openai_api_key="k-123", server_key="s-123"))
    assert "123" not in shown
