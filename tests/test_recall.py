from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_server import FaultServer, completion, texts_of

from pipeline.settings import Settings
from pipeline.simulation import Simulation, Usage
from stages.named import NamedSimulator, simulator_from
from stages.quoting import Quoting
from stages.simulator import LLMSimulator

Texts = Sequence[Sequence[str]]

ONE, THREE, FIVE = [" One", " two", "."], [" Three", " four", "!"], [" Five", " six", "?"]


@pytest.fixture
def simulator(fault_server: FaultServer, tmp_path: Path) -> NamedSimulator:
    return made(fault_server, tmp_path)


def made(server: FaultServer, folder: Path, **changes: Any) -> NamedSimulator:
    settings = {"openai_base_url": server.base_url, "simulator_model": server.model, **changes}
    simulator = simulator_from(Settings(cache_path=str(folder / "a.sqlite"), **settings))
    assert simulator is not None
    return simulator


def simulate(simulator: NamedSimulator, texts: Texts, explanation: str = "numbers") -> Simulation:
    with closing(simulator):
        return simulator.simulate(explanation, texts)


def test_a_text_is_not_paid_for_again_in_other_company(
    fault_server: FaultServer, simulator: NamedSimulator
) -> None:
    first = simulate(simulator, [ONE, THREE])
    second = simulate(simulator, [FIVE, THREE, ONE])
    assert [texts_of(body) for body in fault_server.requests][1:] == [["Five six?"]]
    assert (second.usage.calls, second.usage.cached_calls) == (1, 1)
    for at, same in ((2, 0), (1, 1)):
        np.testing.assert_array_equal(second.values[at], first.values[same])
    assert all(values is not None and values[0] == 7 for values in second.values)


def test_texts_from_several_requests_need_no_further_one(
    fault_server: FaultServer, simulator: NamedSimulator
) -> None:
    simulate(simulator, [ONE])
    simulate(simulator, [THREE])
    assert simulate(simulator, [THREE, ONE]).usage == Usage(cached_calls=1)
    assert len(fault_server.requests) == 2


def test_the_same_text_in_other_tokens_is_known(
    fault_server: FaultServer, simulator: NamedSimulator
) -> None:
    simulate(simulator, [ONE, THREE])
    finer = simulate(simulator, [[" O", "ne", " t", "wo", "."]])
    assert finer.usage == Usage(cached_calls=1)
    assert finer.values[0] is not None
    assert finer.values[0].tolist() == [0, 7, 0, 0, 0]


@pytest.mark.parametrize(
    "change", ["explanation", "openai_base_url", "simulator_model", "prompt version"]
)
def test_whatever_changes_the_question_makes_it_a_new_one(
    fault_server: FaultServer, tmp_path: Path, change: str
) -> None:
    simulate(made(fault_server, tmp_path), [ONE])
    changes = {
        "openai_base_url": f"{fault_server.base_url}/",
        "simulator_model": "another",
    }
    other = made(fault_server, tmp_path, **{k: v for k, v in changes.items() if k == change})
    if change == "prompt version":
        assert isinstance(other, LLMSimulator)
        other = replace(other, method=Quoting(version="quote-0"))
    explanation = "digits" if change == "explanation" else "numbers"
    assert simulate(other, [ONE], explanation).usage.calls == 1


def test_only_what_could_be_read_is_known(
    fault_server: FaultServer, simulator: NamedSimulator
) -> None:
    answer = completion(json.dumps({"0": ["One«7»"], "1": ["Thirty«7»"]}))
    fault_server.script = [answer, completion("garbage")]
    assert simulate(simulator, [ONE, THREE]).values[1] is None
    assert simulate(simulator, [THREE, FIVE, ONE]).values[0] is not None
    assert texts_of(fault_server.requests[-1]) == ["Three four!", "Five six?"]


def test_a_crash_before_an_answer_was_taken_apart_costs_nothing(
    fault_server: FaultServer, simulator: NamedSimulator, tmp_path: Path
) -> None:
    first = simulate(simulator, [ONE, THREE])
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as db, db:
        assert db.execute("DELETE FROM texts").rowcount == 2
    assert simulate(simulator, [ONE, THREE]).usage == Usage(cached_calls=1)
    assert simulate(simulator, [THREE]).usage == Usage(cached_calls=1)
    assert len(fault_server.requests) == 1
    assert first.usage.calls == 1


def test_a_broken_file_is_as_good_as_none(fault_server: FaultServer, tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_text("not a database" * 100)
    simulator = made(fault_server, tmp_path)
    for _ in range(2):
        assert simulate(simulator, [ONE]).usage.calls == 1


def test_known_texts_are_not_reckoned_with(
    fault_server: FaultServer, simulator: NamedSimulator
) -> None:
    both = simulator.worst_case("numbers", [ONE, THREE])
    simulate(simulator, [ONE])
    one = simulator.worst_case("numbers", [ONE, THREE])
    assert one.total_tokens < both.total_tokens
    assert one == simulator.worst_case("numbers", [THREE])
    for reckoned in (simulator.worst_case, simulator.typical_case):
        assert reckoned("numbers", [ONE]) == Usage()
        assert reckoned("digits", [ONE]).total_tokens > 0


def test_the_worst_case_is_priced(fault_server: FaultServer, tmp_path: Path) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text('{"models": {"scripted": {"input": 1, "output": 10}}}')
    simulator = made(fault_server, tmp_path, prices_path=str(prices))
    worst, typical = (of("numbers", [ONE]) for of in (simulator.worst_case, simulator.typical_case))
    for usage in (worst, typical):
        expected = (usage.prompt_tokens + 10 * usage.completion_tokens) / 1e6
        assert usage.cost_usd == pytest.approx(expected)
    assert typical.total_tokens < worst.total_tokens / 2
    assert made(fault_server, tmp_path).worst_case("numbers", [ONE]).cost_usd is None
