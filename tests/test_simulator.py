from __future__ import annotations

import json
import logging
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_server import DROP, HANG, FaultServer, Reply, completion, error, texts_of
from llm_server import LLMServer

from pipeline.errors import SimulatorError
from pipeline.settings import Settings
from pipeline.simulation import Simulation, Simulator, Usage
from stages.named import NamedSimulator, simulator_from

TEXTS = [[" One", " two", "."], [" Three", " four", "!"], [" Five", " six", "?"]]
KEY = "sk-very-secret"


@contextmanager
def simulator(server: FaultServer | LLMServer, **changes: Any) -> Iterator[NamedSimulator]:
    settings = {
        "openai_base_url": server.base_url,
        "simulator_model": server.model,
        "llm_retries": 0,
        "llm_timeout": 60.0,
        **changes,
    }
    made = simulator_from(Settings(**settings))
    assert made is not None
    with closing(made):
        yield made


def simulate(
    server: FaultServer, texts: Sequence[Sequence[str]] = TEXTS, **changes: Any
) -> Simulation:
    with simulator(server, **changes) as made:
        return made.simulate("numbers", texts)


def first_words(simulation: Simulation) -> list[bool]:
    """For each text, whether it has what `mark_first_words` answers."""
    return [
        value is not None and value[0] == 7 and not value[1:].any() for value in simulation.values
    ]


def fail(server: FaultServer, **changes: Any) -> SimulatorError:
    with pytest.raises(SimulatorError) as caught:
        simulate(server, **changes)
    return caught.value


# What is asked, and what comes back


def test_every_text_gets_its_strengths(fault_server: FaultServer) -> None:
    simulation = simulate(fault_server)
    assert all(first_words(simulation))
    assert not simulation.failures
    assert simulation.usage == Usage(100, 10, calls=1, cost_usd=None)


def test_the_request_has_the_wire_format(fault_server: FaultServer) -> None:
    simulate(fault_server, openai_api_key=KEY)
    (body,) = fault_server.requests
    assert body["model"] == "scripted"
    assert body["temperature"] == 0
    assert body["max_tokens"] == 112
    form = body["response_format"]["json_schema"]
    assert form["strict"]
    assert form["schema"]["required"] == ["0", "1", "2"]
    assert fault_server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_a_base_url_alone_is_enough(fault_server: FaultServer) -> None:
    simulate(fault_server)
    assert fault_server.headers[0]["authorization"] == "Bearer none"


def test_no_texts_take_no_call(fault_server: FaultServer) -> None:
    assert simulate(fault_server, []) == Simulation(())
    assert not fault_server.requests


def test_many_texts_are_split_and_asked_about_at_once(fault_server: FaultServer) -> None:
    texts = [[f" word{number}", " and", " more"] for number in range(23)]
    simulation = simulate(fault_server, texts, llm_texts_per_request=4, llm_concurrency=3)
    assert all(first_words(simulation))
    assert [len(texts_of(body)) for body in fault_server.requests].count(4) == 5
    assert simulation.usage.calls == len(fault_server.requests) == 6
    assert fault_server.most_at_once <= 3


def test_long_texts_are_split_by_length(fault_server: FaultServer) -> None:
    texts = [[f" start{number}", *[" word"] * 1000] for number in range(5)]
    assert all(first_words(simulate(fault_server, texts)))
    assert sorted(len(texts_of(body)) for body in fault_server.requests) == [1, 2, 2]


