"""Simulates a neuron with an LLM that quotes the places which fire."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pipeline.cache import AnswerCache, RawAnswer, Source, answer_key
from pipeline.errors import SimulatorError
from pipeline.settings import Settings
from pipeline.simulation import FloatArray, Simulation, Usage
from pipeline.text import TokenizedText, decode
from stages.alignment import NO_ANSWER, read_answer
from stages.endpoint import Endpoint
from stages.prices import Price, price_of
from stages.prompts import PROMPT_VERSION, messages, schema
from stages.recall import Recall

# Fits the context of 8,192 tokens that local servers often have.
_TEXT_TOKENS_PER_REQUEST = 4000
# Quotes of what was recorded for 20 texts of 64 tokens take 379 tokens on average and 1,516 at the
# 99th per cent; an answer that is cut short is asked for again where it ends.
_ANSWER_TOKENS = 100
_ANSWER_TOKENS_PER_TOKEN = 1.25
# Tokenizers make at least three bytes of English, code or Chinese a token, on average of a prompt.
_BYTES_PER_TOKEN = 3
_REASON_TOKENS = 60
# SmolLM2's tokenizer makes 3.5 bytes a token of a prompt about one text, 4.2 of one about twenty.
_TYPICAL_BYTES_PER_TOKEN = 4.0
_TYPICAL_ANSWER_TOKENS_PER_TOKEN = 0.3
_CUT_SHORT = "the answer was cut short before this text"


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Strengths, or why there are none, by text; `broken` says why the endpoint gave up."""

    read: Mapping[int, FloatArray | str]
    usage: Usage
    broken: str | None = None


class QuoteSimulator:
    """A `Simulator` that asks a chat model for marked excerpts, several texts a request.

    Texts whose answer is of no use are asked about once more, with the reason.

    Parameters
    ----------
    settings : endpoint, model, time limit, retries, concurrency and texts per request.
    price : what the model's tokens cost; None: costs are not known.
    cache : where raw answers are kept; None: nowhere.

    Examples
    --------
    >>> simulator = QuoteSimulator(Settings(openai_base_url="http://127.0.0.1:8080/v1"))
    >>> simulator.worst_case_tokens("the word 'more'", [["no", " more"]]) < 2500
    True
    """

    def __init__(
        self, settings: Settings, price: Price | None = None, cache: AnswerCache | None = None
    ) -> None:
        self._endpoint = Endpoint(settings)
        self._price = price
        self._cache = cache
        self._texts_per_request = settings.llm_texts_per_request
        self._concurrency = settings.llm_concurrency
        self._source = Source(self._endpoint.url, self._endpoint.model, PROMPT_VERSION)
        self._recall = Recall(cache, self._source)

    @property
    def price(self) -> Price | None:
        """What the model's tokens cost, where that is known."""
        return self._price

    def simulate(self, explanation: str, texts: Sequence[Sequence[str]]) -> Simulation:
        """Guess the strength on every token; see `pipeline.simulation.Simulator`.

        Raises
        ------
        SimulatorError : if no text could be simulated and the endpoint is to blame: it refuses
            the key, cannot be reached, fails after all retries.
        """
        batches = self._batches(decode(texts))
        with ThreadPoolExecutor(self._concurrency) as pool:
            outcomes = list(pool.map(lambda batch: self._simulate(explanation, batch), batches))
        usage = sum((outcome.usage for outcome in outcomes), Usage())
        read = {index: result for outcome in outcomes for index, result in outcome.read.items()}
        failures = {index: result for index, result in read.items() if isinstance(result, str)}
        broken = next((outcome.broken for outcome in outcomes if outcome.broken), None)
        if broken and len(failures) == len(texts):
            raise SimulatorError(broken, usage)
        good = {index: result for index, result in read.items() if not isinstance(result, str)}
        return Simulation(tuple(map(good.get, range(len(texts)))), usage, failures)

    def worst_case_tokens(self, explanation: str, texts: Sequence[Sequence[str]]) -> int:
        """Tokens of the `worst_case`."""
        return self.worst_case(explanation, texts).total_tokens

    def worst_case(self, explanation: str, texts: Sequence[Sequence[str]]) -> Usage:
        """What `simulate` may take at most, second attempts for all texts included.

        An estimate on the safe side: the endpoint's own tokenizer is not known. Texts that the
        cache knows take nothing. A model that turns out to reason takes more once, and is reckoned
        with from then on.
        """
        usage = Usage()
        for batch in self._unknown(explanation, texts):
            asked = 2 * _prompt_tokens(explanation, batch) + _REASON_TOKENS * len(batch)
            answered = 2 * (_limit(batch) + self._endpoint.allowance)
            usage += self._priced(asked, answered, calls=2)
        return usage

    def typical_case(self, explanation: str, texts: Sequence[Sequence[str]]) -> Usage:
        """What `simulate` takes as a rule: every text that the cache does not know, asked once."""
        usage = Usage()
        for batch in self._unknown(explanation, texts):
            chat = messages(explanation, [text.text for text in batch])
            asked = sum(len(message["content"].encode("utf-8", "replace")) for message in chat)
            marks = sum(len(text.spans) for text in batch)
            usage += self._priced(
                math.ceil(asked / _TYPICAL_BYTES_PER_TOKEN),
                math.ceil(_TYPICAL_ANSWER_TOKENS_PER_TOKEN * marks) + self._endpoint.allowance,
                calls=1,
            )
        return usage

    def close(self) -> None:
        """Close the connections to the endpoint; a later call opens them again."""
        self._endpoint.close()

    def _batches(self, texts: Sequence[TokenizedText]) -> Iterator[dict[int, TokenizedText]]:
        """The texts of each request by their index."""
        batch: dict[int, TokenizedText] = {}
        size = 0
        for index, text in enumerate(texts):
            tokens = max(len(text.spans), _tokens(text.text))
            full = len(batch) >= self._texts_per_request or size + tokens > _TEXT_TOKENS_PER_REQUEST
            if batch and full:
                yield batch
                batch, size = {}, 0
            batch[index] = text
            size += tokens
        if batch:
            yield batch

    def _simulate(self, explanation: str, batch: Mapping[int, TokenizedText]) -> _Outcome:
        read: dict[int, FloatArray | str] = dict.fromkeys(batch, NO_ANSWER)
        known = self._recalled(explanation, batch)
        read |= known
        usage = Usage(cached_calls=1 if known else 0)
        for attempt in (0, 1):
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
    ) -> tuple[list[FloatArray | str], Usage]:
        chat = messages(explanation, [text.text for text in texts], rejected)
        key = self._key(chat, attempt=1 if rejected else 0)
        cached = self._cache.get(key) if self._cache else None
        answer = cached or self._endpoint.ask(chat, schema(len(texts)), _limit(texts))
        if self._cache and not cached:
            self._cache.put(key, answer, self._source, self._usage(answer, chat).cost_usd)
        results = _read(answer, texts)
        if self._cache and all(isinstance(result, str) for result in results):
            self._cache.reject(key)
        else:
            self._recall.keep(key, explanation, texts, answer.content or "", results)
        return results, Usage(cached_calls=1) if cached else self._usage(answer, chat)

    def _recalled(
        self, explanation: str, batch: Mapping[int, TokenizedText]
    ) -> Mapping[int, FloatArray | str]:
        """What is known of single texts, unless just these were asked about together before.

        That answer then leads the same way again, second attempt included, at no cost.
        """
        chat = messages(explanation, [text.text for text in batch.values()])
        if self._cache and self._cache.get(self._key(chat, attempt=0)):
            return {}
        return self._recall.known(explanation, batch)

    def _key(self, chat: Sequence[Mapping[str, str]], attempt: int) -> str:
        of = self._source
        return answer_key(of.endpoint, of.model, of.prompt_version, chat, attempt)

    def _usage(self, answer: RawAnswer, chat: Sequence[Mapping[str, str]]) -> Usage:
        # An endpoint that reports nothing must not slip through the caller's budget.
        prompt_tokens = answer.prompt_tokens or _tokens(str(chat))
        completion_tokens = answer.completion_tokens or _tokens(answer.content or "")
        return self._priced(prompt_tokens, completion_tokens, calls=1)

    def _priced(self, prompt_tokens: int, completion_tokens: int, calls: int) -> Usage:
        price = self._price
        cost = price.cost(prompt_tokens, completion_tokens) if price else None
        return Usage(prompt_tokens, completion_tokens, calls, cost_usd=cost)

    def _unknown(
        self, explanation: str, texts: Sequence[Sequence[str]]
    ) -> Iterator[list[TokenizedText]]:
        """The texts that each request would have to ask about."""
        for batch in self._batches(decode(texts)):
            known = self._recall.known(explanation, batch)
            if unknown := [text for index, text in batch.items() if index not in known]:
                yield unknown


