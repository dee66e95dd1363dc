"""The digits that a model held likely at each token of a text, as they are kept and looked up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Self

import numpy as np

from pipeline.simulation import MAX_STRENGTH, Distribution, FloatArray

DIGITS = 10
STRENGTHS: FloatArray = np.linspace(0.0, MAX_STRENGTH, DIGITS)
"""The strength that each digit stands for.

Strengths are asked for as one digit, 0-9, for a 10 would be two tokens to many models, and a model
that has only begun to write it cannot be told from one that means 1.
"""


@dataclass(frozen=True, slots=True)
class WeighedText:
    """A text that a model has read or written.

    Attributes
    ----------
    data : its bytes; tokens may end within a character.
    ends : for each token, where it ends in `data`.
    odds : for each token, digit → the probability of that digit in its place. What else was
        likely there is left out: it says nothing of a strength and is most of what is sent.
    """

    data: bytes = b""
    ends: Sequence[int] = ()
    odds: Sequence[Mapping[str, float]] = ()

    @classmethod
    def of(cls, tokens: Sequence[bytes], likely: Sequence[Mapping[str, float]]) -> Self:
        """From each token and the log probabilities of what might have stood in its place."""
        ends = tuple(accumulate(map(len, tokens)))
        return cls(b"".join(tokens), ends, tuple(map(_odds, likely)))

    @classmethod
    def read(cls, content: str) -> Self:
        """Undo `write`; a model that wrote nothing leaves nothing to weigh."""
        if not content:
            return cls()
        kept = json.loads(content)
        return cls(kept["text"].encode(), kept["ends"], kept["odds"])

    def write(self) -> str:
        """As JSON, for the cache."""
        text = self.data.decode("utf-8", "replace")
        return json.dumps({"text": text, "ends": self.ends, "odds": self.odds}, ensure_ascii=False)

    def probabilities(self, place: int) -> FloatArray | None:
        """Of each digit at a byte of the text, shape (10,); None where that is not known.

        They add up to 1: what a model held likely beside digits is not counted.
        """
        token = int(np.searchsorted(self.ends, place, side="right"))
        start = self.ends[token - 1] if token else 0
        # Some tokenizers put the blank before a digit into its token.
        if token >= len(self.odds) or self.data[start:place].strip(b" "):
            return None
        found = np.array([self.odds[token].get(str(digit), 0.0) for digit in range(DIGITS)])
        return found / found.sum() if found.sum() > 0 else None


def distribution(rows: Sequence[FloatArray]) -> Distribution:
    """Of the tokens of a text, from the probabilities of the digits on each."""
    return Distribution(STRENGTHS, np.array(rows, dtype=np.float64).reshape(-1, DIGITS))


def _odds(likely: Mapping[str, float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for token, log_probability in likely.items():
        digit = token.strip(" ▁")
        if len(digit) == 1 and digit in "0123456789":
            # "7" and " 7" say the same.
            found[digit] = found.get(digit, 0.0) + float(np.exp(min(log_probability, 0.0)))
    return {digit: float(f"{probability:.6g}") for digit, probability in found.items()}
