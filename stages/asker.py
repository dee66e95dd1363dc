"""Asks an endpoint, once for each question: what was answered before comes from the cache."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.cache import AnswerCache, RawAnswer, Source, answer_key
from pipeline.errors import SimulatorError
from pipeline.simulation import Usage
from stages.endpoint import Endpoint
from stages.line import Lost
from stages.prices import Price
from stages.question import Question, tokens_of
from stages.turns import Turns


@dataclass(frozen=True, slots=True)
class Reply:
    """A raw answer and what it took; `key` is its key in the cache."""

    key: str
    answer: RawAnswer
    usage: Usage


@dataclass(frozen=True, slots=True)
class Postponed:
    """A question that is not asked at once; see `Asker.ask` for its parts."""

    key: str
    question: Question
    version: str
    attempt: int


class Outbox(Protocol):
    """Where questions go that are not asked at once."""

    def take(self, postponed: Postponed) -> Reply:
        """Take a question; the answer, if there is one after all.

        Raises
        ------
        SimulatorError : as a rule: there is no answer yet, or there will be none.
        """
        ...


@dataclass(frozen=True, slots=True)
class Asker:
    """An endpoint with what its tokens cost and where its answers are kept.

    Attributes
    ----------
    price : None: costs are not known.
    cache : None: answers are not kept.
    outbox : takes the questions that the cache does not answer; None: they are asked at once.
    """

    endpoint: Endpoint
    price: Price | None = None
    cache: AnswerCache | None = None
    outbox: Outbox | None = None
    _turns: Turns = field(default_factory=Turns, repr=False)

    def ask(self, question: Question, version: str, attempt: int = 0) -> Reply:
        """The answer to a question, kept before anyone tries to read it.

        Parameters
        ----------
        version : of the prompt: answers to others are not taken for answers to this one.
        attempt : 1 for a question that is asked again.

        Raises
        ------
        SimulatorError : see `Endpoint.ask` and `Outbox.take`. Its usage is the worst where the
            answer was lost.
        """
        key = self._key(question, version, attempt)
        if self.outbox:
            known = self.known(question, version, attempt)
            return known or self.outbox.take(Postponed(key, question, version, attempt))
        # Who asks the same at the same time waits, and finds the answer in the cache.
        with self._turns.of(key) if self.cache else nullcontext():
            return self.known(question, version, attempt) or self._pay(key, question, version)

    def _pay(self, key: str, question: Question, version: str) -> Reply:
        try:
            answer = self.endpoint.ask(question)
        except Lost as error:
            limit = question.limit + self.endpoint.allowance
            worst = self.priced(question.most_tokens, limit, calls=1)
            raise SimulatorError(str(error), worst) from None
        usage = self._usage(answer, question)
        if self.cache:
            self.cache.put(key, answer, self.source(version), usage.cost_usd)
        return Reply(key, answer, usage)

    def known(self, question: Question, version: str, attempt: int = 0) -> Reply | None:
        """What the cache would answer, if it can; see `ask`."""
        if not self.cache:
            return None
        key = self._key(question, version, attempt)
        answer = self.cache.get(key)
        return Reply(key, answer, Usage(cached_calls=1)) if answer else None

    def keep(self, question: Question, version: str, answer: RawAnswer) -> None:
        """Keep an answer that the endpoint did not give, but that stands for how it behaves."""
        if self.cache:
            self.cache.put(self._key(question, version, 0), answer, self.source(version), 0.0)

    def reject(self, reply: Reply) -> None:
        """Keep an answer that is of no use, but serve it no more.

        Where questions are postponed it is served on: it leads to the second attempt, whose answer
        may be there by now.
        """
        if self.cache and not self.outbox:
            self.cache.reject(reply.key)

    def source(self, version: str) -> Source:
        """Who is asked, with this version of the prompt."""
        return Source(self.endpoint.url, self.endpoint.model, version)

    def priced(self, prompt_tokens: int, completion_tokens: int, calls: int) -> Usage:
        """So many tokens with what they cost: without a price None, unless nothing is asked."""
        unpriced = None if calls else 0.0
        cost = self.price.cost(prompt_tokens, completion_tokens) if self.price else unpriced
        return Usage(prompt_tokens, completion_tokens, calls, cost_usd=cost)

    def _key(self, question: Question, version: str, attempt: int) -> str:
        endpoint = self.endpoint
        return answer_key(endpoint.url, endpoint.model, version, question.messages, attempt)

    def _usage(self, answer: RawAnswer, question: Question) -> Usage:
        # An endpoint that reports nothing must not slip through the caller's budget.
        prompt_tokens = answer.prompt_tokens or question.most_tokens
        completion_tokens = answer.completion_tokens or tokens_of(answer.content or "")
        return self.priced(prompt_tokens, completion_tokens, calls=1)
