"""Puts off what a score would ask an LLM, until the provider has answered it in a batch."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.budget import Allowance, Held, Limit, hold, limited
from pipeline.errors import ConfigurationError, SimulatorError
from pipeline.ledger import DailyBudget
from pipeline.simulation import Simulation, Usage
from stages.asker import Asker, Postponed, Reply
from stages.endpoint import NotServed
from stages.named import NamedSimulator
from stages.prices import Price
from stages.question import Chat


class Waiting(Exception):
    """No error: the score goes on when the answers to its questions are there."""


def _nowhere(postponed: Postponed, question: Chat, worst: Usage) -> None:  # noqa: ARG001
    raise AssertionError("no round was opened")


@dataclass(frozen=True, slots=True)
class PostRound:
    """Where the questions of a round go.

    Attributes
    ----------
    send : takes a question that waits and what it costs at worst.
    budget : what the questions may take; those that it does not cover are given up.
    refused : key of a question → why it will never be answered.
    closed : why no question is taken any more; None: they are.
    """

    send: Callable[[Postponed, Chat, Usage], None] = _nowhere
    budget: Allowance = field(default_factory=lambda: Allowance(Limit()))
    refused: Mapping[str, str] = field(default_factory=dict)
    closed: str | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """What the first question costs when it is asked at once, and who is told what it took."""

    price: Price | None
    day: DailyBudget | None
    done: Callable[[Usage], None]


class Postbox:
    """An `Outbox` whose questions go into files. Safe for several threads.

    The first question is asked at once, at the full price: it shows which form of request the
    endpoint takes, which a batch would tell a day later, for each of its requests.

    Attributes
    ----------
    asker : prices the questions, and asks the first; to be set before any is taken.
    given_up : how many questions will not be answered, by the reason.
    """

    asker: Asker

    def __init__(self) -> None:
        self.given_up: Counter[str] = Counter()
        self._round = PostRound()
        self._trial: Trial | None = None
        self._sent: set[bytes] = set()
        self._waiting = False
        self._broken: SimulatorError | None = None
        self._lock = threading.Lock()

    def open(self, post_round: PostRound, trial: Trial | None) -> None:
        """Begin a round; `trial`: how to ask the first question, None if that was done."""
        self.given_up.clear()
        self._round = post_round
        self._trial = trial
        self._sent.clear()

    def take(self, postponed: Postponed) -> Reply:
        with self._lock:
            question = postponed.question
            if not isinstance(question, Chat):
                raise NotServed("batches have chats only; set SIMULATOR to quote or echo")
            if self._broken:
                raise self._broken
            if bytes.fromhex(postponed.key) not in self._sent:
                worst = _worst(question, self.asker)
                if reason := self._refusal(postponed.key, worst):
                    self.given_up[reason] += 1
                    raise SimulatorError(reason)
                if self._trial:
                    return self._try(postponed, question, self._trial)
                self._send(postponed, question, worst)
                self._sent.add(bytes.fromhex(postponed.key))
            self._waiting = True
        raise SimulatorError("the answer is not there yet")

    def check(self) -> None:
        """Say whether the questions since the last time were answered.

        Raises
        ------
        Waiting : if one was not.
        ConfigurationError : if the trial failed.
        """
        if self._broken:
            raise ConfigurationError(
                f"a trial of one request, sent at once, failed: {self._broken}"
            )
        waiting, self._waiting = self._waiting, False
        if waiting:
            raise Waiting

    def _refusal(self, key: str, worst: Usage) -> str | None:
        this = self._round
        if reason := this.refused.get(key) or this.closed:
            return reason
        return None if this.budget.reserve(worst) else f"{this.budget} ended"

    def _send(self, postponed: Postponed, question: Chat, worst: Usage) -> None:
        try:
            self._round.send(postponed, question, worst)
        except SimulatorError as error:
            self._broken = error
            raise

    def _try(self, postponed: Postponed, question: Chat, trial: Trial) -> Reply:
        online = replace(self.asker, outbox=None, price=trial.price)
        held = hold(limited(trial.day), _worst(question, online))
        try:
            if not isinstance(held, Held):
                raise SimulatorError(f"{held} ended")
            reply = online.ask(question, postponed.version, postponed.attempt)
        except SimulatorError as error:
            if isinstance(held, Held):
                held.settle(error.usage)
            self._broken = error
            raise
        held.settle(reply.usage)
        self._trial = None
        trial.done(reply.usage)
        return reply


def _worst(question: Chat, asker: Asker) -> Usage:
    most = question.limit + asker.endpoint.allowance
    return asker.priced(question.most_tokens, most, calls=1)


@dataclass(frozen=True, slots=True)
class Deferred:
    """A `PricedSimulator` whose questions go into a postbox; what the cache knows is answered."""

    llm: NamedSimulator
    postbox: Postbox

    def simulate(self, explanation: str, texts: Sequence[Sequence[str]]) -> Simulation:
        """As the LLM would, if all its answers are there.

        Raises
        ------
        Waiting, ConfigurationError : see `Postbox.check`.
        SimulatorError : if there will be no answers.
        """
        failed = None
        try:
            simulation = self.llm.simulate(explanation, texts)
        except SimulatorError as error:
            failed = error
        self.postbox.check()
        if failed:
            raise failed
        return simulation

    def worst_case(self, explanation: str, texts: Sequence[Sequence[str]]) -> Usage:
        return self.llm.worst_case(explanation, texts)

    def typical_case(self, explanation: str, texts: Sequence[Sequence[str]]) -> Usage:
        return self.llm.typical_case(explanation, texts)
