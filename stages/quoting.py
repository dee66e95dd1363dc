"""The simulator `quote`: marked excerpts of the places that fire, several texts a request."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.simulation import FloatArray
from pipeline.text import TokenizedText
from stages.alignment import read_answer
from stages.answers import entries
from stages.prompts import PROMPT_VERSION, messages, schema
from stages.question import Chat

# Quotes of what was recorded for 20 texts of 64 tokens take 379 tokens on average and 1,516 at the
# 99th per cent; an answer that is cut short is asked for again where it ends.
_ANSWER_TOKENS = 100
_ANSWER_TOKENS_PER_TOKEN = 1.25
_TYPICAL_ANSWER_TOKENS_PER_TOKEN = 0.3


@dataclass(frozen=True, slots=True)
class Quoting:
    """A `Method` for chat models; `stages.prompts` and `stages.alignment` do its work."""

    texts_per_request: int = 20
    attempts: int = 2
    version: str = PROMPT_VERSION
    # SmolLM2's tokenizer: 3.5 of a prompt about one text, 4.2 of one about twenty.
    bytes_per_token: float = 4.0

    def question(
        self, explanation: str, texts: Sequence[TokenizedText], rejected: Sequence[str] = ()
    ) -> Chat:
        chat = messages(explanation, [text.text for text in texts], rejected)
        marks = sum(len(text.spans) for text in texts)
        limit = _ANSWER_TOKENS + math.ceil(_ANSWER_TOKENS_PER_TOKEN * marks)
        return Chat(chat, schema(len(texts)), limit)

    def read(self, content: str, texts: Sequence[TokenizedText]) -> list[FloatArray | str]:
        return read_answer(content, texts)

    def subject(self, text: TokenizedText) -> str:
        return text.text

    def typical_answer(self, texts: Sequence[TokenizedText]) -> int:
        marks = sum(len(text.spans) for text in texts)
        return math.ceil(_TYPICAL_ANSWER_TOKENS_PER_TOKEN * marks)

    def parts(self, content: str, n_texts: int) -> Mapping[int, str]:
        found = entries(content, n_texts)
        return {index: json.dumps({"0": quotes}) for index, quotes in found.items()}
