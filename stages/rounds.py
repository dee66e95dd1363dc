"""Stage two's rounds: simulate as many records as the gate asks for and the budget allows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.budget import Budget, Held, hold
from pipeline.errors import SimulatorError
from pipeline.forecast import Forecast
from pipeline.records import Request
from pipeline.simulation import (
    MAX_STRENGTH,
    Distribution,
    FloatArray,
    Simulation,
    Simulator,
    Usage,
)
from stages.gate import Estimate, Gate
from stages.reckoning import typical_case, worst_case


@dataclass(frozen=True, slots=True)
class Simulated:
    """What the LLM made of the records.

    Attributes
    ----------
    values : record → strengths 0-10, for the records that were simulated.
    trouble : why fewer records were simulated than were needed; None where none were missing.
    distributions : record → the distribution that its strengths are the means of, if there is one.
    ended : the budget that was the reason for the trouble, if one was.
    """

    values: Mapping[int, FloatArray] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    trouble: str | None = None
    distributions: Mapping[int, Distribution] = field(default_factory=dict)
    ended: Budget | None = None


def simulate_rounds(
    request: Request,
    gate: Gate,
    prior: Estimate,
    simulator: Simulator,
    tolerance: float,
    budgets: Sequence[Budget] | None = None,
) -> Simulated:
    """Simulate records, in a random but repeatable order, until the score is sure enough.

    Parameters
    ----------
    tolerance : expected absolute error of the score that is small enough.
    budgets : what may be spent, each of which is kept; None: no limit.
    """
    values: dict[int, FloatArray] = {}
    failures: dict[int, str] = {}
    distributions: dict[int, Distribution] = {}
    usage = Usage()
    order = _order(request)
    while missing := gate.needed(prior, len(values), len(order), tolerance) - len(values):
        waiting = [i for i in order if i not in values and i not in failures]
        if not waiting:
            return Simulated(values, usage, _failed(failures, len(order)), distributions)
        try:
            batch, held = _reserve(simulator, request, waiting[:missing], budgets or ())
            if not isinstance(held, Held):
                trouble = _ended(held, simulator, request, values)
                return Simulated(values, usage, trouble, distributions, held)
            answer = _ask(simulator, request, batch, held)
        except SimulatorError as error:
            trouble = f"the LLM failed: {error}"
            return Simulated(values, usage + error.usage, trouble, distributions)
        usage += answer.usage
        for at, index in enumerate(batch):
            checked = _checked(answer, at, len(batch), len(request.records[index].tokens))
            if isinstance(checked, str):
                failures[index] = checked
            else:
                values[index] = checked
                if (distribution := answer.distributions.get(at)) is not None:
                    distributions[index] = distribution
    return Simulated(values, usage, distributions=distributions)


def _order(request: Request) -> list[int]:
    """The records shuffled by their content, so that equal requests get equal scores."""
    digest = hashlib.sha256(request.explanation.encode("utf-8", "replace"))
    for record in request.records:
        digest.update("".join(record.tokens).encode("utf-8", "replace"))
    seed = int.from_bytes(digest.digest()[:8], "big")
    return [int(i) for i in np.random.default_rng(seed).permutation(len(request.records))]


def forecast_rounds(
    request: Request, gate: Gate, prior: Estimate, simulator: Simulator, tolerance: float
) -> Forecast:
    """What `simulate_rounds` would take without a budget; nothing is sent.

    Expected is the first round, which as a rule is the only one. Worst is every record, asked
    about twice in one round.
    """
    order = _order(request)
    batch = order[: gate.needed(prior, 0, len(order), tolerance)]
    texts = _texts(request, batch)
    expected = typical_case(simulator, request.explanation, texts) if batch else Usage()
    worst = _worst_case(simulator, request, order)
    return Forecast(1, len(order), len(batch), expected, worst)


def _reserve(
    simulator: Simulator, request: Request, batch: Sequence[int], budgets: Sequence[Budget]
) -> tuple[Sequence[int], Held | Budget]:
    """As many of the batch's first records as the budgets pay for at worst, and what they hold.

    Where they pay for none: the budget that is too small.
    """
    held: Held | Budget = Held(())
    while budgets and batch:
        held = hold(budgets, _worst_case(simulator, request, batch))
        if isinstance(held, Held):
            break
        batch = _affordable(simulator, request, batch[:-1], held)
    return batch, held


def _affordable(
    simulator: Simulator, request: Request, batch: Sequence[int], budget: Budget
) -> Sequence[int]:
    least, most = 0, len(batch)
    while least < most:
        middle = (least + most + 1) // 2
        if budget.covers(_worst_case(simulator, request, batch[:middle])):
            least = middle
        else:
            most = middle - 1
    return batch[:least]


def _ask(simulator: Simulator, request: Request, batch: Sequence[int], held: Held) -> Simulation:
    try:
        answer = simulator.simulate(request.explanation, _texts(request, batch))
    except SimulatorError as error:
        held.settle(error.usage)
        raise
    held.settle(answer.usage)
    return answer


def _worst_case(simulator: Simulator, request: Request, batch: Sequence[int]) -> Usage:
    return worst_case(simulator, request.explanation, _texts(request, batch))


def _texts(request: Request, batch: Sequence[int]) -> list[tuple[str, ...]]:
    return [request.records[i].tokens for i in batch]


def _ended(
    budget: Budget, simulator: Simulator, request: Request, values: Mapping[int, FloatArray]
) -> str:
    unknown = _worst_case(simulator, request, [0]).cost_usd is None
    if budget.limit.cost_usd is not None and unknown:
        return f"{budget} cannot be kept: the price of the LLM is not known; set PRICES_PATH"
    return f"{budget} ended after {len(values)} records"


def _checked(answer: Simulation, at: int, n_texts: int, n_tokens: int) -> FloatArray | str:
    """One text's strengths, or why they cannot be used."""
    if len(answer.values) != n_texts:
        return f"the simulator answered {len(answer.values)} of {n_texts} texts"
    values = answer.values[at]
    if values is None:
        return answer.failures.get(at, "no reason given")
    try:
        values = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return "strengths that are not numbers"
    if values.shape != (n_tokens,):
        return f"{values.size} strengths for {n_tokens} tokens"
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > MAX_STRENGTH:
        return f"strengths outside 0-{MAX_STRENGTH:g}"
    distribution = answer.distributions.get(at)
    if distribution is not None and not distribution.fits(n_tokens):
        return f"a distribution that is none over {n_tokens} tokens"
    return values


def _failed(failures: Mapping[int, str], n_records: int) -> str:
    why = "; ".join(dict.fromkeys(failures.values()))
    return f"{len(failures)} of {n_records} records could not be simulated: {why[:500]}"
