"""The server over real HTTP: what tests use to run it and to read what it answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from openapi_schema import violations
from waitress.wasyncore import close_all, dispatcher

import server
from pipeline.examples import load_examples
from pipeline.result import ScoreResult
from pipeline.scorer import Scorer
from pipeline.settings import Settings

ROOT = Path(server.__file__).parent
KEY = "s3cret-ключ"
JSON = {"Content-Type": "application/json"}
CLASSIC = {
    "explanation": load_examples()[0].explanations[0],
    "activations": list(load_examples()[0].activations),
}
SPEC = json.loads((ROOT / "pipeline" / "web" / "openapi.json").read_text())


@cache
def shared_scorer() -> Scorer:
    """One without an LLM, exact on every machine; its models are loaded once for all tests."""
    return Scorer(Settings(encoder_precision="float32"))


class GatedScorer:
    """A scorer that waits at the gate, or falls over there."""

    def __init__(self, scorer: Scorer, error: Exception | None = None) -> None:
        self.scorer = scorer
        self.error = error
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()

    def load(self) -> None:
        self.scorer.load()

    def score(self, *args: Any, **options: Any) -> ScoreResult:
        self.entered.release()
        assert self.gate.wait(30)
        if self.error:
            raise self.error
        return self.scorer.score(*args, **options)


@contextmanager
def serving(scorer: Scorer | GatedScorer, settings: Settings) -> Iterator[httpx2.Client]:
    """Serve on a free loopback port, with a client for it."""
    bound = server.bind(server.create_app(cast(Scorer, scorer), settings), settings)
    thread = threading.Thread(target=bound.run)
    thread.start()

    def stop() -> None:
        # Not by the server's own close, which takes the trigger along: whoever pulled it may still
        # be writing to it when the loop, woken by another, comes here.
        dispatcher.close(bound)
        bound.trigger.del_channel()
        close_all(bound._map)

    try:
        url = f"http://127.0.0.1:{bound.effective_port}"
        with httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
            yield client
    finally:
        bound.trigger.pull_trigger(stop)
        thread.join()
        bound.task_dispatcher.shutdown()
        bound.trigger.close()


def strict_json(response: httpx2.Response, schema: str) -> Any:
    """The body, free of NaN and as the OpenAPI description has it."""

    def refuse(name: str) -> None:
        pytest.fail(f"{name} in an answer")

    assert response.headers["Content-Type"] == "application/json"
    body = json.loads(response.content, parse_constant=refuse)
    reference = {"$ref": f"#/components/schemas/{schema}"}
    assert not list(violations(body, reference, SPEC))
    return body


def answer(client: httpx2.Client, **request: Any) -> dict[str, Any]:
    """What a request that can be scored gets."""
    body = json.dumps({**CLASSIC, "secret": KEY, **request}).encode()
    response = client.post("/score", content=body, headers=JSON)
    assert response.status_code == 200, response.text
    found = cast(dict[str, Any], strict_json(response, "ScoreResult"))
    sent = {**CLASSIC, **request}["activations"]
    assert [one["simulation"]["tokens"] for one in found["simulations"]] == [
        record["tokens"] for record in sent
    ]
    assert [one["true_activations"] for one in found["simulations"]] == [
        record["values"] for record in sent
    ]
    for one in found["simulations"]:
        assert len(one["simulation"]["expected_activations"]) == len(one["simulation"]["tokens"])
    return found


def refused(client: httpx2.Client, content: bytes | Mapping[str, Any]) -> tuple[int, Any, str]:
    """Status, field and code of the error that a request gets."""
    if isinstance(content, Mapping):
        content = json.dumps(content).encode()
    response = client.post("/score", content=content, headers=JSON)
    error = strict_json(response, "Error")
    return response.status_code, error["field"], error["code"]
