from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from fault_server import Body, FaultServer, Reply, mark_first_words
from serving import CLASSIC, answer, serving, shared_scorer, strict_json

import pipeline
import server
from pipeline.errors import ConfigurationError, OverBudget
from pipeline.scorer import Scorer
from pipeline.settings import Settings
from pipeline.simulation import Simulation

# What the scripted endpoint reports of each call; so much that what one call takes off a budget of
# two texts leaves too little for one text.
CALL = 500
PRICES = '{"models": {"scripted": {"input": 10, "output": 100}}}'
CALL_USD = (400 * 10 + 100 * 100) / 1e6


@pytest.fixture(autouse=True)
def _models_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = shared_scorer()._models.load()
    monkeypatch.setattr("pipeline.models.MiniLM", lambda *_, **__: loaded.predictor.reader)
    monkeypatch.setattr("pipeline.models.CheapPredictor", lambda *_: loaded.predictor)
    monkeypatch.setattr("pipeline.models.Reader.load", lambda *_: loaded.predictor.reader)


def paid(body: Body) -> Reply:
    return _dear(body, 400, 100)


def _dear(body: Body, prompt_tokens: int, completion_tokens: int = 0) -> Reply:
    reply = mark_first_words(body)
    assert isinstance(reply.body, dict)
    reply.body["usage"] = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    return reply


@pytest.fixture
def configured(fault_server: FaultServer, tmp_path: Path) -> dict[str, Any]:
    fault_server.otherwise = paid
    (tmp_path / "prices.json").write_text(PRICES)
    return {
        "port": 0,
        "openai_base_url": fault_server.base_url,
        "simulator_model": fault_server.model,
        "llm_retries": 0,
        "cache_path": str(tmp_path / "answers.sqlite"),
        "prices_path": str(tmp_path / "prices.json"),
    }


@contextmanager
def started(configured: dict[str, Any], **changes: Any) -> Iterator[httpx2.Client]:
    settings = Settings(**{**configured, **changes})
    with Scorer(settings) as scorer, serving(scorer, settings) as client:
        yield client


def worst(configured: dict[str, Any]) -> int:
    """What one score may take, in tokens."""
    with Scorer(Settings(**configured)) as scorer:
        return scorer.forecast([asked(1)], tolerance=1e-6).worst.total_tokens


def asked(number: int, **options: Any) -> dict[str, Any]:
    """A request that needs the LLM and that no other one's answers serve."""
    explanation = f"fast animals, kind {number}"
    return {**CLASSIC, "explanation": explanation, "tolerance": 1e-6, **options}


