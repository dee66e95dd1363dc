"""Stage one: predict every activation from an explanation, with no LLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np

from pipeline.records import Request
from pipeline.simulation import MAX_STRENGTH, FloatArray
from stages.encoding import TextEncoder
from stages.explanation import EncodedExplanation, encode_explanation
from stages.features import Features, features
from stages.head import Head
from stages.words import Column, Words

_RECENT = 4
HEAD_PATH = Path(__file__).parent / "data" / "head.safetensors"


@dataclass(frozen=True)
class Observation:
    """What the cheap stage sees of a request: the words of all records and their features."""

    request: Request
    explanation: EncodedExplanation
    words: Words
    columns: Features


@dataclass(frozen=True)
class CheapPrediction:
    """What the cheap stage makes of a request.

    Attributes
    ----------
    by_word : shape (n_words,), strength 0-10.
    strengths : one array a record, shape (n_tokens,), strength 0-10.
    """

    seen: Observation
    by_word: FloatArray
    strengths: tuple[FloatArray, ...]

    @classmethod
    def of(cls, seen: Observation, by_word: FloatArray) -> Self:
        """Put each word's strength on its last token, as the recorded simulations do.

        Where words share a token ("fox," of a tokenizer that cuts at spaces), the strongest counts.
        """
        strengths = []
        for text, values in zip(seen.request.texts, seen.words.split(by_word), strict=True):
            of_record = np.zeros(len(text.spans))
            np.maximum.at(of_record, text.word_tokens, values)
            strengths.append(of_record)
        return cls(seen, by_word, tuple(strengths))

    def at_peaks(self, column: Column) -> Column:
        """The column's entries at each record's peak token, for the records that have words."""
        records, texts = self.seen.request.records, self.seen.request.texts
        peaks = [t.token_words[r.values.argmax()] for t, r in zip(texts, records, strict=True)]
        columns = self.seen.words.split(column)
        found = [of[peak] for of, peak in zip(columns, peaks, strict=True) if peak >= 0]
        return np.array(found or [0.0])


class CheapPredictor:
    """Lexical and embedding features of every word, and the trained head over them.

    Parameters
    ----------
    encoder : embeds texts; it keeps the recent ones, so that a further explanation of the same
        records costs only its own embedding.
    """

    def __init__(self, encoder: TextEncoder, head: Head) -> None:
        self._head = head
        self._encoder = encoder
        # The further explanations of a neuron ask for the same words, contrast texts included.
        self._words = lru_cache(maxsize=_RECENT)(self._fresh_words)

    def predict(self, request: Request) -> CheapPrediction:
        """Predict the strength that a full simulation would give each token."""
        seen = self.observe(request)
        return CheapPrediction.of(seen, self._strengths(seen.columns))

    def observe(self, request: Request) -> Observation:
        """Embed a request and work out its features."""
        words = self._words(tuple(text.words for text in request.texts))
        explanation = encode_explanation(request.explanation, self._encoder)
        return Observation(request, explanation, words, features(explanation, words))

    def predict_elsewhere(
        self, seen: Observation, texts: Sequence[tuple[str, ...]]
    ) -> tuple[Words, FloatArray]:
        """Predict the same explanation on further texts, judged by the request's own standards.

        Parameters
        ----------
        texts : the words of each text, as written.

        Returns
        -------
        The texts' words, and shape (n_words,), strength 0-10.
        """
        words, columns = self.observe_elsewhere(seen, texts)
        return words, self._strengths(columns)

    def observe_elsewhere(
        self, seen: Observation, texts: Sequence[tuple[str, ...]]
    ) -> tuple[Words, Features]:
        """Work out the features of further texts."""
        words = self._words(tuple(texts))
        return words, features(seen.explanation, words, (seen.words, seen.columns))

    def _fresh_words(self, texts: tuple[tuple[str, ...], ...]) -> Words:
        return Words(self._encoder.encode(texts))

    def _strengths(self, columns: Features) -> FloatArray:
        return MAX_STRENGTH * np.clip(self._head.predict(columns), 0.0, 1.0)