def test_costs_follow_the_price(fault_server: FaultServer, tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text('{"models": {"scripted": {"input": 1, "output": 10}}}')
    usage = simulate(fault_server, prices_path=str(path)).usage
    assert usage.cost_usd == pytest.approx((100 * 1 + 10 * 10) / 1e6)


def test_an_endpoint_without_usage_is_charged_with_our_estimate(fault_server: FaultServer) -> None:
    reply = completion('{"0": [], "1": [], "2": []}')
    assert isinstance(reply.body, dict)
    del reply.body["usage"]
    fault_server.script = [reply]
    usage = simulate(fault_server).usage
    assert usage.prompt_tokens > 500
    assert usage.completion_tokens > 5


# What the endpoint does not accept


@pytest.mark.parametrize(
    ("refused", "names"),
    [
        ({"json_schema"}, {"temperature", "max_tokens", "response_format"}),
        ({"response_format"}, {"temperature", "max_tokens"}),
        ({"temperature"}, {"max_tokens", "response_format"}),
        ({"max_tokens"}, {"temperature", "max_completion_tokens", "response_format"}),
        ({"max_tokens", "temperature", "response_format"}, {"max_completion_tokens"}),
    ],
)
def test_refused_parameters_are_left_out_and_remembered(
    fault_server: FaultServer, refused: set[str], names: set[str]
) -> None:
    fault_server.refused = refused
    with simulator(fault_server) as made:
        assert all(first_words(made.simulate("numbers", TEXTS)))
        before = len(fault_server.requests)
        simulation = made.simulate("numbers", TEXTS)
    assert len(fault_server.requests) == before + 1
    assert set(fault_server.requests[-1]) == names | {"model", "messages"}
    assert simulation.usage.calls == 1


def test_an_endpoint_with_json_object_only_gets_that(fault_server: FaultServer) -> None:
    fault_server.refused = {"json_schema"}
    simulate(fault_server)
    assert fault_server.requests[-1]["response_format"] == {"type": "json_object"}


def test_threads_learn_the_same(fault_server: FaultServer) -> None:
    fault_server.refused = {"max_tokens", "temperature", "json_schema"}
    texts = [[f" word{number}", " and"] for number in range(12)]
    assert all(first_words(simulate(fault_server, texts, llm_texts_per_request=1)))


def test_a_model_that_reasons_gets_room_for_it(fault_server: FaultServer) -> None:
    details = {"completion_tokens_details": {"reasoning_tokens": 112}}
    fault_server.script = [completion("", "length", **details)]
    with simulator(fault_server) as made:
        before = made.worst_case("numbers", TEXTS).total_tokens
        assert all(first_words(made.simulate("numbers", TEXTS)))
        assert made.worst_case("numbers", TEXTS).total_tokens > before + 4000
    first, second = fault_server.requests
    assert "reasoning_effort" not in first
    assert second["reasoning_effort"] == "low"
    assert second["max_tokens"] > 4000


def test_another_400_ends_the_matter(fault_server: FaultServer) -> None:
    fault_server.otherwise = error(400, f"context too long, key {KEY}")
    caught = fail(fault_server, openai_api_key=KEY)
    assert "HTTP 400: context too long" in str(caught)
    assert KEY not in str(caught)
    assert len(fault_server.requests) == 1


# Answers of no use


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (completion(None), "the model refused to answer"),
        (completion("I would rather not."), "no answer for this text"),
        (completion('{"0": ["One«', "length"), "the answer was cut short before this text"),
        (completion("[[[[[[[["), "no answer for this text"),
        (completion(""), "no answer for this text"),
    ],
)
def test_an_answer_of_no_use_is_asked_for_once_more(
    fault_server: FaultServer, reply: Reply, reason: str
) -> None:
    fault_server.script = [reply]
    simulation = simulate(fault_server)
    assert all(first_words(simulation))
    assert simulation.usage == Usage(200, 20, calls=2, cost_usd=None)
    assert fault_server.requests[1]["messages"][-1]["content"].endswith(f"[2] {reason}")


def test_only_failed_texts_are_asked_about_again_and_with_the_reason(
    fault_server: FaultServer,
) -> None:
    answer = {"0": ["One«7»"], "1": ["Thirty«7» four"], "2": ["Five«77»"]}
    fault_server.script = [completion(json.dumps(answer))]
    simulation = simulate(fault_server)
    assert all(first_words(simulation))
    second = fault_server.requests[1]
    assert texts_of(second) == ["Three four!", "Five six?"]
    assert second["response_format"]["json_schema"]["schema"]["required"] == ["0", "1"]
    assert "[0] 'Thirty four': these words do not stand in the text" in str(second)
    assert "[1] 'Five‹77›': a strength has to be from 1 to 10" in str(second)


def test_what_fails_twice_is_none_with_a_reason(fault_server: FaultServer) -> None:
    fault_server.otherwise = completion('{"0": ["One«7»"]}')
    simulation = simulate(fault_server)
    assert first_words(simulation) == [True, False, False]
    assert simulation.values[1] is None
    assert simulation.values[2] is None
    # In the second attempt the first of the failed texts is answered with words of another.
    assert simulation.failures == {
        1: "'One': these words do not stand in the text",
        2: "no answer for this text",
    }
    assert simulation.usage.calls == len(fault_server.requests) == 2


