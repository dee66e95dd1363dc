from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from echo_server import EchoingModel
from fault_server import Body, FaultServer, Reply, completion

from pipeline.archive import export, holdings
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings
from pipeline.simulation import PricedSimulator, Simulator
from stages.named import Simulators, simulator_from

TEXTS = [[" One", " two", "."], [" Three", " four", "!"]]


def settings(server: FaultServer, **changes: Any) -> Settings:
    known = {"openai_base_url": server.base_url, "simulator_model": server.model, "llm_retries": 0}
    return Settings(**{**known, **changes})


def fill_in(body: Body) -> Reply:
    """Answers the question of `echo`: a 7 for every first token."""
    asked = json.loads(body["messages"][-1]["content"].partition("\n")[0])["activations"]
    for index, item in enumerate(asked):
        item["activation"] = 0 if index else 7
    return completion(json.dumps({"activations": asked}))


def test_quote_is_the_default(fault_server: FaultServer) -> None:
    made = simulator_from(settings(fault_server))
    assert made is not None
    with closing(made):
        made.simulate("numbers", TEXTS)
    assert len(fault_server.requests) == 1
    assert "excerpts" in fault_server.requests[0]["messages"][0]["content"]


def test_echo_asks_about_one_text_a_request(fault_server: FaultServer) -> None:
    fault_server.otherwise = fill_in
    made = simulator_from(settings(fault_server, simulator="echo"))
    assert made is not None
    with closing(made):
        most = made.worst_case("numbers", TEXTS).total_tokens
        simulation = made.simulate("numbers", TEXTS)
    assert [list(values) for values in simulation.values if values is not None] == [[7, 0, 0]] * 2
    assert len(fault_server.requests) == 2
    form = fault_server.requests[0]["response_format"]["json_schema"]["schema"]
    assert form["required"] == ["activations"]
    assert simulation.usage.total_tokens <= most


def test_echo_asks_again_with_the_reason_and_then_gives_up(fault_server: FaultServer) -> None:
    item = {"token": "One", "activation": 0}
    fault_server.otherwise = completion(json.dumps({"activations": [item, item, item]}))
    made = simulator_from(settings(fault_server, simulator="echo"))
    assert made is not None
    with closing(made):
        simulation = made.simulate("numbers", TEXTS[:1])
    assert simulation.values == (None,)
    assert simulation.failures == {0: "number 1 (' two') is missing"}
    first, second = fault_server.requests
    assert second["messages"][:-1] == first["messages"][:-1]
    assert second["messages"][-1]["content"].endswith(simulation.failures[0])


@pytest.mark.parametrize("name", ["quote", "echo", "logprobs"])
def test_every_name_gives_a_simulator_that_knows_its_price(
    fault_server: FaultServer, name: str
) -> None:
    made = simulator_from(settings(fault_server, simulator=name))
    assert isinstance(made, Simulator)
    assert isinstance(made, PricedSimulator)
    assert made.price is None
    assert made.worst_case("numbers", TEXTS).cost_usd is None


def test_answers_are_kept_with_their_source_and_cost(
    fault_server: FaultServer, tmp_path: Path
) -> None:
    (tmp_path / "prices.json").write_text('{"models": {"scripted": {"input": 10, "output": 100}}}')
    fault_server.otherwise = fill_in
    file = tmp_path / "answers.sqlite"
    changes = {"cache_path": str(file), "prices_path": str(tmp_path / "prices.json")}
    with closing(Simulators(settings(fault_server, simulator="echo", **changes))) as simulators:
        assert simulators.default
        usage = simulators.default.simulate("numbers", TEXTS).usage
    rows = list(export(file))
    assert {(row["endpoint"], row["model"], row["prompt_version"]) for row in rows} == {
        (fault_server.base_url, "scripted", "echo-1")
    }
    assert sum(row["cost_usd"] for row in rows) == pytest.approx(usage.cost_usd)
    (held,) = holdings(file)
    assert (held.answers, held.texts) == (2, 2)


def test_what_echo_knows_is_not_reckoned_with(fault_server: FaultServer, tmp_path: Path) -> None:
    fault_server.otherwise = fill_in
    known = settings(fault_server, simulator="echo", cache_path=str(tmp_path / "answers.sqlite"))
    made = simulator_from(known)
    assert made is not None
    with closing(made):
        both = made.worst_case("numbers", TEXTS)
        made.simulate("numbers", TEXTS[:1])
        one = made.worst_case("numbers", TEXTS)
        assert one == made.worst_case("numbers", TEXTS[1:])
        assert one.total_tokens < both.total_tokens
        # The classic form has the caller's tokens in it, so others are another question.
        assert made.simulate("numbers", [[" O", "ne", " two", "."]]).usage.calls == 1


@pytest.mark.parametrize("name", ["gpt-4o", "Quote", ""])
def test_another_name_is_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"SIMULATOR: .*quote, echo, logprobs"):
        simulator_from(Settings(simulator=name))


def test_without_an_endpoint_there_is_none() -> None:
    simulators = Simulators(Settings(simulator="logprobs"))
    assert simulators.default is None
    assert simulators.named("echo") is None


def test_simulators_of_one_configuration_share_what_is_known(fault_server: FaultServer) -> None:
    fault_server.refused = {"temperature"}
    with closing(Simulators(settings(fault_server))) as simulators:
        for name in ("quote", "echo"):
            fault_server.otherwise = fill_in if name == "echo" else fault_server.otherwise
            made = simulators.named(name)
            assert made is not None
            made.simulate("numbers", TEXTS[:1])
        refused = ["temperature" in body for body in fault_server.requests]
        assert refused == [True, False, False]

        fault_server.requests.clear()
        fault_server.refused = set()
        fault_server.otherwise = EchoingModel(lambda line: {"0": 1.0})
        for _ in range(2):
            made = simulators.named("logprobs")
            assert made is not None
            made.simulate("numbers", TEXTS[:1])
    # One probe, then two texts.
    assert len(fault_server.requests) == 3


def test_answers_of_one_simulator_are_not_taken_for_anothers(
    fault_server: FaultServer, tmp_path: object
) -> None:
    cached = settings(fault_server, cache_path=f"{tmp_path}/answers.sqlite")
    with closing(Simulators(cached)) as simulators:
        quote, echo = simulators.named("quote"), simulators.named("echo")
        assert quote is not None
        assert echo is not None
        quote.simulate("numbers", TEXTS[:1])
        fault_server.otherwise = fill_in
        assert echo.simulate("numbers", TEXTS[:1]).usage.calls == 1
        assert echo.simulate("numbers", TEXTS[:1]).usage.cached_calls == 1