def metric(client: httpx2.Client, name: str) -> float | None:
    found = re.search(rf"^{name} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else None


def test_a_budget_that_is_gone_refuses_until_midnight(configured: dict[str, Any]) -> None:
    limit = worst(configured) + CALL
    with started(configured, daily_llm_tokens=limit) as client:
        for number in (1, 2):
            assert answer(client, **asked(number))["status"] == "ok"
        refused = client.post("/score", json=asked(3))
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 86_400
        assert strict_json(refused, "Error")["code"] == "over_budget"
        assert metric(client, "neuron_scorer_over_budget_total") == 1
        assert metric(client, "neuron_scorer_budget_left_tokens") == limit - 2 * CALL
        assert metric(client, "neuron_scorer_budget_left_cost_usd") is None


def test_what_needs_no_llm_is_answered_all_the_same(configured: dict[str, Any]) -> None:
    with started(configured, daily_llm_tokens=10**6) as client:
        first = answer(client, **asked(1))
        assert first["usage"]["calls"] == 1
    with started(configured, daily_llm_tokens=1) as client:
        assert client.post("/score", json=asked(2)).status_code == 429
        assert answer(client, **asked(2, llm=False))["status"] == "ok"
        assert answer(client, **asked(2, tolerance=1.0))["route"] == "cheap"
        kept = answer(client, **asked(1))
        assert (kept["route"], kept["status"], kept["usage"]["calls"]) == ("full", "ok", 0)
        assert kept["score"] == first["score"]


@pytest.mark.parametrize(
    ("set_up", "wanted", "status"),
    [
        ("refuse", "degrade", 200),
        ("refuse", None, 429),
        ("degrade", None, 200),
        ("degrade", "refuse", 429),
    ],
)
def test_the_caller_may_prefer_the_estimate_without_the_llm(
    configured: dict[str, Any], set_up: str, wanted: str | None, status: int
) -> None:
    with started(configured, daily_llm_tokens=1, on_budget=set_up) as client:
        response = client.post("/score", json=asked(1, on_budget=wanted))
        assert response.status_code == status
        if status == 200:
            found = strict_json(response, "ScoreResult")
            assert (found["route"], found["status"]) == ("cheap", "degraded")
            assert found["reason"] == "today's budget of 1 LLM tokens ended after 0 records"


def test_a_restart_and_a_second_server_remember(configured: dict[str, Any]) -> None:
    daily = {"daily_llm_tokens": 10**6, "daily_cost_usd": 1.0}
    with started(configured, **daily) as one, started(configured, **daily) as other:
        answer(one, **asked(1))
        assert metric(other, "neuron_scorer_budget_left_tokens") == 10**6 - CALL
        answer(other, **asked(2))
    with started(configured, **daily) as third:
        assert metric(third, "neuron_scorer_budget_left_tokens") == 10**6 - 2 * CALL
        left = metric(third, "neuron_scorer_budget_left_cost_usd")
        assert left == pytest.approx(1.0 - 2 * CALL_USD)


def test_scores_at_once_do_not_overrun(
    configured: dict[str, Any], fault_server: FaultServer
) -> None:
    def slow(body: Body) -> Reply:
        fault_server.released.wait(0.3)
        return paid(body)

    fault_server.otherwise = slow
    most = worst(configured)
    with (
        started(configured, daily_llm_tokens=2 * most, threads=8) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        codes = list(pool.map(lambda n: client.post("/score", json=asked(n)).status_code, range(8)))
        left = metric(client, "neuron_scorer_budget_left_tokens")
    assert set(codes) <= {200, 429}
    assert codes.count(200) >= 2
    assert fault_server.most_at_once <= 2
    assert left == 2 * most - CALL * len(fault_server.requests)


def test_a_day_in_dollars_needs_a_price(configured: dict[str, Any]) -> None:
    settings = Settings(**{**configured, "prices_path": "", "daily_cost_usd": 1.0})
    with pytest.raises(ConfigurationError, match=r"DAILY_COST_USD.*PRICES_PATH"):
        server.create_app(Scorer(settings), settings)


def test_a_score_s_budget_in_dollars_is_kept(
    configured: dict[str, Any], fault_server: FaultServer
) -> None:
    with started(configured) as client:
        none = answer(client, **asked(1, max_cost_usd=0.001))
        assert (none["route"], none["status"], none["usage"]["calls"]) == ("cheap", "degraded", 0)
        assert none["reason"] == "the budget of 0.001 USD ended after 0 records"
        some = answer(client, **asked(1, max_cost_usd=1))
        assert some["usage"]["cost_usd"] == pytest.approx(CALL_USD)
        assert metric(client, "neuron_scorer_llm_cost_usd_total") == pytest.approx(CALL_USD)
    with started(configured, prices_path="") as client:
        unknown = answer(client, **asked(2, max_cost_usd=1))
        assert unknown["status"] == "degraded"
        assert "PRICES_PATH" in unknown["reason"]
    assert len(fault_server.requests) == 1


def test_a_batch_shares_its_budget(configured: dict[str, Any]) -> None:
    requests = [{**CLASSIC, "explanation": f"animals {n}"} for n in range(4)]
    with Scorer(Settings(**configured)) as scorer:
        limit = scorer.forecast(requests[:1], tolerance=1e-6).worst.total_tokens + 2 * CALL
        results = list(scorer.score_many(requests, tolerance=1e-6, max_batch_llm_tokens=limit))
        # Whichever of those under way came last goes without.
        paid = [r for r, one in zip(requests, results, strict=True) if one.status == "ok"]
        results.sort(key=lambda result: result.status == "degraded")
        assert [result.status for result in results] == ["ok"] * 3 + ["degraded"]
        assert sum(result.usage.total_tokens for result in results) == 3 * CALL
        assert results[3].reason
        assert results[3].reason.startswith("the batch's budget of")
        free = list(scorer.score_many(paid, tolerance=1e-6, max_batch_cost_usd=0.0))
        assert [result.status for result in free] == ["ok"] * 3
        with pytest.raises(pipeline.ScorerError, match="max_batch_cost_usd"):
            next(scorer.score_many(requests, max_batch_cost_usd=-1))


def test_the_library_raises_what_the_server_answers(configured: dict[str, Any]) -> None:
    with Scorer(Settings(**configured, daily_llm_tokens=1)) as scorer:
        with pytest.raises(OverBudget) as caught:
            scorer.score(CLASSIC["explanation"], CLASSIC["activations"], tolerance=1e-6)
        assert caught.value.retry_after > 0


def test_what_was_paid_for_is_answered_where_the_day_ends_amid_a_score(
    configured: dict[str, Any], fault_server: FaultServer
) -> None:
    records = [
        {"tokens": [f" word{n}", *[" fox"] * 400], "values": [1] + [0] * 400} for n in (1, 2)
    ]
    with Scorer(Settings(**configured)) as scorer:
        both = scorer.forecast([asked(1, activations=records)], tolerance=1e-6).worst.total_tokens
    with started(configured, daily_llm_tokens=both - 1) as client:
        fault_server.otherwise = lambda body: _dear(body, both - 1500)
        found = answer(client, **asked(1, activations=records))
    assert (found["route"], found["status"], found["usage"]["calls"]) == ("partial", "degraded", 1)
    assert "today's budget" in found["reason"]


@pytest.mark.parametrize("name", ["auto", "quote", "echo", "logprobs"])
def test_the_day_s_budget_holds_for_every_simulator_of_the_settings(
    configured: dict[str, Any], fault_server: FaultServer, name: Any
) -> None:
    asking = (CLASSIC["explanation"], CLASSIC["activations"])
    with Scorer(Settings(**configured, daily_cost_usd=1e-6)) as scorer:
        with pytest.raises(OverBudget, match="1e-06 USD is gone"):
            scorer.score(*asking, simulator=name, tolerance=1e-6)
        found = scorer.score(*asking, simulator=name, tolerance=1e-6, on_budget="degrade")
        assert (found.route, found.status) == ("cheap", "degraded")
        worst = scorer.forecast([asked(1)], simulator=name, tolerance=1e-6).worst
    assert worst.cost_usd is not None
    assert worst.cost_usd == pytest.approx(
        (worst.prompt_tokens * 10 + worst.completion_tokens * 100) / 1e6
    )
    assert fault_server.requests == []


def test_a_simulator_of_the_caller_s_does_not_spend_the_day_s_budget(
    configured: dict[str, Any],
) -> None:
    class Silent:
        def simulate(self, explanation: str, texts: Sequence[Sequence[str]]) -> Simulation:
            return Simulation(tuple(np.zeros(len(tokens)) for tokens in texts))

    with Scorer(Settings(**configured, daily_llm_tokens=1)) as scorer:
        asking = (CLASSIC["explanation"], CLASSIC["activations"])
        assert scorer.score(*asking, simulator=Silent(), tolerance=1e-6).status == "ok"


def test_a_name_without_an_endpoint_is_refused_in_a_forecast_too() -> None:
    with (
        Scorer(Settings()) as scorer,
        pytest.raises(pipeline.ScorerError, match="no LLM is configured"),
    ):
        scorer.forecast([asked(1)], simulator="echo")