def test_garbage_for_all_texts_is_no_error_of_the_endpoint(fault_server: FaultServer) -> None:
    fault_server.otherwise = completion("garbage")
    simulation = simulate(fault_server)
    assert simulation.values == (None, None, None)
    assert set(simulation.failures) == {0, 1, 2}
    assert simulation.usage.total_tokens == 220


def test_good_texts_survive_an_endpoint_that_breaks_down(fault_server: FaultServer) -> None:
    fault_server.script = [completion('{"0": ["One«7»"]}'), error(500)]
    simulation = simulate(fault_server)
    assert first_words(simulation) == [True, False, False]
    assert "HTTP 500" in simulation.failures[1]
    assert simulation.usage.calls == 1


# Endpoints that fail


def test_too_many_requests_are_tried_again_when_the_endpoint_says(
    fault_server: FaultServer,
) -> None:
    fault_server.script = [error(429, retry_after="1")]
    start = time.monotonic()
    assert all(first_words(simulate(fault_server, llm_retries=1)))
    assert time.monotonic() - start >= 1


@pytest.mark.parametrize("failure", [error(429), error(500), error(503)])
def test_passing_failures_are_tried_again(fault_server: FaultServer, failure: Reply | str) -> None:
    fault_server.script = [failure]
    assert all(first_words(simulate(fault_server, llm_retries=1)))


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (error(429), "HTTP 429"),
        (error(500), "HTTP 500"),
        (error(404, "no such model"), "HTTP 404: no such model"),
    ],
)
def test_an_endpoint_that_keeps_failing_is_an_error(
    fault_server: FaultServer, failure: Reply, reason: str
) -> None:
    fault_server.otherwise = failure
    caught = fail(fault_server)
    assert reason in str(caught)
    assert caught.usage == Usage()


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (DROP, "the connection to the LLM endpoint failed"),
        (HANG, "no answer within 0.5 s"),
        (Reply(200, "<html>proxy</html>", {"Content-Type": "text/html"}), "no chat completion"),
        (Reply(200, "{]"), "cannot be read"),
        (Reply(200, {"error": "oops"}), "no chat completion"),
        (Reply(200, {"choices": []}), "no chat completion"),
    ],
)
def test_an_answer_that_was_lost_is_not_asked_for_again_and_counts_as_its_worst(
    fault_server: FaultServer, failure: Reply | str, reason: str
) -> None:
    fault_server.otherwise = failure
    changes = {"llm_retries": 3, "llm_timeout": 0.5}
    with simulator(fault_server, **changes) as made:
        worst = made.worst_case("numbers", TEXTS).total_tokens
    caught = fail(fault_server, **changes)
    assert reason in str(caught)
    assert len(fault_server.requests) == caught.usage.calls == 1
    assert 110 < caught.usage.total_tokens <= worst


def test_a_refused_key_is_not_tried_again_nor_told(fault_server: FaultServer) -> None:
    fault_server.otherwise = error(401, f"Incorrect API key provided: {KEY}")
    caught = fail(fault_server, llm_retries=3, openai_api_key=KEY)
    assert "HTTP 401" in str(caught)
    assert KEY not in str(caught)
    assert len(fault_server.requests) == 1


def test_a_hanging_endpoint_is_given_up(fault_server: FaultServer) -> None:
    fault_server.otherwise = HANG
    start = time.monotonic()
    assert "no answer within 0.2 s" in str(fail(fault_server, llm_timeout=0.2))
    assert time.monotonic() - start < 5


def test_an_endpoint_that_is_not_there_is_an_error(fault_server: FaultServer) -> None:
    caught = fail(fault_server, openai_base_url="http://127.0.0.1:9/v1")
    assert "the connection to the LLM endpoint failed" in str(caught)


def test_what_was_paid_before_the_failure_is_counted(fault_server: FaultServer) -> None:
    fault_server.script = [completion("garbage"), error(500)]
    caught = fail(fault_server)
    assert caught.usage == Usage(100, 10, calls=1, cost_usd=None)


