"""What may be spent on an LLM: reserved at its worst before a call, settled after it.

Reserving first is what keeps a budget when calls run at once: what one call may take is out of
reach for the others until it is known what it took.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Protocol

from pipeline.errors import InvalidRequest
from pipeline.simulation import Usage

MOST_USD = 1e9


@dataclass(frozen=True, slots=True)
class Limit:
    """LLM tokens and USD that may be spent; None: as many as it takes.

    Examples
    --------
    >>> str(Limit(tokens=1000, cost_usd=0.5))
    '1,000 LLM tokens and 0.5 USD'
    >>> Limit(cost_usd=0.5).covers(Usage(prompt_tokens=10, cost_usd=None))
    False
    """

    tokens: int | None = None
    cost_usd: float | None = None

    @property
    def unlimited(self) -> bool:
        return self.tokens is None and self.cost_usd is None

    def covers(self, worst: Usage) -> bool:
        """Whether this much may be spent; no limit in USD covers a cost that is not known."""
        cost = math.inf if worst.cost_usd is None else worst.cost_usd
        return (self.tokens is None or worst.total_tokens <= self.tokens) and (
            self.cost_usd is None or cost <= self.cost_usd
        )

    def less(self, tokens: int, cost_usd: float) -> Limit:
        """What remains, never below 0: what takes nothing stays covered."""
        return Limit(
            None if self.tokens is None else max(self.tokens - tokens, 0),
            None if self.cost_usd is None else max(self.cost_usd - cost_usd, 0.0),
        )

    def check(self, prefix: str = "max_") -> None:
        """Refuse numbers below 0 and such as are none.

        Raises
        ------
        InvalidRequest : naming the option, with this prefix.
        """
        tokens, usd = self.tokens, self.cost_usd
        if not (tokens is None or (isinstance(tokens, Real) and tokens >= 0)):
            raise InvalidRequest(f"{tokens!r:.80} is no number from 0", f"{prefix}llm_tokens")
        if not (usd is None or (isinstance(usd, Real) and 0.0 <= usd <= MOST_USD)):
            raise InvalidRequest(f"{usd!r:.80} is no amount in USD", f"{prefix}cost_usd")

    def __str__(self) -> str:
        parts = []
        if self.tokens is not None:
            parts.append(f"{self.tokens:,} LLM tokens")
        if self.cost_usd is not None:
            parts.append(f"{self.cost_usd:g} USD")
        return " and ".join(parts)


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a budget holds back for a call; `day` is the UTC day whose budget it is."""

    worst: Usage
    day: str = ""


class Budget(Protocol):
    """Something to spend from; its string says what it is, as in "the budget of 5 USD"."""

    @property
    def limit(self) -> Limit: ...

    def covers(self, worst: Usage) -> bool:
        """Whether this much could be reserved now."""
        ...

    def reserve(self, worst: Usage) -> Reservation | None:
        """Hold back what a call may take; None where that is not left.

        Raises
        ------
        SimulatorError : if it cannot be found out what is left.
        """
        ...

    def settle(self, reservation: Reservation, taken: Usage) -> None:
        """Give back what the call did not take."""
        ...


class Allowance:
    """The budget of one call or one batch, kept in memory. Safe for several threads.


    Parameters
    ----------
    name : what its owner calls it.
    patient : whether `reserve` waits, before it says no, for the calls of other threads, which as a
        rule give back most of what they hold back.
    """

    def __init__(self, limit: Limit, name: str = "the budget", *, patient: bool = False) -> None:
        self._limit = limit
        self._name = name
        self._patient = patient
        self._tokens = 0
        self._cost = 0.0
        self._under_way: list[Reservation] = []
        self._settled = threading.Condition()

    def __str__(self) -> str:
        return f"{self._name} of {self._limit}"

    @property
    def limit(self) -> Limit:
        return self._limit

    def left(self) -> Limit:
        """What is neither spent nor held back."""
        return self._limit.less(self._tokens, self._cost)

    def covers(self, worst: Usage) -> bool:
        return self.left().covers(worst)

    def reserve(self, worst: Usage) -> Reservation | None:
        with self._settled:
            while not self.covers(worst):
                held = sum((reservation.worst for reservation in self._under_way), Usage())
                left = self._limit.less(
                    self._tokens - held.total_tokens, self._cost - (held.cost_usd or 0.0)
                )
                if not (self._patient and self._under_way and left.covers(worst)):
                    return None
                self._settled.wait()
            self._add(worst, 1)
            self._under_way.append(reservation := Reservation(worst))
            return reservation

    def settle(self, reservation: Reservation, taken: Usage) -> None:
        with self._settled:
            self._under_way.remove(reservation)
            self._add(reservation.worst, -1)
            self._add(taken, 1)
            self._settled.notify_all()

    def _add(self, usage: Usage, sign: int) -> None:
        self._tokens += sign * usage.total_tokens
        self._cost += sign * (usage.cost_usd or 0.0)


class Held:
    """What several budgets hold back for the same call."""

    def __init__(self, parts: Sequence[tuple[Budget, Reservation]]) -> None:
        self._parts = parts

    def settle(self, taken: Usage) -> None:
        """Charge all of them with what the call took."""
        for budget, reservation in self._parts:
            budget.settle(reservation, taken)


def hold(budgets: Sequence[Budget], worst: Usage) -> Held | Budget:
    """Reserve in all budgets, or in none; then the one that has too little is returned."""
    parts: list[tuple[Budget, Reservation]] = []
    for budget in budgets:
        reservation = budget.reserve(worst)
        if reservation is None:
            Held(parts).settle(Usage())
            return budget
        parts.append((budget, reservation))
    return Held(parts)


def limited(*budgets: Budget | None) -> list[Budget]:
    """Those that are there and set a limit."""
    return [budget for budget in budgets if budget and not budget.limit.unlimited]
