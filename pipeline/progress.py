"""A progress bar over a batch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from pipeline.result import ScoreResult
from pipeline.simulation import Usage


def shown(results: Iterable[ScoreResult], total: int | None) -> Iterator[ScoreResult]:
    """The results, with their rate, cost so far and the share decided without an LLM on stderr."""
    from tqdm import tqdm

    usage, cheap = Usage(), 0
    with tqdm(total=total, unit=" scores", smoothing=0.05) as bar:
        for result in results:
            usage += result.usage
            cheap += result.route == "cheap" and result.status != "degraded"
            cost = math.nan if usage.cost_usd is None else usage.cost_usd
            bar.set_postfix_str(f"{cost:.4f} USD, {cheap / (bar.n + 1):.0%} cheap", refresh=False)
            bar.update()
            yield result
