"""Recalls what an LLM said of single texts, whatever other texts it was asked about with them.

One request asks about several texts, and which ones depends on tolerance, budget and settings. So
each text's part of an answer is kept by itself too, in the form of an answer about that text alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.cache import AnswerCache, Source
from pipeline.text import TokenizedText
from stages.method import Method, Reading


@dataclass(frozen=True, slots=True)
class Recall:
    """What the cache holds of single texts that were asked about by one method.

    Attributes
    ----------
    cache : None: nothing is held.
    """

    cache: AnswerCache | None
    source: Source
    method: Method

    def known(self, explanation: str, texts: Mapping[int, TokenizedText]) -> dict[int, Reading]:
        """What is known of the texts, by the index given; never a reason why it is of no use.

        What was said of a text is read anew, since the caller's tokens may be others by now.
        """
        if self.cache is None:
            return {}
        keys = {index: self._key(explanation, text) for index, text in texts.items()}
        answers = self.cache.get_texts(list(keys.values()))
        read = {
            index: self.method.read(answers[key], [texts[index]])[0]
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
        results: Sequence[Reading],
    ) -> None:
        """Take the answer with this key apart; what could not be read is left out."""
        if self.cache is None:
            return
        parts = self.method.parts(content, len(texts))
        kept = {
            self._key(explanation, text): parts[index]
            for index, (text, result) in enumerate(zip(texts, results, strict=True))
            if not isinstance(result, str)
        }
        self.cache.put_texts(key, kept)

    def _key(self, explanation: str, text: TokenizedText) -> str:
        return self.source.text_key(explanation, self.method.subject(text))
