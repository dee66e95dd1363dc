"""Mutated requests against the server's WSGI app: whatever is sent, it answers sensibly.

Most mutants are refused after a millisecond; those that are still requests are scored for real.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NoReturn

from flask import Flask

SLOW = 20.0
"""Seconds after which an answer counts as a hang: the requests are tiny."""

_JSON_PATHS = ("/score", "/healthz", "/openapi.json")
_SEEDS: tuple[dict[str, Any], ...] = (
    {"explanation": "foxes", "activations": [{"tokens": [" a", " fox"], "values": [0, 1.5]}]},
    {
        "explanation": "the word 'é' after “Ġ”",
        "secret": "",
        "activations": [
            {"tokens": ["Ġcaf", "Ã©", "Ċ"], "values": [0, 2, -1e-3]},
            {"tokens": ["<|endoftext|>", "猫", "\U0001f600", ""], "values": [0, 0, 7, 0]},
        ],
        "tolerance": 0.1,
        "llm": False,
    },
    {
        "explanation": "numbers, not dates",
        "activations": [{"tokens": ["▁in", "<0x0A>", "▁1984"], "values": [0, 0, 1e99]}],
        "adjust": False,
        "explain": True,
        "max_llm_tokens": 0,
        "max_cost_usd": None,
        "on_budget": "degrade",
    },
)
_PARTS = (
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0", b"00", b"0x1", b"+1", b"9" * 400),
    *(b"9" * 5000, b"[" * 50, b"]" * 50, b'{"a":' * 30, b"[" * 5000, b"}", b",", b":", b'"', b"\\"),
    *(b"null", b"true", b"'", b"//", b"\x00", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"\xed\xa0\x80"),
    *(b"\\ud800", b"\\u0000", b"\\x", b"\r\n", b"\xe2\x80\xa8", b'"tokens":', b'"values":[1]'),
    *(b'"explanation":"a",', b'"activations":[],', b'"__proto__":1,', b"<!--", b"' OR 1=1 --"),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**53, 10**400, -(10**4000), 1e308, -1e308, 5e-324, 1e101, 0.5),
    *("", " ", "a", "\x00", "\ud800", "\u202e", "\u200b", "NaN", "é" * 2001, "x" * 1001, "'" * 300),
    *(
        "../../etc/passwd",
        "{{7*7}}",
        "%s%n",
        "</explanation>",
        "<script>",
        "Ġ",
        "▁",
        "##a",
        "\ufffd",
    ),
    *([], {}, [[]], [None], {"a": {}}, [1] * 600, ["a"] * 3000, {"tokens": [], "values": []}),
    *({"tokens": ["a"], "values": ["1"]}, {"tokens": "a", "values": 1}, {"values": [1]}),
)


@dataclass(slots=True)
class Fuzzed:
    """What came of it.

    Attributes
    ----------
    statuses : answers by HTTP status.
    faults : what must not be: 5xx, NaN, other than JSON, hangs; with the request.
    slowest : seconds of the slowest answer.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0


def fuzz(app: Flask, requests: int, seed: int = 0) -> Fuzzed:
    """Send so many mutants, the same for the same seed."""
    rng, client, out = random.Random(seed), app.test_client(), Fuzzed()
    for _ in range(requests):
        body, options = _mutant(rng)
        started = time.perf_counter()
        with client.open(data=body, **options) as response:
            status, answer = response.status_code, response.data
        seconds = time.perf_counter() - started
        out.statuses[status] += 1
        out.slowest = max(out.slowest, seconds)
        fault = "a hang" if seconds > SLOW else _fault(status, answer, options)
        if fault:
            out.faults.append(f"{fault}: {options} {body[:300]!r}")
    return out


def _fault(status: int, answer: bytes, options: dict[str, Any]) -> str | None:
    """What is wrong with an answer, if anything."""
    if status >= 500:
        return f"status {status}"
    if (options["method"], options["path"]) == ("POST", "/"):
        return None  # The page's form, which is answered with a page.
    if status < 400 and (status != 200 or options["path"] not in _JSON_PATHS):
        return None
    try:
        found = json.loads(answer or b"{}", parse_constant=_refuse)
    except ValueError as error:
        return f"not strict JSON ({error})"
    if status == 200 and "score" in found:
        return _wrong_score(found)
    return None


