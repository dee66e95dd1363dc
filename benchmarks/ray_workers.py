"""What a second Ray worker adds to one, each with one thread: `make bench-ray`.

Every request is a neuron of its own with 20 texts of 64 tokens, scored without an LLM. Starting Ray
and loading the models is not counted: the clock runs from the results of the first tasks on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import ray

from benchmarks.dataset import KINDS, load
from pipeline.distributed import Cluster, score_many
from pipeline.settings import Settings

RESULTS = Path(__file__).parent / "results"
WARM_UP, TIMED = 20, 40


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
    requests = list(islice(_requests(), WARM_UP + TIMED))
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        return _speed(1, requests), _speed(2, requests)
    finally:
        ray.shutdown()


def _speed(workers: int, requests: Sequence[dict[str, Any]]) -> Speed:
    results = score_many(requests, cluster=Cluster(workers=workers), settings=Settings())
    for _ in islice(results, WARM_UP):
        pass
    start = time.perf_counter()
    timed = sum(1 for _ in results)
    return Speed(workers, timed / (time.perf_counter() - start), os.getloadavg()[0])


def _requests() -> Iterator[dict[str, Any]]:
    """One explanation of each feature that has all its texts."""
    for case in load()[:: len(KINDS)]:
        if len(case.top.records) == 20:
            records = [
                {"tokens": list(record.tokens), "values": record.values.tolist()}
                for record in case.top.records
            ]
            yield {"explanation": case.top.explanation, "activations": records}


if __name__ == "__main__":
    main()
