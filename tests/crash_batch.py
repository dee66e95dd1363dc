"""Asks an LLM about a batch of requests, in a process of its own that tests can kill."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path

from models import PLAIN_GATE

from pipeline.budget import Limit
from pipeline.ledger import DailyBudget
from pipeline.records import Request
from pipeline.settings import Settings
from stages.gate import Estimate
from stages.named import simulator_from
from stages.rounds import simulate_rounds

WORDS = ["One", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEXTS = 6
DAY = Limit(tokens=10_000_000)


def asked(number: int) -> Request:
    """Each request has an explanation of its own, so that no other one's answers serve it."""
    records = [
        {"tokens": [f" {word}", f" stands{text}", "."], "values": [1, 0, 0]}
        for text, word in enumerate(WORDS[number : number + TEXTS], number)
    ]
    return Request.parse(f"numbers, kind {number}", records)


def main(endpoint: str, model: str, cache: str, requests: int) -> None:
    """Print, as JSON, what each request gave."""
    settings = Settings(
        openai_base_url=endpoint,
        simulator_model=model,
        cache_path=cache,
        llm_texts_per_request=2,
        llm_concurrency=2,
        llm_retries=0,
    )
    simulator = simulator_from(settings)
    assert simulator is not None
    day = DailyBudget(Path(cache), DAY)
    with closing(simulator):
        for number in range(requests):
            request = asked(number)
            done = simulate_rounds(request, PLAIN_GATE, Estimate(0.5, 0.3), simulator, 1e-6, [day])
            strengths = {index: values.tolist() for index, values in done.values.items()}
            line = [number, sorted(strengths.items()), done.usage.calls, done.usage.total_tokens]
            sys.stdout.write(f"{json.dumps(line)}\n")
            sys.stdout.flush()
