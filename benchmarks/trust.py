"""What the scorer stands up to, in one table: `make bench-trust` writes `results/trust.md`."""

from __future__ import annotations

import logging
from collections import defaultdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import server
from benchmarks.dataset import FOLDS
from benchmarks.fuzz import fuzz
from benchmarks.hostile import ALLOWED, Gain, gains, hostile
from pipeline.scorer import Scorer
from pipeline.settings import Settings

RESULTS = Path(__file__).parent / "results"
MUTANTS = 100_000
FEATURES_PER_FOLD = 2
SHOWN = 15

logger = logging.getLogger(__name__)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    measured = gains(FEATURES_PER_FOLD)
    rows = [*_faults(), *_inputs(), *_hostile(measured)]
    lines = ["# Trust", "", "Written by `make bench-trust`.", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {found} |" for name, found in rows]
    text = "\n".join([*lines, *_by_way(measured)]) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "trust.md").write_text(text, encoding="utf-8")
    logger.info("\n%s", text)


def _faults() -> list[tuple[str, str]]:
    """Load, faults and budgets, measured by `benchmarks.trust_faults`."""
    if not find_spec("benchmarks.trust_faults"):
        return []
    return list(import_module("benchmarks.trust_faults").rows())


def _inputs() -> list[tuple[str, str]]:
    with Scorer(Settings()) as scorer:
        found = fuzz(server.create_app(scorer, Settings()), MUTANTS)
    for fault in found.faults[:SHOWN]:
        logger.warning("%s", fault)
    refused = sum(count for status, count in found.statuses.items() if 400 <= status < 500)
    return [
        ("bad inputs tried", f"{MUTANTS:,}"),
        ("... refused with 4xx", f"{refused:,}"),
        ("... answered with 5xx, NaN or a hang", str(len(found.faults))),
        ("... slowest answer", f"{found.slowest:.1f} s"),
    ]


def _hostile(measured: list[Gain]) -> list[tuple[str, str]]:
    means = [float(np.mean(found)) for found in _gains_by_way(measured).values()]
    return [
        (
            "hostile explanations tried",
            f"{len(hostile())}, each on {FOLDS * FEATURES_PER_FOLD} features",
        ),
        ("... best gain over the good one, mean over features", f"{max(means):+.3f}"),
        (f"... that gain more than {ALLOWED} on average", str(sum(m > ALLOWED for m in means))),
    ]


def _by_way(measured: list[Gain]) -> list[str]:
    """The ways that gain most, by mean."""
    by_way = _gains_by_way(measured)
    best = sorted(by_way, key=lambda way: -np.mean(by_way[way]))[:SHOWN]
    return [
        "",
        "Adjusted score without an LLM, less that of the good explanation; held-out features.",
        "",
        f"| the {SHOWN} that gain most | mean | worst |",
        "|---|---|---|",
        *(
            f"| {family}: {name} | {np.mean(found):+.3f} | {max(found):+.3f} |"
            for family, name in best
            if (found := by_way[family, name])
        ),
    ]


def _gains_by_way(measured: list[Gain]) -> dict[tuple[str, str], list[float]]:
    found = defaultdict(list)
    for one in measured:
        found[one.hostile.family, one.hostile.name].append(one.gain)
    return dict(found)


if __name__ == "__main__":
    main()
