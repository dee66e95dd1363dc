"""Scores how well a natural-language explanation explains a neuron or SAE feature.

>>> import pipeline
>>> result = pipeline.score("fast animals", activations)  # doctest: +SKIP
>>> result.score, result.interval  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from pipeline.errors import InvalidRequest, ScorerError
from pipeline.forecast import Forecast
from pipeline.records import ActivationRecord
from pipeline.result import ScoreResult
from pipeline.settings import Settings
from pipeline.simulation import Simulation, Simulator, Usage

if TYPE_CHECKING:
    from pipeline.comparison import Comparison
    from pipeline.scorer import Scorer

__version__ = "0.1.0"

__all__ = [
    "ActivationRecord",
    "Forecast",
    "ScoreResult",
    "Scorer",
    "ScorerError",
    "Settings",
    "Simulation",
    "Simulator",
    "Usage",
    "compare",
    "forecast",
    "score",
    "score_many",
]


def score(
    explanation: str,
    activations: Sequence[ActivationRecord | Mapping[str, Any]],
    *,
    simulator: Simulator | Literal["auto", "quote", "echo", "logprobs"] | None = "auto",
    tolerance: float = 0.05,
    max_llm_tokens: int | None = None,
    max_cost_usd: float | None = None,
    on_budget: Literal["refuse", "degrade"] | None = None,
    adjust: bool = True,
) -> ScoreResult:
    """Score how well an explanation explains a neuron.

    Parameters
    ----------
    explanation : what the neuron is said to fire on.
    activations : texts with the neuron's value on each token, as ``{"tokens": [...], "values":
        [...]}`` or `ActivationRecord`. About 20 texts in which it fires strongly are usual; texts
        with zeros are the best evidence for the context.
    simulator : None: never an LLM; "auto": the endpoint of the settings, none if no key or base
        URL is set; "quote", "echo" or "logprobs": that endpoint, asked in this way; or any object
        with `Simulator`'s method.
    tolerance : expected absolute error of `raw_score` against the full simulation's score that will
        do, in (0, 1]. The LLM is asked about as many texts as it takes to get there.
    max_llm_tokens, max_cost_usd : what this score may take at most, in tokens and in USD. Where it
        is reached, the result is the best estimate so far and its status "degraded". A limit in USD
        needs a price: where the model's is not known, nothing is asked.
    on_budget : what to do when the day's budget of the settings is gone: "refuse" raises
        `OverBudget`, "degrade" gives the estimate without the LLM; None: as the settings have it.
    adjust : take off what an explanation earns that names the token and misses its context.

    Returns
    -------
    ScoreResult : its `score` is in [-1, 1], or None where it is undefined.

    Raises
    ------
    InvalidRequest : naming the field and the remedy.
    OverBudget : if the day's budget is gone and nothing was spent on this score.
    """
    return _default_scorer().score(
        explanation,
        activations,
        simulator=simulator,
        tolerance=tolerance,
        max_llm_tokens=max_llm_tokens,
        max_cost_usd=max_cost_usd,
        on_budget=on_budget,
        adjust=adjust,
    )


def score_many(
    requests: Iterable[Mapping[str, Any]],
    *,
    max_batch_llm_tokens: int | None = None,
    max_batch_cost_usd: float | None = None,
    progress: bool = False,
    **options: Any,
) -> Generator[ScoreResult, None, None]:
    """Score requests in order, each ``{"explanation": ..., "activations": ...}``.

    What else a request holds is ignored. A few are read ahead of their results and embedded
    together; while the LLM of the settings answers for some (`LLM_CONCURRENCY`), others go on. A
    simulator object is asked by one score at a time. Memory does not grow with the number of
    requests. Explanations of one neuron should follow one another: its records are then embedded
    once.

    Parameters
    ----------
    max_batch_llm_tokens, max_batch_cost_usd : what all requests together may take; those that come
        after the end of it are answered without the LLM, with status "degraded". Where several are
        under way at once, these need not be the last ones.
    progress : draw a bar on stderr, with rate, cost so far and share decided without an LLM.
    options : the keyword arguments of `score`, for all requests; its budgets are for each request.
    """
    return _default_scorer().score_many(
        requests,
        max_batch_llm_tokens=max_batch_llm_tokens,
        max_batch_cost_usd=max_batch_cost_usd,
        progress=progress,
        **options,
    )


def compare(
    explanations: Sequence[str],
    activations: Sequence[ActivationRecord | Mapping[str, Any]],
    **options: Any,
) -> Comparison:
    """Rank several explanations of one neuron, and say where one is shown to be better.

    Parameters
    ----------
    explanations : at least two.
    activations : as for `score`; all explanations are scored on the same records.
    options : the keyword arguments of `score_many`.

    Returns
    -------
    Comparison : its `ranking`, and a paired interval for each of the `differences`; `best` are
        those that none is shown to be better than. `print` shows it as a table.

    Raises
    ------
    InvalidRequest : naming the field and the remedy.
    """
    from pipeline.comparison import compare_results

    if isinstance(explanations, str):
        raise InvalidRequest("expected a list of explanations, found one", "explanations")
    requests = ({"explanation": one, "activations": activations} for one in explanations)
    return compare_results(explanations, list(score_many(requests, **options)))


def forecast(
    requests: Iterable[Mapping[str, Any]],
    *,
    simulator: Simulator | Literal["auto", "quote", "echo", "logprobs"] | None = "auto",
    tolerance: float = 0.05,
) -> Forecast:
    """Say what `score_many` would take, in tokens and USD; nothing is sent.

    Parameters
    ----------
    requests, simulator, tolerance : as for `score_many`. Budgets are left out of account: a
        forecast is there to choose them.

    Returns
    -------
    Forecast : `expected` by the gate's plan of records for this tolerance; `worst` with every
        record simulated and asked about twice. Texts that the cache knows count nothing.
    """
    return _default_scorer().forecast(requests, simulator=simulator, tolerance=tolerance)


_default: list[Scorer] = []
_making_default = Lock()


def _default_scorer() -> Scorer:
    from pipeline.scorer import Scorer

    with _making_default:
        if not _default:
            _default.append(Scorer())
    return _default[0]


def __getattr__(name: str) -> Any:
    # Late, because the scorer's imports take longer than `import pipeline` should.
    if name == "Scorer":
        from pipeline.scorer import Scorer

        return Scorer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
