"""Spends from a shared budget of the day until nothing is left, in a process of its own."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from crash_batch import asked
from models import PLAIN_GATE

from pipeline.budget import Limit
from pipeline.ledger import DailyBudget
from pipeline.records import Request
from pipeline.settings import Settings
from stages.gate import Estimate
from stages.named import simulator_from
from stages.rounds import simulate_rounds

SCORES, THREADS = 24, 4


def main(endpoint: str, cache: str, tokens: int, name: str) -> None:
    """Print how many scores were refused."""
    settings = Settings(
        openai_base_url=endpoint,
        simulator_model="scripted",
        cache_path=cache,
        llm_texts_per_request=2,
        llm_timeout=20.0,
        llm_retries=1,
        llm_pause=0.05,
    )
    simulator = simulator_from(settings)
    assert simulator is not None
    day = DailyBudget(Path(cache), Limit(tokens=tokens))

    def score(number: int) -> bool:
        request = Request(f"numbers of {name}, kind {number}", asked(number % 4).records)
        done = simulate_rounds(request, PLAIN_GATE, Estimate(0.5, 0.3), simulator, 1e-6, [day])
        return done.ended is day

    with ThreadPoolExecutor(THREADS) as pool:
        sys.stdout.write(f"{sum(pool.map(score, range(SCORES)))}\n")
    simulator.close()
