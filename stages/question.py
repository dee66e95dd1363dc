"""What an LLM endpoint can be asked: a chat, or what it makes of a prompt as it stands."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

# Tokenizers make at least three bytes of English, code or Chinese a token, on average of a prompt.
_BYTES_PER_TOKEN = 3


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat whose next message is wanted.

    Attributes
    ----------
    messages : the chat so far.
    schema : JSON schema of the answer, for endpoints that bind their answers to one.
    limit : the most tokens that the answer may have, thoughts aside.
    odds : whether the digits that were likely at each token are wanted, too.
    """

    messages: Sequence[Mapping[str, str]]
    schema: Mapping[str, Any]
    limit: int
    odds: bool = False

    @property
    def said(self) -> str:
        """What the model reads without a doubt; endpoints count schemas or not."""
        return "".join(message["content"] for message in self.messages)

    @property
    def most_tokens(self) -> int:
        """Upper estimate of what it takes to read."""
        return tokens_of(f"{self.messages}{json.dumps(self.schema)}")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text of which only the odds of digits at each of its own tokens are wanted."""

    text: str
    limit: int = 1  # vLLM, for one, refuses to generate nothing at all

    @property
    def messages(self) -> Sequence[Mapping[str, str]]:
        """What tells it from other questions in the cache."""
        return ({"prompt": self.text},)

    @property
    def said(self) -> str:
        return self.text

    @property
    def most_tokens(self) -> int:
        """Upper estimate of what it takes to read, with the mark that begins a text."""
        # Around a tab, tokenizers make a token of every byte or two.
        return tokens_of(self.text) + self.text.count("\t") + 1


Question: TypeAlias = Chat | Prompt


def tokens_of(text: str) -> int:
    """Upper estimate of a text's tokens: the endpoint's own tokenizer is not known."""
    return math.ceil(len(text.encode("utf-8", "replace")) / _BYTES_PER_TOKEN)
