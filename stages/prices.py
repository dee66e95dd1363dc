"""What LLM tokens cost, from a dated table of list prices."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import regex

from pipeline.errors import ConfigurationError

_DATE = regex.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True, slots=True)
class Price:
    """USD for a million tokens, without discounts for cached prompts."""

    input: float
    output: float

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """USD, an upper bound where the endpoint gives discounts."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1e6

    @property
    def in_batch(self) -> Price:
        """What it is for requests that the provider may answer within a day: half."""
        return Price(self.input / 2, self.output / 2)


def price_of(model: str, base_url: str = "", overrides: str = "") -> Price | None:
    """The price of a model, or None where it is not known.

    Parameters
    ----------
    model : name as sent to the endpoint; a provider's prefix or a date behind it may be left out
        of the table (``openai/gpt-4o-mini``, ``gpt-4o-mini-2024-07-18``).
    base_url : where the model is served. The shipped list prices do not hold on this machine.
    overrides : path of a JSON file like the shipped one, whose prices hold everywhere.

    Raises
    ------
    ConfigurationError : if `overrides` cannot be read.
    """
    own = _look_up(model, _read(Path(overrides))) if overrides else None
    if own is not None or _is_local(base_url):
        return own
    return _look_up(model, _shipped())


@cache
def _shipped() -> Mapping[str, Price]:
    return _parse(resources.files("stages").joinpath("data/prices.json").read_text("utf-8"))


def _read(path: Path) -> Mapping[str, Price]:
    try:
        return _parse(path.read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"PRICES_PATH: {path} does not hold prices like "
            f'{{"models": {{"name": {{"input": 0.15, "output": 0.6}}}}}} ({error})'
        ) from None


def _parse(text: str) -> Mapping[str, Price]:
    models: Mapping[str, Mapping[str, Any]] = json.loads(text)["models"]
    return {
        name: Price(float(price["input"]), float(price["output"])) for name, price in models.items()
    }


def _look_up(model: str, prices: Mapping[str, Price]) -> Price | None:
    bare = model.rpartition("/")[2]
    for name in (model, bare, _DATE.sub("", bare)):
        if name in prices:
            return prices[name]
    return None


def _is_local(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local"))
