"""What a running server counts, in the Prometheus text format."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pipeline.errors import SimulatorError
from pipeline.ledger import DailyBudget
from pipeline.result import ScoreResult

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counters of one app, in a registry of their own so that several apps can share a process.

    Parameters
    ----------
    day : the budget whose rest is shown; None: there is none.
    """

    def __init__(self, day: DailyBudget | None = None) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "neuron_scorer_http_requests",
            "HTTP answers.",
            ["path", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "neuron_scorer_score_seconds",
            "Duration of a score, failed ones included.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "neuron_scorer_scores_in_flight", "Scores under way.", registry=self.registry
        )
        self.scores = Counter(
            "neuron_scorer_scores", "Scores given.", ["route", "status"], registry=self.registry
        )
        self.calls = Counter(
            "neuron_scorer_llm_calls", "LLM calls.", ["source"], registry=self.registry
        )
        self.tokens = Counter(
            "neuron_scorer_llm_tokens", "LLM tokens paid for.", ["kind"], registry=self.registry
        )
        self.cost = Counter(
            "neuron_scorer_llm_cost_usd",
            "LLM cost in USD, as far as prices are known.",
            registry=self.registry,
        )
        self.unpriced = Counter(
            "neuron_scorer_unpriced_scores",
            "Scores that used an LLM whose price is not known.",
            registry=self.registry,
        )
        self.over_budget = Counter(
            "neuron_scorer_over_budget",
            "Scores that the end of the day's budget refused.",
            registry=self.registry,
        )
        if day is not None:
            self._show_left(day)

    def _show_left(self, day: DailyBudget) -> None:
        """Gauges that ask the file, which other processes spend from as well."""
        for unit, limited in (("tokens", day.limit.tokens), ("cost_usd", day.limit.cost_usd)):
            if limited is None:
                continue
            gauge = Gauge(
                f"neuron_scorer_budget_left_{unit}",
                "What is neither spent nor held back of today's LLM budget.",
                registry=self.registry,
            )
            gauge.set_function(partial(_left, day, unit))

    @contextmanager
    def track(self) -> Iterator[None]:
        """Time what runs inside and count it as under way."""
        with self.in_flight.track_inprogress(), self.seconds.time():
            yield

    def count(self, result: ScoreResult) -> None:
        """Add one score and what it took."""
        usage = result.usage
        self.scores.labels(result.route, result.status).inc()
        self.calls.labels("endpoint").inc(usage.calls)
        self.calls.labels("cache").inc(usage.cached_calls)
        self.tokens.labels("prompt").inc(usage.prompt_tokens)
        self.tokens.labels("completion").inc(usage.completion_tokens)
        self.cost.inc(usage.cost_usd or 0.0)
        self.unpriced.inc(usage.cost_usd is None)

    def render(self) -> bytes:
        """All of it, in the Prometheus text format."""
        return generate_latest(self.registry)


def _left(day: DailyBudget, unit: str) -> float:
    try:
        return float(getattr(day.left(), unit))
    except SimulatorError:
        return math.nan
