"""Asks an endpoint, once for each question: what was answered before comes from the cache."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.cache import AnswerCache, RawAnswer, answer_key
from pipeline.simulation import Usage
from stages.endpoint import Endpoint
from stages.prices import Price
from stages.question import Question, tokens_of


@dataclass(frozen=True, slots=True)
class Reply:
    """A raw answer and what it took; `key` is its key in the cache."""

    key: str
    answer: RawAnswer
    usage: Usage


@dataclass(frozen=True, slots=True)
class Asker:
    """An endpoint with what its tokens cost and where its answers are kept.

    Attributes
    ----------
    price : None: costs are not known.
    cache : None: answers are not kept.
    """

    endpoint: Endpoint
    price: Price | None = None
    cache: AnswerCache | None = None

    def ask(self, question: Question, version: str, attempt: int = 0) -> Reply:
        """The answer to a question, kept before anyone tries to read it.

        Parameters
        ----------
        version : of the prompt: answers to others are not taken for answers to this one.
        attempt : 1 for a question that is asked again.

        Raises
        ------
        SimulatorError : see `Endpoint.ask`.
        """
        endpoint = self.endpoint
        key = answer_key(endpoint.url, endpoint.model, version, question.messages, attempt)
        if self.cache and (cached := self.cache.get(key)):
            return Reply(key, cached, Usage(cached_calls=1))
        answer = endpoint.ask(question)
        if self.cache:
            self.cache.put(key, answer)
        return Reply(key, answer, self._usage(answer, question))

    def reject(self, reply: Reply) -> None:
        """Keep an answer that is of no use, but serve it no more."""
        if self.cache:
            self.cache.reject(reply.key)

    def _usage(self, answer: RawAnswer, question: Question) -> Usage:
        # An endpoint that reports nothing must not slip through the caller's budget.
        prompt_tokens = answer.prompt_tokens or tokens_of(question.written)
        completion_tokens = answer.completion_tokens or tokens_of(answer.content or "")
        cost = self.price.cost(prompt_tokens, completion_tokens) if self.price else None
        return Usage(prompt_tokens, completion_tokens, calls=1, cost_usd=cost)
