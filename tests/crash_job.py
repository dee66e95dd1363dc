"""Goes on with a batch job, in a process of its own that tests can kill."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from models import PLAIN_GATE

from pipeline.batch_job import BatchJob
from pipeline.records import Request
from pipeline.settings import Settings
from pipeline.simulation import Simulator
from pipeline.wire import ScoreCall
from stages.gate import Estimate
from stages.rounds import simulate_rounds

REQUESTS = 5


class Rounds:
    """A scorer without a cheap stage, which would take long to load."""

    def score(
        self, explanation: str, activations: Sequence[Any], *, simulator: Simulator, **_: Any
    ) -> None:
        request = Request.parse(explanation, activations)
        simulate_rounds(request, PLAIN_GATE, Estimate(0.5, 0.3), simulator, 1e-6)


def calls() -> list[tuple[int, ScoreCall]]:
    activations = [{"tokens": ["One", " two"], "values": [1, 0]}]
    return [(n, ScoreCall(f"numbers, kind {n}", activations)) for n in range(REQUESTS)]


def main(endpoint: str, model: str, folder: str) -> int:
    """Do what can be done; 0 once all is."""
    settings = Settings(
        openai_base_url=endpoint,
        simulator_model=model,
        cache_path=f"{folder}/cache.sqlite",
        llm_retries=0,
        daily_llm_tokens=10_000_000,
    )
    setattr(BatchJob, "_scorer", lambda self: nullcontext(Rounds()))  # noqa: B010
    with BatchJob(Path(folder), settings, calls, {}, tell=lambda line: None) as job:
        return 0 if job.go_on(wait=0.01) else 1
