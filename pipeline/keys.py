"""The secrets that `POST /score` takes, each with a name and, if it is to have one, a day's budget.

The file is JSON, one entry a name::

    {"alice": {"secret": "…", "daily_cost_usd": 2.5},
     "bob": {"secret_sha256": "…", "daily_llm_tokens": 100000}}
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.budget import MOST_USD, Limit
from pipeline.errors import ConfigurationError, InvalidRequest, Unauthorised
from pipeline.ledger import DailyBudget
from pipeline.settings import Settings
from pipeline.wire import read_json
from stages.prices import price_of

_HASH = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[\w.@-]{1,64}")
_FIELDS = frozenset({"secret", "secret_sha256", "daily_cost_usd", "daily_llm_tokens"})


@dataclass(frozen=True, slots=True)
class Key:
    """Who may score; `digest` is the SHA-256 of the secret, `day` None without a budget."""

    name: str
    digest: bytes = field(repr=False)
    day: DailyBudget | None = None


class Keys:
    """All keys of a server; none: whoever reaches it may score.

    Parameters
    ----------
    settings : `server_key` is the key "server", which has no budget of its own.

    Raises
    ------
    ConfigurationError : if the file cannot be read, holds no key or a wrong one, or sets budgets
        that cannot be kept.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys: list[Key] = []
        if settings.server_key:
            self._keys.append(Key("server", _digest(settings.server_key)))
        if settings.server_keys_path:
            self._keys += _read(Path(settings.server_keys_path), settings)
        if len({key.digest for key in self._keys}) < len(self._keys):
            raise ConfigurationError("SERVER_KEYS_PATH: two names have the same secret")

    def whose(self, secret: object) -> Key | None:
        """The key that the secret belongs to; None where there are no keys.

        All are compared, each in constant time.

        Raises
        ------
        Unauthorised : if it belongs to none.
        """
        if not self._keys:
            return None
        given = _digest(secret if isinstance(secret, str) else "")
        found = [key for key in self._keys if hmac.compare_digest(given, key.digest)]
        if not found:
            raise Unauthorised("the secret is missing or wrong; send the server's key as 'secret'")
        return found[0]


def _read(path: Path, settings: Settings) -> Sequence[Key]:
    try:
        entries = read_json(path.read_bytes())
    except (OSError, InvalidRequest) as error:
        raise ConfigurationError(f"SERVER_KEYS_PATH: {error}") from None
    if not isinstance(entries, dict) or not entries:
        raise ConfigurationError(f"SERVER_KEYS_PATH: {path} holds no object with a key a name")
    return [_key(name, entry, settings) for name, entry in entries.items()]


def _key(name: str, entry: Any, settings: Settings) -> Key:
    place = f"SERVER_KEYS_PATH: {name[:64]!r}"
    if not _NAME.fullmatch(name) or name == "server":
        raise ConfigurationError(f"{place} is no name: use letters, digits and .@_-, not 'server'")
    if not isinstance(entry, Mapping) or not entry.keys() <= _FIELDS:
        raise ConfigurationError(f"{place}: expected an object with {', '.join(sorted(_FIELDS))}")
    return Key(name, _digest_in(entry, place), _day(name, entry, place, settings))


def _digest_in(entry: Mapping[str, Any], place: str) -> bytes:
    secret, digest = entry.get("secret"), entry.get("secret_sha256")
    if isinstance(secret, str) and secret and digest is None:
        return _digest(secret)
    if isinstance(digest, str) and _HASH.fullmatch(digest) and secret is None:
        return bytes.fromhex(digest)
    raise ConfigurationError(
        f"{place}: expected either secret, a string that is not empty, or secret_sha256, 64 digits "
        "0-9a-f"
    )


def _day(name: str, entry: Mapping[str, Any], place: str, settings: Settings) -> DailyBudget | None:
    tokens, cost = entry.get("daily_llm_tokens"), entry.get("daily_cost_usd")
    if tokens is not None and (type(tokens) is not int or tokens < 0):
        raise ConfigurationError(f"{place}: daily_llm_tokens must be a whole number of at least 0")
    if cost is not None and (type(cost) not in (int, float) or not 0 <= cost <= MOST_USD):
        raise ConfigurationError(f"{place}: daily_cost_usd must be a number from 0 to 1e9")
    limit = Limit(tokens, cost)
    if limit.unlimited:
        return None
    if not settings.cache_path:
        raise ConfigurationError(f"{place}: a budget needs CACHE_PATH, which keeps what was spent")
    model, url = settings.simulator_model, settings.openai_base_url
    if cost is not None and settings.has_llm and not price_of(model, url, settings.prices_path):
        raise ConfigurationError(
            f"{place}: daily_cost_usd cannot be kept: the price of {model!r} at this endpoint is "
            "not known; name it in the file PRICES_PATH, or set daily_llm_tokens"
        )
    return DailyBudget(Path(settings.cache_path), limit, owner=name)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
