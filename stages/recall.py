"""Recalls what an LLM said of single texts, whatever other texts it was asked about with them.

One request asks about several texts, and which ones depends on tolerance, budget and settings. So
each text's part of an answer is kept by itself too, in the form of an answer about that text alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pipeline.cache import AnswerCache, Source
from pipeline.simulation import FloatArray
from pipeline.text import TokenizedText
from stages.alignment import read_answer
from stages.answers import entries


class Recall:
    """What the cache holds of single texts; nothing without a cache."""

    def __init__(self, cache: AnswerCache | None, source: Source) -> None:
        self._cache = cache
        self._source = source

    def known(
        self, explanation: str, texts: Mapping[int, TokenizedText]
    ) -> dict[int, FloatArray | str]:
        """Strengths of the texts that were answered before, by the index given; never a reason.

        What was said of a text is read anew, since the caller's tokens may be others by now.
        """
        if self._cache is None:
            return {}
        keys = {i: self._source.text_key(explanation, text.text) for i, text in texts.items()}
        answers = self._cache.get_texts(list(keys.values()))
        read = {
            index: read_answer(answers[key], [texts[index]])[0]
            for index, key in keys.items()
            if key in answers
        }
        return {index: result for index, result in read.items() if not isinstance(result, str)}

    def keep(
        self,
        key: str,
        explanation: str,
        texts: Sequence[TokenizedText],
        content: str,
        results: Sequence[FloatArray | str],
    ) -> None:
        """Take the answer with this key apart; what could not be read is left out."""
        if self._cache is None:
            return
        found = entries(content, len(texts))
        parts = {
            self._source.text_key(explanation, text.text): json.dumps({"0": found[index]})
            for index, (text, result) in enumerate(zip(texts, results, strict=True))
            if not isinstance(result, str)
        }
        self._cache.put_texts(key, parts)