def test_nothing_secret_is_logged(
    fault_server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    fault_server.refused = {"temperature"}
    with caplog.at_level(logging.INFO, "stages"):
        simulate(fault_server, openai_api_key=KEY)
    assert "temperature" in caplog.text
    assert KEY not in caplog.text
    assert "numbers" not in caplog.text


# The cache


@pytest.fixture
def cached(tmp_path: Path) -> dict[str, str]:
    return {"cache_path": str(tmp_path / "answers.sqlite")}


def test_the_same_question_is_paid_once(fault_server: FaultServer, cached: dict[str, str]) -> None:
    first = simulate(fault_server, **cached)
    second = simulate(fault_server, **cached)
    assert second.usage == Usage(cached_calls=1)
    assert len(fault_server.requests) == 1
    for one, other in zip(first.values, second.values, strict=True):
        assert one is not None
        np.testing.assert_array_equal(one, other)


def test_second_attempts_are_cached_too(fault_server: FaultServer, cached: dict[str, str]) -> None:
    fault_server.script = [completion('{"0": ["One«7»"]}')]
    simulate(fault_server, **cached)
    again = simulate(fault_server, **cached)
    assert all(first_words(again))
    assert again.usage == Usage(cached_calls=2)


def test_an_answer_of_no_use_does_not_bar_its_question(
    fault_server: FaultServer, cached: dict[str, str]
) -> None:
    fault_server.script = [completion(None), completion("garbage")]
    assert not any(first_words(simulate(fault_server, **cached)))
    healed = simulate(fault_server, **cached)
    assert all(first_words(healed))
    assert healed.usage.calls == 1
    with closing(sqlite3.connect(cached["cache_path"])) as db:
        kept = db.execute("SELECT content, rejected FROM answers ORDER BY id").fetchall()
    assert kept[:2] == [(None, 1), ("garbage", 1)]
    assert kept[2][1] == 0


def test_a_cache_that_cannot_be_opened_does_no_harm(
    fault_server: FaultServer, tmp_path: Path
) -> None:
    assert all(first_words(simulate(fault_server, cache_path=str(tmp_path))))


# Making one


def test_without_an_endpoint_there_is_no_simulator() -> None:
    assert simulator_from(Settings()) is None


def test_a_key_alone_means_openai() -> None:
    made = simulator_from(Settings(openai_api_key=KEY))
    assert isinstance(made, Simulator)


def test_the_module_loads_without_the_client() -> None:
    code = "import sys, stages.named; sys.exit('openai' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# A real model


PROSE = [
    [" The", " harbour", " was", " more", " quiet", " than", " ever", "."],
    [" We", " sold", " two", " more", " chairs", "\n", "on", " Monday", "."],
    [" Nothing", " is", " more", " true", ",", " he", " said", "."],
]


def test_a_real_model_is_asked_and_counted(llm_server: LLMServer) -> None:
    with simulator(llm_server) as made:
        most = made.worst_case("the word 'more'", PROSE).total_tokens
        simulation = made.simulate("the word 'more'", PROSE)
    assert simulation.usage.calls in {1, 2}
    assert simulation.usage.prompt_tokens > 500
    assert simulation.usage.completion_tokens > 0
    assert simulation.usage.total_tokens <= most
    assert simulation.usage.cost_usd is None


def test_weak_answers_become_values_or_reasons(llm_server: LLMServer) -> None:
    texts = PROSE[:2]
    with simulator(llm_server, llm_texts_per_request=1) as made:
        simulation = made.simulate("verbs of motion, weaker on other verbs", texts)
    assert len(simulation.values) == len(texts)
    for index, (tokens, values) in enumerate(zip(texts, simulation.values, strict=True)):
        if values is None:
            assert simulation.failures[index]
        else:
            assert index not in simulation.failures
            assert values.shape == (len(tokens),)
            assert values.min() >= 0
            assert values.max() <= 10


def test_a_real_server_binds_answers_to_the_schema(llm_server: LLMServer, tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    with simulator(llm_server, cache_path=str(path)) as made:
        first = made.simulate("commas", PROSE[:2])
        again = made.simulate("commas", PROSE[:2])
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT content, finish_reason FROM answers").fetchall()
    for content, finish_reason in rows:
        assert content.lstrip().startswith("{")
        if finish_reason == "stop":
            assert all(isinstance(quotes, list) for quotes in json.loads(content).values())
    assert first.usage.calls == len(rows) - again.usage.calls
