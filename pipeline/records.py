"""Activation records and requests: what is accepted, and what is said about what is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import regex

from pipeline.errors import InvalidRequest, RequestTooLarge
from pipeline.simulation import FloatArray
from pipeline.text import TokenizedText, decode

_LARGEST_ACTIVATION = 1e100

# What nobody sees, the judges must not read either. Joiners spell words in Persian or Hindi, and
# one variation selector makes an emoji; rows of them hide messages.
_INVISIBLE = regex.compile(
    r"[\p{Default_Ignorable_Code_Point}\p{Cf}--[\u200c\u200d\ufe0f]]"
    r"|(?<![^\x00-\x7f])[\u200c\u200d\ufe0f]|(?<=[\u200c\u200d\ufe0f])[\u200c\u200d\ufe0f]+",
    regex.V1,
)
_WRAPS = {('"', '"'), ("'", "'"), ("`", "`"), ("“", "”"), ("‘", "’"), ("«", "»")}
_LONGEST_QUOTATION = 4  # words


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest input that is accepted; README.md and openapi.json state the same numbers.

    Attributes
    ----------
    total_words : work and memory grow with the words, of which one token may hold hundreds.
    """

    texts: int = 500
    tokens_per_text: int = 2048
    total_tokens: int = 40_000
    total_chars: int = 200_000
    total_words: int = 40_000
    explanation_chars: int = 2000
    token_chars: int = 1000


@dataclass(frozen=True, slots=True, eq=False)
class ActivationRecord:
    """One text and the neuron's activation on each of its tokens.

    Attributes
    ----------
    tokens : the tokens, spelled as the caller's tokenizer spells them.
    values : shape (len(tokens),), finite, in the neuron's own unit.
    """

    tokens: tuple[str, ...]
    values: FloatArray

    @classmethod
    def parse(
        cls, raw: object, field: str = "activations[0]", limits: Limits | None = None
    ) -> ActivationRecord:
        """Check one record, given as a mapping with `tokens` and `values` or as a record.

        Raises
        ------
        InvalidRequest : naming the field, what was found and what to send instead.
        """
        if isinstance(raw, ActivationRecord):
            raw = {"tokens": raw.tokens, "values": raw.values}
        if not isinstance(raw, Mapping):
            raise InvalidRequest(
                f"expected an object with 'tokens' and 'values', found {_name(raw)}", field
            )
        tokens = _parse_tokens(raw.get("tokens"), f"{field}.tokens", limits or Limits())
        return cls(tokens, _parse_values(raw.get("values"), f"{field}.values", len(tokens)))


@dataclass(frozen=True, eq=False)
class Request:
    """A checked explanation with the records that it is scored on.

    Attributes
    ----------
    explanation : without the characters that nobody sees, and without quotation marks around the
        whole of it, however it was sent.
    """

    explanation: str
    records: tuple[ActivationRecord, ...]

    @classmethod
    def parse(
        cls, explanation: object, activations: object, limits: Limits | None = None
    ) -> Request:
        """Check a whole request; limits are enforced before any work is done.

        Parameters
        ----------
        explanation : a non-blank string.
        activations : a non-empty sequence of records or of ``{"tokens": [...], "values": [...]}``.

        Raises
        ------
        InvalidRequest, RequestTooLarge : naming the field and the remedy.
        """
        limits = limits or Limits()
        text = _parse_explanation(explanation, limits)
        if isinstance(activations, str | bytes | Mapping) or not isinstance(activations, Sequence):
            raise InvalidRequest(
                f"expected a list of activation records, found {_name(activations)}", "activations"
            )
        if not activations:
            raise InvalidRequest("no activation records; send at least one", "activations")
        _limit(len(activations), limits.texts, "texts", "activations")
        records = []
        tokens = chars = 0
        for index, raw in enumerate(activations):
            record = ActivationRecord.parse(raw, f"activations[{index}]", limits)
            tokens += len(record.tokens)
            chars += sum(map(len, record.tokens))
            _limit(tokens, limits.total_tokens, "tokens in all", "activations")
            _limit(chars, limits.total_chars, "characters in all", "activations")
            records.append(record)
        request = cls(text, tuple(records))
        words = sum(len(one.word_spans) for one in request.texts)
        _limit(words, limits.total_words, "words in all", "activations")
        return request

    @cached_property
    def texts(self) -> list[TokenizedText]:
        """The decoded text of each record."""
        return decode([record.tokens for record in self.records])

    @cached_property
    def true_values(self) -> FloatArray:
        """Shape (tokens of all records,): the activations end to end."""
        return np.concatenate([record.values for record in self.records])


def _parse_explanation(raw: object, limits: Limits) -> str:
    if not isinstance(raw, str):
        raise InvalidRequest(f"expected a string, found {_name(raw)}", "explanation")
    _limit(len(raw), limits.explanation_chars, "characters", "explanation")
    text = _INVISIBLE.sub("", raw)
    if not any(char.isalnum() or (char.isprintable() and not char.isspace()) for char in text):
        raise InvalidRequest("is empty; say in words what the neuron fires on", "explanation")
    try:
        raw.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            f"character {error.start} is half of a surrogate pair; send whole characters",
            "explanation",
        ) from None
    return _unwrapped(text.strip())


def _unwrapped(text: str) -> str:
    """Without quotation marks around the whole: LLMs answer so. Few words may be a quotation."""
    inside = text[1:-1].strip()
    wrapped = (text[:1], text[-1:]) in _WRAPS and not {text[0], text[-1]} & set(inside)
    return inside if wrapped and len(inside.split()) > _LONGEST_QUOTATION else text


def _parse_tokens(raw: object, field: str, limits: Limits) -> tuple[str, ...]:
    if isinstance(raw, str | bytes) or not isinstance(raw, Sequence):
        raise InvalidRequest(f"expected a list of strings, found {_name(raw)}", field)
    if not raw:
        raise InvalidRequest("no tokens; leave the record out or send its text", field)
    _limit(len(raw), limits.tokens_per_text, "tokens", field)
    for index, token in enumerate(raw):
        if not isinstance(token, str):
            raise InvalidRequest(f"expected a string, found {_name(token)}", f"{field}[{index}]")
        if len(token) > limits.token_chars:
            _limit(len(token), limits.token_chars, "characters", f"{field}[{index}]")
    return tuple(raw)


def _parse_values(raw: object, field: str, n_tokens: int) -> FloatArray:
    if isinstance(raw, np.ndarray):
        raw = raw.tolist()
    if isinstance(raw, str | bytes) or not isinstance(raw, Sequence):
        raise InvalidRequest(f"expected a list of numbers, found {_name(raw)}", field)
    if len(raw) != n_tokens:
        raise InvalidRequest(
            f"{len(raw)} values for {n_tokens} tokens; send one value for each token", field
        )
    return np.array([_parse_value(value, field, i) for i, value in enumerate(raw)], np.float64)


def _parse_value(value: object, field: str, index: int) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise InvalidRequest(f"expected a number, found {_name(value)}", f"{field}[{index}]")
    # Squares of activations are summed, so a value beyond this would overflow a double.
    if not -_LARGEST_ACTIVATION <= value <= _LARGEST_ACTIVATION:
        raise InvalidRequest(
            f"is not a finite activation; send numbers within ±{_LARGEST_ACTIVATION:g}",
            f"{field}[{index}]",
        )
    return float(value)


def _limit(found: int, most: int, unit: str, field: str) -> None:
    if found > most:
        raise RequestTooLarge(f"{found:,} {unit}; at most {most:,} are accepted", field)


def _name(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
