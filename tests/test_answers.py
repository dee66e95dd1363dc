"""Answers that are wrong in any way are problems; they are never zeros and never crashes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.simulation import Distribution, FloatArray
from pipeline.text import decode
from stages.answers import entries, objects
from stages.echo import Echoing
from stages.odds import WeighedText
from stages.quoting import Quoting
from stages.unknowns import Unknowns
from stages.word_digits import WordDigits

TEXTS = decode([[" the", " quick", " fox", " ran", " home"]])
QUOTED = '{"0": ["the quick«3» fox«10» ran"]}'
ECHOED = json.dumps(
    {
        "activations": [
            {"token": token, "activation": strength}
            for token, strength in zip(TEXTS[0].pieces, (0, 3, 10, 0, 0), strict=True)
        ]
    }
)
DIGITS = json.dumps(dict(zip(TEXTS[0].words, (0, 3, 9, 0, 0), strict=True)))


def weighed(content: str) -> str:
    """As an endpoint that is sure of every character would send it."""
    digits = [{c: 0.0} if c.isascii() and c.isdigit() else {} for c in content]
    return WeighedText.of([c.encode("utf-8", "replace") for c in content], digits).write()


def quote(content: str) -> FloatArray | str:
    return Quoting().read(content, TEXTS)[0]


def echo(content: str) -> FloatArray | str:
    return Echoing().read(content, TEXTS)[0]


def digits(content: str) -> FloatArray | str:
    (found,) = WordDigits().read(weighed(content), TEXTS)
    return found.expected if isinstance(found, Distribution) else found


READERS = pytest.mark.parametrize(
    ("read", "right"), [(quote, QUOTED), (echo, ECHOED), (digits, DIGITS)]
)
Read = Callable[[str], FloatArray | str]


@READERS
def test_the_right_answer_is_read(read: Read, right: str) -> None:
    found = read(right)
    assert not isinstance(found, str)
    assert found[2] == 10
    assert found[0] == found[3] == found[4] == 0


@READERS
@pytest.mark.parametrize(
    "wrong",
    [
        "",
        " ",
        "null",
        "NaN",
        "0",
        "{}",
        '{"0": null}',
        '{"0": NaN}',
        '{"0": 0}',
        '{"0": {}}',
        '{"-1": [], "0-1": [], "1.0": [], "00": []}',
        '{"texts": {"zero": []}}',
        '{"0": ["the quick«3» fox«10» ran"], "0": []}',
        '{"0": ["le renard«10» rapide"]}',
        '{"0": ["fox«11»"]}',
        '{"0": ["fox«1e9»"]}',
        '{"0": ["fox«NaN»"]}',
        '{"0": ["fox«' + "9" * 5000 + '»"]}',
        '{"0": [' + "9" * 5000 + "]}",
        '{"0": [["fox«10»"]]}',
        '{"0": [NaN]}',
        '{"activations": []}',
        '{"activations": [{"token": " fox", "activation": 10}]}',
        ECHOED.replace("10", "11"),
        ECHOED.replace("10", "-1"),
        ECHOED.replace("10", "NaN"),
        ECHOED.replace("10", "1e999"),
        ECHOED.replace("10", "9" * 5000),
        ECHOED.replace("10", "null"),
        ECHOED.replace("10", "{}"),
        ECHOED.replace("fox", "renard"),
        DIGITS.replace("9", "99"),
        DIGITS.replace("9", "-1"),
        DIGITS.replace("9", "NaN"),
        DIGITS.replace("9", "null"),
        DIGITS.replace("fox", "renard"),
        DIGITS.replace('"fox": 9', '"fox": 9, "fox": 0'),
        "I cannot help with that.",
        "Lo siento, no puedo.",
        "[" * 100_000,
        '{"0":' * 20_000,
        '{"0":[' * 3_000,
        "\x00\ufffd\ud800",
    ],
    ids=count(),
)
def test_a_wrong_answer_is_a_problem(read: Read, right: str, wrong: str) -> None:
    assert isinstance(read(wrong), str)


@READERS
def test_an_answer_that_breaks_off_says_nothing_false(read: Read, right: str) -> None:
    whole = read(right)
    for end in range(len(right)):
        found = read(right[:end])
        assert isinstance(found, str) or np.array_equal(found, whole), right[:end]


@READERS
@given(seed=st.integers(0, 2**32))
def test_a_mangled_answer_is_a_problem_or_strengths_in_range(
    read: Read, right: str, seed: int
) -> None:
    rng, content = random.Random(seed), right
    for _ in range(rng.randint(1, 4)):
        at, end = sorted(rng.choices(range(len(content) + 1), k=2))
        junk = (content[at:end], "NaN", "9" * 400, "[]", '"', "«-1»", "\ud800", "é", "")
        content = content[:at] + rng.choice(junk) + content[rng.choice((at, end)) :]
    found = read(content)
    if not isinstance(found, str):
        assert found.shape == (5,)
        assert np.isfinite(found).all()
        assert found.min() >= 0
        assert found.max() <= 10


@READERS
@given(content=st.text())
def test_no_text_is_read_as_strengths(read: Read, right: str, content: str) -> None:
    found = read(content)
    # A bare "[]" is a right answer, which quotes nothing.
    assert isinstance(found, str) or not found.any()


@given(st.lists(st.floats() | st.none(), min_size=5, max_size=5))
def test_odds_that_are_no_numbers_are_a_problem(sent: list[float | None]) -> None:
    likely = [{} if p is None else {"5": p} for p in sent]
    content = WeighedText.of([b"\t"] * 5, likely).write()
    (found,) = Unknowns().read(content, TEXTS)
    assert isinstance(found, str)


@pytest.mark.parametrize(
    "content",
    [
        '{"a":' * 200_000,
        '{"0":[' * 200_000,
        '"0":["a",' * 200_000,
        '{"token": "a", ' * 100_000,
        '"a' * 500_000,
        "«10»" * 200_000,
    ],
    ids=count(),
)
def test_an_enormous_answer_is_a_problem_soon(content: str) -> None:
    assert isinstance(quote(content), str)
    assert isinstance(echo(content), str)


def test_the_last_word_counts_unless_it_takes_something_back() -> None:
    assert entries('{"0": [], "1": ["a«1»"], "0": ["b«2»"]}', 2) == {0: ["b«2»"], 1: ["a«1»"]}
    assert entries('{"0": ["b«2»"], "1": ["a«1»"], "0": []}', 2) == {1: ["a«1»"]}
    assert entries('{"0": [], "0": []}', 1) == {0: []}


@given(st.text(), st.integers(1, 5))
def test_any_text_has_entries_and_objects(content: str, n_texts: int) -> None:
    assert all(number >= 0 for number in entries(content, n_texts))
    assert all(isinstance(found, dict) for found in objects(content))
