"""What many scores take without an LLM, beside the bare encoder: `make bench-scale`.

`python -m benchmarks.scale PART...` runs some of the parts; each is a function that returns the
lines of its section. Where cores are shared with other jobs, seconds of processor time are the ones
to compare.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

import pipeline
from benchmarks.dataset import KINDS, Case, load
from stages.embedding import MiniLM, native_bfloat16

RESULTS = Path(__file__).parent / "results"
SERVER = Path(__file__).parent.parent / "server.py"
TEXTS = 20
NEURONS = 32
ROUNDS = 3
JSON = {"Content-Type": "application/json"}
CLIENTS, CALLS = 32, 5
SMALL = 100_000

Seconds = tuple[float, float]
"""On the clock, and of the processor."""


def main(chosen: Sequence[str]) -> None:
    sections = {name: PARTS[name]() for name in chosen or PARTS}
    lines = [
        "# Scale",
        "",
        f"{os.cpu_count()} cores, {_precision()}. Written by `make bench-scale`.",
    ]
    for name, section in sections.items():
        lines += ["", f"## {name.capitalize()}", "", *section]
    text = "\n".join(lines) + "\n"
    (RESULTS / "scale.md").write_text(text, encoding="utf-8")
    print(text)


def throughput() -> list[str]:
    """Requests in bulk: every neuron new, and its further explanations; medians of some rounds."""
    features = _features()[:NEURONS]
    cold = [_request(cases[0]) for cases in features]
    further = [_request(case) for cases in features for case in cases * 3]
    texts = [[text.text for text in cases[0].top.texts] for cases in features]
    encoder = MiniLM()
    encoder.model.encode(texts[0])
    with pipeline.Scorer(pipeline.Settings()) as scorer:

        def score(requests: Sequence[Any]) -> Callable[[], object]:
            return lambda: list(scorer.score_many(requests, simulator=None))

        score(cold[:1])()
        all_new = _each(score(cold), len(cold))
        rounds: list[tuple[Seconds, Seconds, Seconds]] = []
        for _ in range(ROUNDS):
            bare = _each(lambda: [encoder.model.encode(some) for some in texts], len(texts))
            # The background's texts are kept from here on; the records are new again.
            scorer._models.load().predictor.observer._encoder.forget()
            new = _each(score(cold), len(cold))
            rounds.append((new, _each(score(further), len(further)), bare))
    new, again, bare = ((float(s), float(cpu)) for s, cpu in np.median(rounds, axis=0))
    rows = {
        "every neuron new, the background's texts too": all_new,
        "every neuron new": new,
        "the tenth explanation of a neuron": again,
    }
    return _table(rows, "baseline: the bare encoder on the same texts", bare)


def similarity() -> list[str]:
    """One embedding a text and its cosine with the explanation's, beside ours."""
    cases = [case for features in _features() for case in features]
    model = MiniLM().model
    model.encode("word")
    plain: list[float] = []

    def embed() -> None:
        for case in cases:
            texts = [text.text for text in case.all_records.texts]
            vectors = model.encode(
                [case.all_records.explanation, *texts], normalize_embeddings=True
            )
            plain.append(_auc(case, vectors[1:] @ vectors[0]))

    ours: list[float] = []
    with pipeline.Scorer(pipeline.Settings()) as scorer:
        scorer.load()

        def score() -> None:
            requests = [
                {"explanation": c.all_records.explanation, "activations": c.all_records.records}
                for c in cases
            ]
            for case, result in zip(
                cases, scorer.score_many(requests, simulator=None), strict=True
            ):
                strengths = [s.simulation.expected_activations for s in result.simulations]
                ours.append(_auc(case, np.array([max(values) for values in strengths])))

        seconds = {"plain": _each(embed, len(cases)), "ours": _each(score, len(cases))}
    lines = [
        "AUC: how often a top record gets more than one of the other records.",
        "",
        f"| | processor s a score | {' | '.join(f'AUC, {kind}' for kind in KINDS)} |",
        f"|---|---|{'---|' * len(KINDS)}",
    ]
    for name, found in (("plain", plain), ("ours", ours)):
        by_kind = [
            np.nanmean([auc for auc, case in zip(found, cases, strict=True) if case.kind == kind])
            for kind in KINDS
        ]
        cells = " | ".join(f"{auc:.2f}" for auc in by_kind)
        lines.append(f"| {name} | {seconds[name][1]:.3f} | {cells} |")
    return lines


