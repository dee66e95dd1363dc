"""What a second Ray worker adds to one, each with one thread: `make bench-ray`.

Every request has 20 texts of some 64 tokens that were never seen before, scored without an LLM.
The clock runs while the workers are never out of requests, from when they know the background's
texts, so starting Ray, loading the models and the last requests under way do not count.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import ray

from benchmarks.dataset import KINDS, load
from pipeline.distributed import Cluster, score_many
from pipeline.settings import Settings

RESULTS = Path(__file__).parent / "results"
FEATURES = 16
WARM_UP, TIMED = 4 * FEATURES, 4 * FEATURES


@dataclass(frozen=True)
class Speed:
    """Requests a second of a number of workers, and how busy the machine was with all it did."""

    workers: int
    rate: float
    load: float


def main() -> None:
    one, two = two_workers_against_one()
    lines = [
        f"{os.cpu_count()} cores, one thread a worker, no LLM; {TIMED} requests of 20 texts of 64 "
        f"tokens, after {WARM_UP} that are not counted",
        "",
        "| workers | requests a second | of one worker's | load average of the machine |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {speed.workers} | {speed.rate:.2f} | {speed.rate / one.rate:.2f} | {speed.load:.1f} |"
        for speed in (one, two)
    ]
    text = "\n".join(lines) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "ray.md").write_text(text, encoding="utf-8")
    print(text)


def two_workers_against_one() -> tuple[Speed, Speed]:
    """The same requests with one worker and with two."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        return _speed(1), _speed(2)
    finally:
        ray.shutdown()


def _speed(workers: int) -> Speed:
    results = score_many(_requests(), cluster=Cluster(workers=workers), settings=Settings())
    for _ in islice(results, WARM_UP):
        pass
    start = time.perf_counter()
    for _ in islice(results, TIMED):
        pass
    rate = TIMED / (time.perf_counter() - start)
    results.close()
    return Speed(workers, rate, os.getloadavg()[0])


def _requests() -> Iterator[dict[str, Any]]:
    """One explanation of each of some features over and over, every time with other texts."""
    chosen = [case for case in load()[:: len(KINDS)] if len(case.top.records) == 20][:FEATURES]
    for round_number in count():
        for case in chosen:
            records = [
                {
                    "tokens": [f"{round_number}", *record.tokens],
                    "values": [0.0, *record.values.tolist()],
                }
                for record in case.top.records
            ]
            yield {"explanation": case.top.explanation, "activations": records}


if __name__ == "__main__":
    main()
