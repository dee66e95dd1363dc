"""What a simulator is and what it returns: the seam between the scorer and any LLM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

MAX_STRENGTH = 10.0
"""Simulated strengths run from 0 (silent) to 10 (the strongest), as in Bills et al. 2023."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What LLM calls consumed.

    `cost_usd` is None when a paid call was made with a model whose price is not known.
    `cached_calls` were answered from the cache; they count no tokens and cost nothing.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    calls: int = 0
    cached_calls: int = 0
    cost_usd: float | None = 0.0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        known = self.cost_usd is not None and other.cost_usd is not None
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.calls + other.calls,
            self.cached_calls + other.cached_calls,
            (self.cost_usd or 0.0) + (other.cost_usd or 0.0) if known else None,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """The strengths that a simulator holds possible on the tokens of one text.

    Attributes
    ----------
    values : shape (n_outcomes,), strength 0-10.
    probabilities : shape (n_tokens, n_outcomes), each row adds up to 1.
    """

    values: FloatArray
    probabilities: FloatArray

    @property
    def expected(self) -> FloatArray:
        """Shape (n_tokens,): the mean strength on each token."""
        return self.probabilities @ self.values

    def fits(self, n_tokens: int) -> bool:
        """Whether it is a sound distribution over as many tokens."""
        return (
            np.shape(self.probabilities) == (n_tokens, len(self.values))
            and bool(np.isfinite(self.values).all() and (np.asarray(self.probabilities) >= 0).all())
            and np.allclose(self.probabilities.sum(axis=1), 1.0, atol=1e-3)
        )


@dataclass(frozen=True, slots=True)
class Simulation:
    """One simulator's guesses for some texts.

    Attributes
    ----------
    values : one entry a text, in the order given: shape (len(tokens),), strength 0-10;
        None where the text failed (never zeros in its place).
    usage : what it took, failed calls included.
    failures : index of a failed text → why.
    distributions : index of a text → the distribution that its values are the means of, for
        simulators that give more than a guess.
    """

    values: tuple[FloatArray | None, ...]
    usage: Usage = field(default_factory=Usage)
    failures: Mapping[int, str] = field(default_factory=dict)
    distributions: Mapping[int, Distribution] = field(default_factory=dict)


@runtime_checkable
class Simulator(Protocol):
    """Guesses a neuron's activations from an explanation of it."""

    def simulate(self, explanation: str, texts: Sequence[Sequence[str]]) -> Simulation:
        """Guess the strength on every token.

        Parameters
        ----------
        explanation : what the neuron is said to fire on.
        texts : tokens of each text, as the caller of `score` sent them.

        Raises
        ------
        SimulatorError : if no text could be simulated for a reason that concerns all of them.
        """
        ...


@runtime_checkable
class PricedSimulator(Simulator, Protocol):
    """A simulator that knows beforehand what a call takes, in tokens and in USD.

    `cost_usd` is None where the price is not known; no budget in USD can be kept then.
    """

    def worst_case(self, explanation: str, texts: Sequence[Sequence[str]]) -> Usage:
        """What simulating the texts may take at most."""
        ...

    def typical_case(self, explanation: str, texts: Sequence[Sequence[str]]) -> Usage:
        """What simulating the texts takes as a rule."""
        ...