def memory() -> list[str]:
    """Resident memory while small requests pass; takes most of an hour."""
    with pipeline.Scorer(pipeline.Settings()) as scorer:
        scorer.load()
        results = scorer.score_many(_small(), simulator=None, progress=True)
        seen = [(n, _resident()) for n, _ in enumerate(results, 1) if n % 500 == 0]
    shown = [seen[round(share * (len(seen) - 1))] for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return ["| requests | MB |", "|---|---|", *(f"| {n:,} | {mb:.0f} |" for n, mb in shown)]


def clients() -> list[str]:
    """`POST /score` of a real server by several clients at once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PORT": str(port), "THREADS": str(CLIENTS)}
    process = subprocess.Popen([sys.executable, str(SERVER)], env=environment)
    url, bodies = f"http://127.0.0.1:{port}", [json.dumps(r) for r in _bodies()]
    took: list[float] = []
    errors: list[str] = []
    try:
        with httpx2.Client(base_url=url, timeout=300, trust_env=False) as client:
            while not _answers(client, process):
                time.sleep(0.5)

            def call(number: int) -> None:
                start = time.perf_counter()
                response = client.post("/score", content=bodies[number % len(bodies)], headers=JSON)
                took.append(time.perf_counter() - start)
                if response.status_code != 200:
                    errors.append(response.text[:80])

            start = time.perf_counter()
            with ThreadPoolExecutor(CLIENTS) as pool:
                list(pool.map(call, range(CLIENTS * CALLS)))
            rate = len(took) / (time.perf_counter() - start)
    finally:
        process.terminate()
        process.wait()
    p50, p95 = np.quantile(took, [0.5, 0.95])
    return [
        f"{len(took)} requests of {TEXTS} texts by {CLIENTS} clients: {rate:.1f} a second, "
        f"p50 {p50:.1f} s, p95 {p95:.1f} s, {len(errors)} errors."
    ]


PARTS: dict[str, Callable[[], list[str]]] = {
    "throughput": throughput,
    "similarity": similarity,
    "memory": memory,
    "clients": clients,
}


def _features() -> list[list[Case]]:
    """The explanations of each feature that has as many top records as is usual."""
    cases = load()
    features = [cases[start : start + len(KINDS)] for start in range(0, len(cases), len(KINDS))]
    return [cases for cases in features if len(cases[0].top.records) == TEXTS]


def _request(case: Case) -> dict[str, Any]:
    return {"explanation": case.top.explanation, "activations": case.top.records}


def _bodies() -> Iterator[dict[str, Any]]:
    for cases in _features()[:NEURONS]:
        records = [{"tokens": r.tokens, "values": r.values.tolist()} for r in cases[0].top.records]
        yield {"explanation": cases[0].top.explanation, "activations": records, "llm": False}


def _small() -> Iterator[dict[str, Any]]:
    """Requests of a short text, every tenth of two, no two alike."""
    for number in range(SMALL):
        texts = [("a", "fox", str(number), "ran"), ("the", "dog", "slept", str(number))]
        yield {
            "explanation": f"the word 'fox' before {number}",
            "activations": [
                {"tokens": [f" {t}" for t in text], "values": [0, 1.0 - i, 0, 0]}
                for i, text in enumerate(texts[: 1 if number % 10 else 2])
            ],
        }


def _auc(case: Case, scores: np.ndarray[Any, Any]) -> float:
    # The top records come first; in some of the others it fires a little.
    fires = np.arange(len(scores)) < len(case.top.records)
    gaps = np.subtract.outer(scores[fires], scores[~fires])
    return float((gaps > 0).mean() + (gaps == 0).mean() / 2)


def _each(action: Callable[[], object], items: int) -> Seconds:
    """Seconds an item."""
    clock, processor = time.perf_counter(), time.process_time()
    action()
    return (time.perf_counter() - clock) / items, (time.process_time() - processor) / items


def _table(rows: dict[str, Seconds], name: str, baseline: Seconds) -> list[str]:
    lines = ["| | s a request | processor s | of the baseline's s | of its processor s |"]
    lines.append("|---|---|---|---|---|")
    lines += [
        f"| {row} | {s:.3f} | {cpu:.3f} | {s / baseline[0]:.2f} | {cpu / baseline[1]:.2f} |"
        for row, (s, cpu) in {**rows, name: baseline}.items()
    ]
    return lines


def _resident() -> float:
    """MB in memory now."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def _answers(client: httpx2.Client, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"the server ended with {process.returncode}")
    try:
        return client.get("/healthz").status_code == 200
    except httpx2.TransportError:
        return False


def _precision() -> str:
    return "bfloat16" if native_bfloat16() else "single precision"


if __name__ == "__main__":
    main(sys.argv[1:])
