"""What a result looks like, as plain values: what the page, the notebook and the terminal draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.result import ContrastText, ScoreResult
from pipeline.scoring import ScoredSequenceSimulation
from pipeline.simulation import MAX_STRENGTH
from pipeline.text import WORD, TokenizedText, decode

_MARKED = 0.5
"""Strengths below this share no mark: they are drawn as plain text."""


@dataclass(frozen=True, slots=True)
class HeatToken:
    """One token; neighbours without a mark are joined into one.

    Attributes
    ----------
    text : as it reads, whatever the tokenizer's spelling.
    true, predicted : strength 0-10; the strongest true activation of the request is 10.
    activation : the true one, in the neuron's unit.
    """

    text: str
    true: float = 0.0
    predicted: float = 0.0
    activation: float = 0.0

    @property
    def marked(self) -> bool:
        return max(self.true, self.predicted) >= _MARKED


@dataclass(frozen=True, slots=True)
class HeatText:
    """One text.

    Attributes
    ----------
    record : its place in the request, counted from 0.
    correlation : of this text alone, in [-1, 1].
    disagreement : root mean square of true minus predicted strength, 0-10.
    """

    record: int
    tokens: tuple[HeatToken, ...]
    correlation: float
    disagreement: float


def heat_texts(result: ScoreResult) -> tuple[HeatText, ...]:
    """Bring true and predicted activations to one scale; those that agree least come first."""
    scored = result.simulations
    unit = max(float(one.true_activations.max()) for one in scored) / MAX_STRENGTH
    decoded = decode([one.simulation.tokens for one in scored])
    texts = (
        _text(record, one, text, unit)
        for record, (one, text) in enumerate(zip(scored, decoded, strict=True))
    )
    return tuple(sorted(texts, key=lambda text: -text.disagreement))


def around(contrast: ContrastText) -> tuple[str, str, str]:
    """A background text, cut into what stands before, on and behind its token."""
    for found in WORD.finditer(contrast.text):
        if found[0] == contrast.token:
            start, end = found.span()
            return contrast.text[:start], contrast.token, contrast.text[end:]
    return contrast.text, "", ""


def _text(record: int, one: ScoredSequenceSimulation, text: TokenizedText, unit: float) -> HeatText:
    true = np.maximum(one.true_activations, 0.0) / (unit if unit > 0 else 1.0)
    predicted = one.simulation.expected_activations
    tokens: list[HeatToken] = []
    for piece, t, p, activation in zip(
        _pieces(text), true, predicted, one.true_activations, strict=True
    ):
        token = HeatToken(piece, float(t), float(p), float(activation))
        if token.marked:
            tokens.append(token)
        elif tokens and not tokens[-1].marked:
            tokens[-1] = HeatToken(tokens[-1].text + piece)
        else:
            tokens.append(HeatToken(piece))
    disagreement = float(np.sqrt(np.mean((true - predicted) ** 2)))
    return HeatText(record, tuple(tokens), one.ev_correlation_score, disagreement)


def _pieces(text: TokenizedText) -> list[str]:
    """The characters of each token; one that is split between tokens goes to the first of them."""
    ends = np.maximum.accumulate(text.spans[:, 1])
    return [text.text[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
