"""Simulates a neuron with an LLM: what the ways of asking it have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from pipeline.cache import RawAnswer
from pipeline.errors import SimulatorError
from pipeline.simulation import Distribution, FloatArray, Simulation, Usage
from pipeline.text import TokenizedText, decode
from stages.alignment import NO_ANSWER
from stages.asker import Asker
from stages.endpoint import NO_ODDS
from stages.question import Question, tokens_of

# Fits the context of 8,192 tokens that local servers often have.
_TEXT_TOKENS_PER_REQUEST = 4000
_REASON_TOKENS = 60
_CUT_SHORT = "the answer was cut short before this text"
_REFUSED = "the model refused to answer"

Reading: TypeAlias = FloatArray | Distribution | str
"""What an answer says of one text: strengths 0-10, how likely each is, or why it is of no use."""


class Method(Protocol):
    """One way of asking for strengths, and of reading what comes back."""

    @property
    def version(self) -> str:
        """Part of the key of every cached answer: another one for any other wording."""
        ...

    @property
    def texts_per_request(self) -> int: ...

    @property
    def attempts(self) -> int:
        """How often a text is asked about, if its answers are of no use."""
        ...

    def question(
        self, explanation: str, texts: Sequence[TokenizedText], rejected: Sequence[str] = ()
    ) -> Question:
        """Ask about some texts; `rejected` says why each one's former answer was of no use."""
        ...

    def read(self, content: str, texts: Sequence[TokenizedText]) -> Sequence[Reading]:
        """What an answer says of each of the texts that were asked about."""
        ...


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What was read for each text; `broken` says why the endpoint gave up."""

    read: Mapping[int, Reading]
    usage: Usage
    broken: str | None = None


@dataclass(frozen=True, slots=True)
class LLMSimulator:
    """A `Simulator` that asks an endpoint by one method, several requests at once.

    Texts whose answer is of no use are asked about once more, with the reason.
    """

    asker: Asker
    method: Method
    concurrency: int = 4

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
            raise SimulatorError(broken, usage)
        distributions = {
            i: result for i, result in read.items() if isinstance(result, Distribution)
        }
        values = tuple(_strengths(read[index]) for index in range(len(texts)))
        return Simulation(values, usage, failures, distributions)

    def worst_case_tokens(self, explanation: str, texts: Sequence[Sequence[str]]) -> int:
        """Tokens that `simulate` may take at most, second attempts for all texts included.

        An estimate on the safe side: the endpoint's own tokenizer is not known. A model that
        turns out to reason takes more once, and is reckoned with from then on.
        """
        batches = [list(batch.values()) for batch in self._batches(decode(texts))]
        attempts = self.method.attempts
        return sum(
            attempts * (self._tokens(explanation, batch) + self.asker.endpoint.allowance)
            + (attempts - 1) * _REASON_TOKENS * len(batch)
            for batch in batches
        )

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
        usage = Usage()
        for attempt in range(self.method.attempts):
            failed = {index: result for index, result in read.items() if isinstance(result, str)}
            if not failed:
                break
            texts = [batch[index] for index in failed]
            rejected = list(failed.values()) if attempt else []
            try:
                results, more = self._ask(explanation, texts, rejected)
            except SimulatorError as error:
                return _Outcome(read | dict.fromkeys(failed, str(error)), usage, str(error))
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
        return results, reply.usage

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

    def _tokens(self, explanation: str, batch: Sequence[TokenizedText]) -> int:
        """Upper estimate of a first request; the caller's tokens count where they are finer."""
        question = self.method.question(explanation, batch)
        finer = sum(max(0, len(text.spans) - tokens_of(text.text)) for text in batch)
        return tokens_of(question.written) + finer + question.limit


def _strengths(reading: Reading) -> FloatArray | None:
    if isinstance(reading, str):
        return None
    return reading.expected if isinstance(reading, Distribution) else reading
