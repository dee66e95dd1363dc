"""The one process of a cluster that asks the LLM, and what the others have in place of it.

All answers are kept, and all budgets and limits on requests at once are held, in one place, on the
machine that the run was started from: there is one rate and one purse however many workers there
are, no file needs to be shared between machines, and the key stays where it was set. What a worker
asked for is answered and kept even if the worker has died meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias
from weakref import WeakValueDictionary

from pipeline.budget import Allowance, Budget, Limit, Reservation
from pipeline.errors import OverBudget, SimulatorError
from pipeline.ledger import DailyBudget
from pipeline.settings import Settings
from pipeline.simulation import Simulation, Usage
from stages.named import simulator_from

Purse: TypeAlias = Literal["batch", "day"]
Texts: TypeAlias = Sequence[Sequence[str]]


class Desk:
    """What runs in that process. Safe for several threads.

    Errors are returned in place of being raised: Ray would wrap them.

    Parameters
    ----------
    settings : without `cache_path`, answers are kept as long as this lives, so that what a lost
        worker had paid for is not paid for again.
    limit : the budget of the batch.
    """

    def __init__(self, settings: Settings, limit: Limit) -> None:
        self._folder = TemporaryDirectory(prefix="neuron-scorer-")
        path = settings.cache_path or str(Path(self._folder.name) / "answers.sqlite")
        self._simulator = simulator_from(replace(settings, cache_path=path))
        self._day = DailyBudget.of(settings)
        self._budgets: dict[Purse, Budget] = {"batch": Allowance(limit, "the batch's budget")}
        if self._day:
            self._budgets["day"] = self._day
        self._turns: WeakValueDictionary[int, threading.Lock] = WeakValueDictionary()
        self._lock = threading.Lock()

    def limits(self) -> dict[Purse, tuple[Limit, str]]:
        """Each budget that sets a limit, and its name."""
        budgets = self._budgets.items()
        return {name: (one.limit, str(one)) for name, one in budgets if not one.limit.unlimited}

    def simulate(self, explanation: str, texts: Texts) -> Simulation | SimulatorError:
        """What the LLM says, or would say if it had not been asked before."""
        assert self._simulator
        key = hash((explanation, tuple(map(tuple, texts))))
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        try:
            # The same question at once comes from the successor of a lost worker: it finds the
            # answer in the cache.
            with turn:
                return self._simulator.simulate(explanation, texts)
        except SimulatorError as error:
            return error

    def worst_case(self, explanation: str, texts: Texts) -> Usage:
        assert self._simulator
        return self._simulator.worst_case(explanation, texts)

    def typical_case(self, explanation: str, texts: Texts) -> Usage:
        assert self._simulator
        return self._simulator.typical_case(explanation, texts)

    def covers(self, purse: Purse, worst: Usage) -> bool:
        return self._budgets[purse].covers(worst)

    def reserve(self, purse: Purse, worst: Usage) -> Reservation | SimulatorError | None:
        try:
            return self._budgets[purse].reserve(worst)
        except SimulatorError as error:
            return error

    def settle(self, purse: Purse, reservation: Reservation, taken: Usage) -> None:
        self._budgets[purse].settle(reservation, taken)

    def refusal(self) -> OverBudget:
        """What is told when the day's budget is gone."""
        assert self._day
        return self._day.refusal()


@dataclass(frozen=True, slots=True)
class RemoteSimulator:
    """A `PricedSimulator` that has the desk ask; `desk` is its actor."""

    desk: Any

    def simulate(self, explanation: str, texts: Texts) -> Simulation:
        answer = _get(self.desk.simulate.remote(explanation, texts))
        if isinstance(answer, SimulatorError):
            raise answer
        assert isinstance(answer, Simulation)
        return answer

    def worst_case(self, explanation: str, texts: Texts) -> Usage:
        usage: Usage = _get(self.desk.worst_case.remote(explanation, texts))
        return usage

    def typical_case(self, explanation: str, texts: Texts) -> Usage:
        usage: Usage = _get(self.desk.typical_case.remote(explanation, texts))
        return usage


@dataclass(slots=True)
class RemoteBudget:
    """A `Budget` that the desk holds, for one score; `refused` says whether it was too small."""

    desk: Any
    purse: Purse
    limit: Limit
    name: str
    refused: bool = False

    def __str__(self) -> str:
        return self.name

    def covers(self, worst: Usage) -> bool:
        return bool(_get(self.desk.covers.remote(self.purse, worst)))

    def reserve(self, worst: Usage) -> Reservation | None:
        answer = _get(self.desk.reserve.remote(self.purse, worst))
        if isinstance(answer, SimulatorError):
            raise answer
        self.refused = answer is None
        return answer if isinstance(answer, Reservation) else None

    def settle(self, reservation: Reservation, taken: Usage) -> None:
        _get(self.desk.settle.remote(self.purse, reservation, taken))


def _get(reference: Any) -> Any:
    import ray

    return ray.get(reference)
