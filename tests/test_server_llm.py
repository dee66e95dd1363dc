from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import fault_server
import httpx2
import pytest
from llm_server import LLMServer
from serving import answer, serving

from pipeline.scorer import Scorer
from pipeline.settings import Settings


class LLMSetup(NamedTuple):
    client: httpx2.Client
    faults: fault_server.FaultServer

    def answer(self, behaviour: fault_server.Behaviour, **request: Any) -> dict[str, Any]:
        """What is answered where the LLM behaves so and the tolerance leaves it no way out."""
        self.faults.requests.clear()
        self.faults.otherwise = behaviour
        return answer(self.client, **{"tolerance": 1e-6, **request})


@pytest.fixture(scope="module")
def llm() -> Iterator[LLMSetup]:
    """A server whose LLM endpoint does what `faults` is told."""
    with fault_server.serve() as faults:
        settings = Settings(
            port=0,
            openai_api_key="sk-private",
            openai_base_url=faults.base_url,
            simulator_model=faults.model,
            llm_retries=0,
            llm_pause=0.0,
        )
        with Scorer(settings) as scorer, serving(scorer, settings) as client:
            yield LLMSetup(client, faults)


def test_an_llm_that_answers_is_used_and_counted(llm: LLMSetup) -> None:
    found = llm.answer(fault_server.mark_first_words)
    assert (found["status"], found["reason"]) == ("ok", None)
    assert found["route"] in {"partial", "full"}
    assert found["usage"]["calls"] == len(llm.faults.requests) > 0
    assert found["usage"]["prompt_tokens"] == 100 * found["usage"]["calls"]
    counted = re.search(r'llm_tokens_total{kind="prompt"} (\S+)', llm.client.get("/metrics").text)
    assert counted
    assert float(counted[1]) >= found["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(fault_server.completion(None), id="refusal"),
        pytest.param(fault_server.completion(""), id="empty"),
        pytest.param(fault_server.completion("I think it fires on foxes."), id="prose"),
        pytest.param(fault_server.completion("{}"), id="dropped values"),
        pytest.param(fault_server.completion('{"0": [null], "1": [NaN]}'), id="null values"),
        pytest.param(fault_server.completion('{"0": ["not there«7»"]}'), id="invented quotes"),
        pytest.param(fault_server.Reply(200, "<html>"), id="no JSON"),
        pytest.param(fault_server.error(401), id="401"),
        pytest.param(fault_server.error(429), id="429"),
        pytest.param(fault_server.error(500), id="500"),
        pytest.param(fault_server.DROP, id="connection dropped"),
    ],
)
def test_an_llm_that_fails_leaves_the_cheap_estimate(
    llm: LLMSetup, behaviour: fault_server.Behaviour
) -> None:
    cheap = answer(llm.client, llm=False)
    found = llm.answer(behaviour)
    assert (found["route"], found["status"]) == ("cheap", "degraded")
    assert found["reason"]
    assert found["raw_score"] == cheap["raw_score"]
    assert found["simulations"] == cheap["simulations"]
    assert llm.faults.requests
    assert "sk-private" not in json.dumps(found)


def test_a_budget_that_does_not_suffice_is_not_exceeded(llm: LLMSetup) -> None:
    found = llm.answer(fault_server.mark_first_words, max_llm_tokens=1)
    assert (found["route"], found["status"]) == ("cheap", "degraded")
    assert not llm.faults.requests


def test_a_caller_can_do_without_the_llm(llm: LLMSetup) -> None:
    found = llm.answer(fault_server.mark_first_words, llm=False)
    assert (found["route"], found["status"]) == ("cheap", "ok")
    assert not llm.faults.requests


def test_odd_tokens_reach_the_llm_and_come_back(llm: LLMSetup) -> None:
    tokens = [" fox", "\ud83d", "\u0000", "\u2028", "", "«7»", "\n", " end"]
    activations = [{"tokens": tokens, "values": [3, 0, 0, 1, 0, 0, 0, 0]}]
    assert llm.answer(fault_server.mark_first_words, activations=activations)


def test_a_real_llm_is_asked_from_end_to_end(llm_server: LLMServer) -> None:
    settings = Settings(
        port=0, openai_base_url=llm_server.base_url, simulator_model=llm_server.model
    )
    with Scorer(settings) as scorer, serving(scorer, settings) as client:
        found = answer(client, tolerance=1e-6)
    assert found["usage"]["calls"] in {1, 2}
    assert found["usage"]["prompt_tokens"] > 500
    # So small a model seldom quotes what stands in the text; what it gets wrong must be said.
    assert (found["status"], found["route"] == "full") in {("ok", True), ("degraded", False)}
    assert (found["reason"] is None) == (found["status"] == "ok")
    assert -1 <= found["interval"][0] <= found["raw_score"] <= found["interval"][1] <= 1
