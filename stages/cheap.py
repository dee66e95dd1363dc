"""Stage one: predict every activation from an explanation, with no LLM.

Two rungs: the head, trees over features of every word, and the reader, which is told what the head
says and reads explanation and text together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from pipeline.records import Request
from pipeline.simulation import MAX_STRENGTH, FloatArray
from stages.features import Features
from stages.head import Head
from stages.observation import Observation, Observer
from stages.reader import Reader
from stages.readings import hints_of, log_odds
from stages.words import Words

HEAD_PATH = Path(__file__).parent / "data" / "head.safetensors"

SILENT = 0.01
"""Strength, 0-1, up to which the head is silent: the reader speaks there on one word in a thousand,
so it is neither asked about such words nor taught on them."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The strength of every word, 0-10, shape (n_words,): in the end, and by each rung alone."""

    strengths: FloatArray
    first: FloatArray
    read: FloatArray


@dataclass(frozen=True)
class CheapPrediction:
    """What the cheap stage makes of a request.

    Attributes
    ----------
    by_word : of all records' words.
    strengths : one array a record, shape (n_tokens,), strength 0-10.
    first, read : the same by the head alone and by the reader alone.
    """

    seen: Observation
    by_word: Judgement
    strengths: tuple[FloatArray, ...]
    first: tuple[FloatArray, ...]
    read: tuple[FloatArray, ...]

    @classmethod
    def of(cls, seen: Observation, by_word: Judgement) -> Self:
        """Put each word's strength on one of its tokens: see `stages.spots`.

        Where words share a token ("fox," of a tokenizer that cuts at spaces), the strongest counts.
        """
        rungs = (by_word.strengths, by_word.first, by_word.read)
        return cls(seen, by_word, *(_on_tokens(seen, of_words) for of_words in rungs))

    def strengths_or(self, simulated: Mapping[int, FloatArray]) -> list[FloatArray]:
        """The prediction, and what an LLM said of the records that it simulated."""
        return [simulated.get(i, guess) for i, guess in enumerate(self.strengths)]


@dataclass(frozen=True, slots=True)
class CheapPredictor:
    """The observer's features, the trained head over them, and the reader."""

    observer: Observer
    head: Head
    reader: Reader

    def predict(self, request: Request) -> CheapPrediction:
        """Predict the strength that a full simulation would give each token."""
        return self.judge(self.observer.observe(request))

    def judge(self, seen: Observation) -> CheapPrediction:
        """The same for a request already observed."""
        return CheapPrediction.of(seen, self._judge(seen, seen.words, seen.columns))

    def predict_elsewhere(
        self, seen: Observation, texts: Sequence[tuple[str, ...]]
    ) -> tuple[Words, FloatArray]:
        """Predict the same explanation on further texts, by the request's own standards.

        Parameters
        ----------
        texts : the words of each text, as written.

        Returns
        -------
        The texts' words, and shape (n_words,), strength 0-10.
        """
        words, columns = self.observer.observe_elsewhere(seen, texts)
        return words, self._judge(seen, words, columns).strengths

    def _judge(self, seen: Observation, words: Words, columns: Features) -> Judgement:
        """Ask the head about all words, and the reader where the head is not silent."""
        first = np.clip(self.head.predict(columns), 0.0, 1.0)
        # Where the head is silent the reader has nothing to add.
        heard = first > SILENT
        read = np.zeros(len(first))
        read[heard] = self.reader.read(
            seen.explanation.read, words, hints_of(columns, first), heard
        )
        # On features alike to the training ones the reader is the better judge, on others it doubts
        # too much, and the mean of both log-odds holds on either.
        pooled = 1.0 / (1.0 + np.exp(-(log_odds(first) + log_odds(read)) / 2.0))
        rungs = (pooled, first, read)
        if seen.explanation.parsed.complement:
            rungs = (1.0 - pooled, 1.0 - first, 1.0 - read)
        return Judgement(*(MAX_STRENGTH * of_words for of_words in rungs))


def _on_tokens(seen: Observation, by_word: FloatArray) -> tuple[FloatArray, ...]:
    """One array a record, shape (n_tokens,)."""
    strengths = []
    parts = zip(seen.request.texts, seen.spots, seen.words.split(by_word), strict=True)
    for text, spots, values in parts:
        of_record = np.zeros(len(text.spans))
        np.maximum.at(of_record, spots, values)
        strengths.append(of_record)
    return tuple(strengths)
