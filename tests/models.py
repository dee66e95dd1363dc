"""The loaded models, an encoder that needs none, and requests written as one line a text."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from serving import shared_scorer

from pipeline.records import Request
from pipeline.text import WORD
from stages.cheap import CheapPredictor
from stages.embedding import Float32Array, MiniLM, WordVectors, normalised
from stages.encoding import TextEncoder
from stages.gate import Constants, Gate, KernelMachine
from stages.gate_evidence import EVIDENCE


def predictor() -> CheapPredictor:
    """The shipped cheap stage, loaded once for all tests."""
    return shared_scorer()._models.load().predictor


def gate() -> Gate:
    """The shipped gate."""
    return shared_scorer()._models.load().gate


def minilm() -> MiniLM:
    """The real encoder, without a cache."""
    encoder = predictor().observer._encoder.encoder
    assert isinstance(encoder, MiniLM)
    return encoder


class SpellingEncoder:
    """Vectors that follow from a word's spelling and its neighbours': fast, repeatable, senseless.

    `calls` are the texts of each call.
    """

    def __init__(self) -> None:
        self.calls: list[list[tuple[str, ...]]] = []

    def encode(self, texts: Sequence[Sequence[str]]) -> list[WordVectors]:
        self.calls.append([tuple(text) for text in texts])
        return [self._encode(text) for text in texts]

    def _encode(self, words: Sequence[str]) -> WordVectors:
        alone = np.array([_vector(word) for word in words], np.float32).reshape(-1, 6)
        around = np.zeros_like(alone)
        around[1:] += alone[:-1]
        around[:-1] += alone[1:]
        near = np.asarray(alone + around / 2, np.float32)
        pieces = np.asarray(near, np.float16)
        return WordVectors(
            normalised(near), normalised(alone[:, :4]), pieces, np.arange(len(words))
        )


def _vector(word: str) -> Float32Array:
    seed = zlib.crc32(word.encode("utf-8", "replace"))
    return np.random.default_rng(seed).normal(size=6).astype(np.float32)


def fast_encoder() -> TextEncoder:
    return TextEncoder(SpellingEncoder())


def words_of(*texts: str) -> list[tuple[str, ...]]:
    """The words of each text, as the encoder takes them."""
    return [tuple(WORD.findall(text)) for text in texts]


def request(explanation: str, *texts: str) -> Request:
    """A request of blank-separated tokens, "*" and the activation behind those that fire.

    >>> request("foxes", "a quick fox*7 ran").records[0].values.tolist()
    [0.0, 0.0, 7.0, 0.0]
    """
    records = []
    for text in texts:
        marked = [token.partition("*") for token in text.split()]
        tokens = [f" {token}" for token, _, _ in marked]
        records.append({"tokens": tokens, "values": [float(v or 0) for _, _, v in marked]})
    return Request.parse(explanation, records)


def machine(intercept: float, weights: list[float] | None = None) -> KernelMachine:
    """One that adds a bump for each weight, at inputs of all zeros, all ones and so on."""
    weights = weights or []
    centres = np.repeat(np.arange(len(weights), dtype=float), len(EVIDENCE))
    return KernelMachine(
        np.zeros(len(EVIDENCE)),
        np.ones(len(EVIDENCE)),
        centres.reshape(-1, len(EVIDENCE)),
        np.array(weights, dtype=float),
        gamma=0.5,
        intercept=intercept,
    )


PLAIN_GATE = Gate(
    machine(0.0),
    machine(0.1),
    Constants(
        sampling=0.04,
        sampling_share=0.0,
        power=0.5,
        power_records=4.0,
        cheap_quantile=2.0,
        partial_quantile=1.5,
        cheap_mean=1.0,
        partial_mean=0.75,
    ),
)