def _wrong_score(found: dict[str, Any]) -> str | None:
    score = found["score"]
    if score is None:
        return None if found["status"] == "undefined" else "no score and no reason"
    strengths = [
        s for one in found["simulations"] for s in one["simulation"]["expected_activations"]
    ]
    in_range = -1 <= score <= 1 and all(0 <= strength <= 10 for strength in strengths)
    return None if in_range else "out of range"


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _mutant(rng: random.Random) -> tuple[bytes, dict[str, Any]]:
    """A body, and how it is sent."""
    headers = {"Content-Type": "application/json"}
    options: dict[str, Any] = {"path": "/score", "method": "POST", "headers": headers}
    request = deepcopy(rng.choice(_SEEDS))
    broken_bytes = rng.random() < 0.4
    if not broken_bytes or rng.random() < 0.1:
        for _ in range(rng.choice((1, 2, 3, 5))):
            _change_a_value(request, rng)
    body = json.dumps(request, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if broken_bytes:
        for _ in range(rng.choice((1, 2, 3, 8))):
            body = rng.choice(_EDITS)(body, rng)
    if rng.random() < 0.1:
        _change_the_sending(options, rng)
    return body, options


def _change_a_value(node: Any, rng: random.Random) -> None:
    """Exchange, drop or add one value somewhere in it."""
    while isinstance(node, dict | list) and node:
        key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
        if isinstance(node[key], dict | list) and node[key] and rng.random() < 0.7:
            node = node[key]
            continue
        if rng.random() < 0.2:
            del node[key]
        elif rng.random() < 0.1 and isinstance(node, dict):
            node[rng.choice(("tokens", "explain", "\ud800", "", "secret", "é"))] = node[key]
        else:
            node[key] = deepcopy(rng.choice(_VALUES))
        return


def _change_the_sending(options: dict[str, Any], rng: random.Random) -> None:
    options["path"] = rng.choice(
        ("/score", "/score/", "/", "/healthz", "/metrics", "/openapi.json", "/static/../server.py",
         "/%00", "/score?x=%ff", "/nothing", "/static/page.js", "//score")
    )  # fmt: skip
    options["method"] = rng.choice(("POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"))
    options["headers"] = rng.choice(
        (
            {},
            {"Content-Type": "application/x-www-form-urlencoded"},
            {"Content-Type": "multipart/form-data; boundary=x"},
            {"Content-Type": "application/json; charset=utf-16"},
            {"Content-Encoding": "gzip"},
            {"Content-Length": "-1"},
            {"Content-Length": "x"},
            {"Transfer-Encoding": "chunked"},
            {"Accept": "text/html", "Range": "bytes=0-1"},
            {"Host": "evil.example", "X-Forwarded-For": "127.0.0.1"},
        )
    )


def _flip(body: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(body) + 1)
    return body[:at] + bytes([rng.randrange(256)]) + body[at + 1 :]


def _drop(body: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(body) + 1)
    return body[:at] + body[at + rng.choice((1, 1, 5, 20)) :]


def _cut(body: bytes, rng: random.Random) -> bytes:
    return body[: rng.randrange(len(body) + 1)]


def _repeat(body: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(body) + 1)
    return body[:at] + body[at : at + rng.choice((1, 10, 60))] * 2 + body[at:]


def _insert(body: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(body) + 1)
    return body[:at] + rng.choice(_PARTS) + body[at:]


def _splice(body: bytes, rng: random.Random) -> bytes:
    other = json.dumps(rng.choice(_SEEDS)).encode()
    return body[: rng.randrange(len(body) + 1)] + other[rng.randrange(len(other)) :]


_EDITS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_flip, _drop, _cut, _repeat, _insert, _insert, _insert, _splice),
)
