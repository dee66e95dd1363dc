"""What a server holds under load and faults, and what it spends.

`python -m benchmarks.trust_faults` prints it. The processes, the LLM that fails and the LLM that
keeps account are those of the tests.
"""

from __future__ import annotations

import itertools
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.examples import load_examples

if TYPE_CHECKING:
    from server_process import ServerProcess

_TESTS = Path(__file__).parent.parent / "tests"
_FAULTS = ("test_faults.py", "test_line.py", "test_cache.py", "test_crash.py")
_WARM_UP = 12
"""Scores after which every thread of the server has had its share, and memory should be flat."""
_MIB = 2**20


def main() -> None:
    for name, value in rows():
        print(f"{name:60} {value}")


def rows(clients: int = 32, seconds: float = 60.0) -> list[tuple[str, str]]:
    """Figures by name; takes some four minutes on two idle cores."""
    sys.path.insert(0, str(_TESTS))
    with tempfile.TemporaryDirectory() as folder:
        return [*_load(Path(folder), clients, seconds), *_faults(), *_money(Path(folder))]


def _load(folder: Path, clients: int, seconds: float) -> list[tuple[str, str]]:
    """Every client asks again as soon as it is answered, or told to come back."""
    import fault_server
    from server_process import started

    with (
        fault_server.serve() as llm,
        started(
            folder / "load",
            OPENAI_BASE_URL=llm.base_url,
            SIMULATOR_MODEL="scripted",
            CACHE_PATH=str(folder / "load.sqlite"),
            THREADS="2",
        ) as server,
    ):
        start, stop = threading.Event(), threading.Event()
        memory: list[int] = []
        with ThreadPoolExecutor(clients) as pool:
            under_way = [pool.submit(_client, server, n, start, stop) for n in range(clients)]
            while _scores(server) < _WARM_UP:
                time.sleep(0.5)
            start.set()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                memory.append(server.resident)
                time.sleep(1)
            stop.set()
        found = [future.result() for future in under_way]
    statuses = sum((statuses for statuses, _ in found), Counter[str]())
    took = [one for _, times in found for one in times]
    answered = statuses["200"]
    errors = sum(statuses.values()) - answered - statuses["429"]
    tenth = len(memory) // 10 or 1
    grown = statistics.mean(memory[-tenth:]) - statistics.mean(memory[:tenth])
    percentiles = statistics.quantiles(took, n=20)
    return [
        ("load: clients at once, for seconds", f"{clients}, {seconds:g}"),
        ("load: scores given; told to come back (429)", f"{answered}; {statuses['429']}"),
        ("load: seconds a score, p50, p95", f"{percentiles[9]:.2f}, {percentiles[18]:.2f}"),
        ("load: errors", f"{errors} ({errors / max(1, sum(statuses.values())):.1%})"),
        (
            "load: memory after warm-up, growth (MiB)",
            f"{memory[0] / _MIB:.0f}, {grown / _MIB:+.0f}",
        ),
    ]


def _client(
    server: ServerProcess, number: int, start: threading.Event, stop: threading.Event
) -> tuple[Counter[str], Sequence[float]]:
    """What a client was answered, and how long its scores took, once `start` is set."""
    import httpx2

    statuses: Counter[str] = Counter()
    took = []
    example = load_examples()[-1]
    with httpx2.Client(timeout=120, trust_env=False) as client:
        for times in itertools.count():
            if stop.is_set():
                break
            counts, sent = start.is_set(), time.monotonic()
            explanation = f"{example.explanations[0]}, {number}, {times}"
            body = {"explanation": explanation, "activations": example.activations}
            try:
                response = client.post(f"{server.url}/score", json=body)
            except httpx2.HTTPError as error:
                statuses[type(error).__name__] += 1
                continue
            statuses[str(response.status_code)] += counts
            if response.status_code == 200 and counts:
                took.append(time.monotonic() - sent)
            elif response.status_code == 429:
                time.sleep(float(response.headers["Retry-After"]))
    return statuses, took


def _scores(server: ServerProcess) -> float:
    metrics = server.get("/metrics").text
    counted = re.findall(r"^neuron_scorer_scores_total.* (\S+)$", metrics, re.MULTILINE)
    return sum(map(float, counted))


def _faults() -> list[tuple[str, str]]:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *(str(_TESTS / name) for name in _FAULTS)],
        cwd=_TESTS.parent,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    last = run.stdout.rstrip().rpartition("\n")[2]
    counts = {kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|error)", last)}
    return [("faults survived", f"{counts.get('passed', 0)} of {sum(counts.values())}")]


def _money(folder: Path) -> list[tuple[str, str]]:
    from test_spending import spend

    budget = 60_000
    spent = spend(folder, processes=3, budget=budget, faulty=0.2)
    return [
        ("money: answers sent in full, by an LLM that fails on 20 %", str(spent.answers)),
        ("money: answers lost", str(spent.lost)),
        ("money: answers paid twice", str(spent.twice)),
        (
            "money: tokens charged, of a day's budget for 3 processes",
            f"{spent.charged} of {budget}",
        ),
        ("money: budget overrun (tokens)", str(max(0, spent.charged - budget))),
    ]


if __name__ == "__main__":
    main()
