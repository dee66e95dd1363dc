"""Stage two's rounds: simulate as many records as the gate asks for and the budget allows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.errors import SimulatorError
from pipeline.records import Request
from pipeline.simulation import (
    MAX_STRENGTH,
    BudgetedSimulator,
    Distribution,
    FloatArray,
    Simulation,
    Simulator,
    Usage,
)
from stages.gate import Estimate, Gate


@dataclass(frozen=True, slots=True)
class Simulated:
    """What the LLM made of the records.

    Attributes
    ----------
    values : record → strengths 0-10, for the records that were simulated.
    trouble : why fewer records were simulated than were needed; None where none were missing.
    distributions : record → the distribution that its strengths are the means of, if there is one.
    """

    values: Mapping[int, FloatArray] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    trouble: str | None = None
    distributions: Mapping[int, Distribution] = field(default_factory=dict)


def simulate_rounds(
    request: Request,
    gate: Gate,
    prior: Estimate,
    simulator: Simulator,
    tolerance: float,
    max_tokens: int | None,
) -> Simulated:
    """Simulate records, in a random but repeatable order, until the interval is tight enough.

    Parameters
    ----------
    tolerance : half-width of the 90 % interval that is tight enough.
    max_tokens : LLM tokens that this score may take at most; None: no limit.
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
        batch = waiting[:missing]
        if max_tokens is not None:
            batch = _affordable(simulator, request, batch, max_tokens - usage.total_tokens)
        if not batch:
            trouble = f"the budget of {max_tokens:,} LLM tokens ended after {len(values)} records"
            return Simulated(values, usage, trouble, distributions)
        try:
            answer = simulator.simulate(
                request.explanation, [request.records[i].tokens for i in batch]
            )
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


def _affordable(
    simulator: Simulator, request: Request, batch: Sequence[int], tokens: int
) -> list[int]:
    """As many of the batch's first records as the tokens pay for at worst."""
    least, most = 0, len(batch)
    while least < most:
        middle = (least + most + 1) // 2
        texts = [request.records[i].tokens for i in batch[:middle]]
        if _worst_case(simulator, request.explanation, texts) <= tokens:
            least = middle
        else:
            most = middle - 1
    return list(batch[:least])


def _worst_case(simulator: Simulator, explanation: str, texts: Sequence[Sequence[str]]) -> int:
    if isinstance(simulator, BudgetedSimulator):
        return simulator.worst_case_tokens(explanation, texts)
    # A simulator of the user's own: every text repeated with a number behind each token.
    return 1000 + len(explanation) + sum(6 * len(tokens) for tokens in texts)


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
