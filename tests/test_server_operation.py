from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from serving import (
    CLASSIC,
    KEY,
    ROOT,
    SPEC,
    GatedScorer,
    answer,
    refused,
    serving,
    shared_scorer,
    strict_json,
)

import pipeline
import server
from pipeline.settings import Settings
from pipeline.wire import ScoreCall


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    """Of a server that demands the secret."""
    with serving(shared_scorer(), Settings(port=0, server_key=KEY)) as client:
        yield client


def test_a_full_server_says_when_to_come_back() -> None:
    gated = GatedScorer(shared_scorer())
    with (
        serving(gated, Settings(port=0, threads=2)) as client,
        ThreadPoolExecutor() as pool,
    ):
        running = [pool.submit(client.post, "/score", json=CLASSIC) for _ in range(2)]
        assert all(gated.entered.acquire(timeout=30) for _ in running)
        response = client.post("/score", json=CLASSIC)
        assert response.status_code == 429
        assert int(response.headers["Retry-After"]) >= 1
        assert strict_json(response, "Error")["code"] == "busy"
        assert client.get("/healthz").status_code == 200
        assert "neuron_scorer_scores_in_flight 2.0" in client.get("/metrics").text
        gated.gate.set()
        assert [future.result().status_code for future in running] == [200, 200]
        assert client.post("/score", json=CLASSIC).status_code == 200


def test_an_unforeseen_error_shows_nothing_and_frees_its_slot(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gated = GatedScorer(shared_scorer(), RuntimeError("/private/path"))
    gated.gate.set()
    with serving(gated, Settings(port=0, threads=1)) as client:
        for _ in range(2):
            response = client.post("/score", json=CLASSIC)
            assert response.status_code == 500
            assert "private" not in response.text
            assert strict_json(response, "Error")["code"] == "internal"
    assert "/private/path" in caplog.text


def test_the_log_holds_the_score_and_nothing_private(
    client: httpx2.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "server"):
        found = answer(client)
    assert f"score={found['score']}" in caplog.text
    assert not re.search(f"{KEY}|fast animals|leopard", caplog.text)


def test_health_tells_the_version(client: httpx2.Client) -> None:
    found = strict_json(client.get("/healthz"), "Health")
    assert found == {"status": "ok", "version": pipeline.__version__, "llm": False}


def test_metrics_count_scores_and_refusals() -> None:
    with serving(shared_scorer(), Settings(port=0)) as client:
        answer(client)
        refused(client, b"")
        client.get("/nothing")
        response = client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain")
    for line in (
        'neuron_scorer_http_requests_total{path="/score",status="200"} 1.0',
        'neuron_scorer_http_requests_total{path="/score",status="400"} 1.0',
        'neuron_scorer_http_requests_total{path="unknown",status="404"} 1.0',
        'neuron_scorer_scores_total{route="cheap",status="ok"} 1.0',
        'neuron_scorer_llm_tokens_total{kind="prompt"} 0.0',
        "neuron_scorer_llm_cost_usd_total 0.0",
        "neuron_scorer_score_seconds_count 1.0",
        "neuron_scorer_scores_in_flight 0.0",
    ):
        assert line in response.text.splitlines()


def test_the_openapi_description_is_served_and_names_every_route(client: httpx2.Client) -> None:
    assert client.get("/openapi.json").json() == SPEC
    assert SPEC["info"]["version"] == pipeline.__version__
    rules = server.create_app(shared_scorer(), Settings()).url_map.iter_rules()
    assert {rule.rule for rule in rules if rule.endpoint != "static"} == SPEC["paths"].keys()


def test_the_openapi_limits_and_defaults_are_those_of_the_code() -> None:
    schemas = SPEC["components"]["schemas"]
    request, record = (schemas[name]["properties"] for name in ("ScoreRequest", "ActivationRecord"))
    limits = Settings().limits
    assert request["explanation"]["maxLength"] == limits.explanation_chars
    assert request["activations"]["maxItems"] == limits.texts
    assert f"{limits.total_tokens:,} tokens" in request["activations"]["description"]
    assert f"{limits.total_chars:,} characters" in request["activations"]["description"]
    assert record["tokens"]["maxItems"] == record["values"]["maxItems"] == limits.tokens_per_text
    assert record["tokens"]["items"]["maxLength"] == limits.token_chars
    call = ScoreCall(None, None)
    for name in ("tolerance", "max_llm_tokens", "max_cost_usd", "on_budget", "adjust", "llm"):
        assert request[name]["default"] == getattr(call, name)


def test_the_page_is_self_contained_and_locked_down(client: httpx2.Client) -> None:
    page = client.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert 'id="secret"' in page.text
    links = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert links
    for link in links:
        assert client.get(f"/{link}").status_code == 200
        assert "//" not in link


def test_the_page_of_an_open_server_asks_for_no_secret() -> None:
    page = server.create_app(shared_scorer(), Settings()).test_client().get("/")
    assert 'id="secret"' not in page.text


def test_the_program_serves_and_stops_cleanly(tmp_path: Path) -> None:
    environment = {**os.environ, "HOST": "127.0.0.1", "PORT": "0", "SERVER_KEY": KEY}
    with subprocess.Popen(
        [sys.executable, ROOT / "server.py"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        try:
            lines = iter(process.stderr.readline, "")
            url = next(found[0] for line in lines if (found := re.search(r"http://\S+", line)))
            health = httpx2.get(f"{url}/healthz", trust_env=False)
            assert health.status_code == 200
        finally:
            process.send_signal(signal.SIGTERM)
            rest = process.stderr.read()
    assert process.returncode == 0
    assert "stopped" in rest
    assert "Traceback" not in rest


def test_the_program_says_in_one_line_why_it_does_not_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOST", "0.0.0.0")
    monkeypatch.delenv("SERVER_KEY", raising=False)
    with pytest.raises(SystemExit, match="SERVER_KEY is empty"):
        server.main()