def simulator_from(settings: Settings) -> QuoteSimulator | None:
    """The simulator that the settings describe, or None where they name no endpoint.

    Raises
    ------
    ConfigurationError : if the file of prices cannot be read.
    """
    if not settings.has_llm:
        return None
    price = price_of(settings.simulator_model, settings.openai_base_url, settings.prices_path)
    cache = AnswerCache(Path(settings.cache_path)) if settings.cache_path else None
    return QuoteSimulator(settings, price, cache)


def _read(answer: RawAnswer, texts: Sequence[TokenizedText]) -> list[FloatArray | str]:
    if answer.content is None:
        return ["the model refused to answer"] * len(texts)
    results = read_answer(answer.content, texts)
    if answer.finish_reason != "length":
        return results
    return [
        _CUT_SHORT if isinstance(result, str) and result == NO_ANSWER else result
        for result in results
    ]


def _limit(texts: Sequence[TokenizedText]) -> int:
    """The most tokens that an answer about these texts may have."""
    marks = sum(len(text.spans) for text in texts)
    return _ANSWER_TOKENS + math.ceil(_ANSWER_TOKENS_PER_TOKEN * marks)


def _prompt_tokens(explanation: str, texts: Sequence[TokenizedText]) -> int:
    """Upper estimate of a first request; the caller's tokens count where they are finer."""
    chat = messages(explanation, [text.text for text in texts])
    finer = sum(max(0, len(text.spans) - _tokens(text.text)) for text in texts)
    return _tokens(f"{chat}{json.dumps(schema(len(texts)))}") + finer


def _tokens(text: str) -> int:
    return math.ceil(len(text.encode("utf-8", "replace")) / _BYTES_PER_TOKEN)
