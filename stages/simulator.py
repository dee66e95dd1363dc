"""Simulates a neuron with an LLM: what the ways of asking it have in common."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipeline.cache import RawAnswer
from pipeline.errors import SimulatorError
from pipeline.simulation import Distribution, FloatArray, Simulation, Usage
from pipeline.text import TokenizedText, decode
from stages.alignment import NO_ANSWER
from stages.asker import Asker
from stages.endpoint import NO_ODDS
from stages.method import Method, Reading
from stages.prices import Price
from stages.question import tokens_of
from stages.recall import Recall

# Fits the context of 8,192 tokens that local servers often have.
_TEXT_TOKENS_PER_REQUEST = 4000
_REASON_TOKENS = 60
_CUT_SHORT = "the answer was cut short before this text"
_REFUSED = "the model refused to answer"


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What was read for each text; `broken` says why the endpoint gave up."""

    read: Mapping[int, Reading]
    usage: Usage
    broken: SimulatorError | None = None


@dataclass(frozen=True, slots=True)
class LLMSimulator:
    """A `Simulator` that asks an endpoint by one method, several requests at once.

    Texts whose answer is of no use are asked about once more, with the reason.
    """

    asker: Asker
    method: Method
    concurrency: int = 4

    @property
    def price(self) -> Price | None:
        """What the model's tokens cost, where that is known."""
        return self.asker.price

    def simulate(self, explanation: str, texts: Sequence[Sequence[str]]) -> Simulation:
        """Guess the strength on every token; see `pipeline.simulation.Simulator`.

        Raises
        ------
        SimulatorError : if no text could be simulated and the endpoint is to blame: it refuses
            the key, cannot be reached, fails after all retries.
        """
        batches = self._batches(decode(texts))
        with ThreadPoolExecutor(self.concurrency) as pool:
            outcomes = list(pool.map(lambda batch: self._simulate(explanation, batch), batches))
        usage = sum((outcome.usage for outcome in outcomes), Usage())
        read = {index: result for outcome in outcomes for index, result in outcome.read.items()}
        failures = {index: result for index, result in read.items() if isinstance(result, str)}
        broken = next((outcome.broken for outcome in outcomes if outcome.broken), None)
        if broken and len(failures) == len(texts):
            raise type(broken)(str(broken), usage)
        distributions = {
            i: result for i, result in read.items() if isinstance(result, Distribution)
        }
        values = tuple(_strengths(read[index]) for index in range(len(texts)))
        return Simulation(values, usage, failures, distributions)

    def worst_case(self, explanation: str, texts: Sequence[Sequence[str]]) -> Usage:
        """What `simulate` may take at most, second attempts for all texts included.

        An estimate on the safe side: the endpoint's own tokenizer is not known. Texts that the
        cache knows take nothing. A model that turns out to reason takes more once, and is reckoned
        with from then on.
        """
        usage, attempts = Usage(), self.method.attempts
        for batch in self._unknown(explanation, texts):
            question = self.method.question(explanation, batch)
            # The caller's tokens count where they are finer.
            finer = sum(max(0, len(text.spans) - tokens_of(text.text)) for text in batch)
            reasons = (attempts - 1) * _REASON_TOKENS * len(batch)
            asked = attempts * (question.most_tokens + finer) + reasons
            answered = attempts * (question.limit + self.asker.endpoint.allowance)
            usage += self.asker.priced(asked, answered, calls=attempts)
        return usage

    def typical_case(self, explanation: str, texts: Sequence[Sequence[str]]) -> Usage:
        """What `simulate` takes as a rule: every text that the cache does not know, asked once."""
        usage = Usage()
        for batch in self._unknown(explanation, texts):
            said = self.method.question(explanation, batch).said.encode("utf-8", "replace")
            asked = math.ceil(len(said) / self.method.bytes_per_token)
            answered = self.method.typical_answer(batch) + self.asker.endpoint.allowance
            usage += self.asker.priced(asked, answered, calls=1)
        return usage

    def close(self) -> None:
        """Close the connections to the endpoint; a later call opens them again."""
        self.asker.endpoint.close()

    def _batches(self, texts: Sequence[TokenizedText]) -> Iterator[dict[int, TokenizedText]]:
        """The texts of each request by their index."""
        batch: dict[int, TokenizedText] = {}
        size = 0
        for index, text in enumerate(texts):
            tokens = max(len(text.spans), tokens_of(text.text))
            full = len(batch) >= self.method.texts_per_request
            if batch and (full or size + tokens > _TEXT_TOKENS_PER_REQUEST):
                yield batch
                batch, size = {}, 0
            batch[index] = text
            size += tokens
        if batch:
            yield batch

    def _simulate(self, explanation: str, batch: Mapping[int, TokenizedText]) -> _Outcome:
        read: dict[int, Reading] = dict.fromkeys(batch, NO_ANSWER)
        known = self._recalled(explanation, batch)
        read |= known
        usage = Usage(cached_calls=1 if known else 0)
        for attempt in range(self.method.attempts):
            failed = {index: result for index, result in read.items() if isinstance(result, str)}
            if not failed:
                break
            texts = [batch[index] for index in failed]
            rejected = list(failed.values()) if attempt else []
            try:
                results, more = self._ask(explanation, texts, rejected)
            except SimulatorError as error:
                read |= dict.fromkeys(failed, str(error))
                return _Outcome(read, usage + error.usage, error)
            read |= zip(failed, results, strict=True)
            usage += more
        return _Outcome(read, usage)

    def _ask(
        self, explanation: str, texts: Sequence[TokenizedText], rejected: Sequence[str]
    ) -> tuple[Sequence[Reading], Usage]:
        question = self.method.question(explanation, texts, rejected)
        reply = self.asker.ask(question, self.method.version, 1 if rejected else 0)
        results = self._read(reply.answer, texts)
        if all(isinstance(result, str) for result in results):
            self.asker.reject(reply)
        else:
            content = reply.answer.content or ""
            self._recall.keep(reply.key, explanation, texts, content, results)
        return results, reply.usage

    def _recalled(
        self, explanation: str, batch: Mapping[int, TokenizedText]
    ) -> Mapping[int, Reading]:
        """What is known of single texts, unless just these were asked about together before.

        That answer then leads the same way again, second attempt included, at no cost.
        """
        question = self.method.question(explanation, list(batch.values()))
        if self.asker.known(question, self.method.version):
            return {}
        return self._recall.known(explanation, batch)

    def _unknown(
        self, explanation: str, texts: Sequence[Sequence[str]]
    ) -> Iterator[list[TokenizedText]]:
        """The texts that each request would have to ask about."""
        for batch in self._batches(decode(texts)):
            known = self._recall.known(explanation, batch)
            if unknown := [text for index, text in batch.items() if index not in known]:
                yield unknown

    @property
    def _recall(self) -> Recall:
        return Recall(self.asker.cache, self.asker.source(self.method.version), self.method)

    def _read(self, answer: RawAnswer, texts: Sequence[TokenizedText]) -> Sequence[Reading]:
        if answer.content is None:
            return [NO_ODDS if answer.finish_reason == NO_ODDS else _REFUSED] * len(texts)
        results = self.method.read(answer.content, texts)
        if answer.finish_reason != "length":
            return results
        return [
            _CUT_SHORT if isinstance(result, str) and result == NO_ANSWER else result
            for result in results
        ]


def _strengths(reading: Reading) -> FloatArray | None:
    if isinstance(reading, str):
        return None
    return reading.expected if isinstance(reading, Distribution) else reading
