"""The options of a score, and what they may be."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Literal, TypedDict, get_args

from pipeline.budget import Budget
from pipeline.errors import InvalidRequest
from pipeline.settings import SimulatorName
from pipeline.simulation import Simulator

SimulatorChoice = Simulator | Literal["auto"] | SimulatorName | None
OnBudget = Literal["refuse", "degrade"] | None


class ScoreOptions(TypedDict, total=False):
    """The keyword arguments of `Scorer.score`, which `pipeline.score` documents.

    `budgets` are further ones to keep, such as one that a batch shares.
    """

    simulator: SimulatorChoice
    tolerance: float
    max_llm_tokens: int | None
    max_cost_usd: float | None
    on_budget: OnBudget
    adjust: bool
    budgets: Sequence[Budget]


_NAMES = ("auto", *get_args(SimulatorName))


def check_options(simulator: SimulatorChoice, tolerance: float, on_budget: OnBudget = None) -> None:
    """Refuse options of the wrong kind or range.

    Raises
    ------
    InvalidRequest : naming the option.
    """
    if not (simulator is None or simulator in _NAMES or isinstance(simulator, Simulator)):
        raise InvalidRequest(
            f"{simulator!r:.80} is neither None nor one of {', '.join(_NAMES)} and has no method "
            "`simulate`; a model's name belongs into the setting SIMULATOR_MODEL",
            "simulator",
        )
    if not (isinstance(tolerance, Real) and 0.0 < tolerance <= 1.0):
        raise InvalidRequest(f"{tolerance!r:.80} is no number in (0, 1]", "tolerance")
    if on_budget not in (None, "refuse", "degrade"):
        raise InvalidRequest(
            f"expected 'refuse' or 'degrade', found {on_budget!r:.80}", "on_budget"
        )
