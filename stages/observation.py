"""What the cheap stage sees of a request before anything is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from pipeline.records import Request
from pipeline.text import IntArray
from stages.encoding import TextEncoder
from stages.explanation import EncodedExplanation, encode_explanation, parts_of
from stages.features import Features, features
from stages.spots import spots_of
from stages.words import Words

_RECENT = 6


@dataclass(frozen=True)
class Observation:
    """The words of all records and their features."""

    request: Request
    explanation: EncodedExplanation
    words: Words
    columns: Features

    @cached_property
    def spots(self) -> tuple[IntArray, ...]:
        """Of each record's words, the token on which a strength stands."""
        parsed = self.explanation.parsed
        return tuple(spots_of(parsed, text) for text in self.request.texts)


class Observer:
    """Embeds requests and works out their features.

    Parameters
    ----------
    encoder : embeds texts; it keeps the recent ones, so that a further explanation of the same
        records costs only its own embedding.
    elsewhere : embeds texts of the background, which never change, so that in time all of them
        are kept; by default the same one.
    """

    def __init__(self, encoder: TextEncoder, elsewhere: TextEncoder | None = None) -> None:
        self._encoder = encoder
        self._elsewhere = elsewhere or encoder
        # The further explanations of a neuron ask for the same words, contrast texts included.
        self._words = lru_cache(maxsize=_RECENT)(_words)

    def embed(self, requests: Sequence[Request], elsewhere: Sequence[tuple[str, ...]]) -> None:
        """Embed what `observe` and `observe_elsewhere` will ask for, in as few passes as it takes.

        Parameters
        ----------
        elsewhere : the words of each further text that will be asked for.
        """
        own = [text.words for request in requests for text in request.texts]
        said = [part for request in requests for part in parts_of(request.explanation)]
        self._encoder.encode([*own, *said])
        self._elsewhere.encode(elsewhere)

    def observe(self, request: Request) -> Observation:
        """Embed a request and work out its features."""
        words = self._words(self._encoder, tuple(text.words for text in request.texts))
        explanation = encode_explanation(request.explanation, self._encoder)
        return Observation(request, explanation, words, features(explanation, words))

    def observe_elsewhere(
        self, seen: Observation, texts: Sequence[tuple[str, ...]]
    ) -> tuple[Words, Features]:
        """Work out the features of further texts, by the request's own standards.

        Parameters
        ----------
        texts : the words of each text, as written.
        """
        words = self.words_elsewhere(texts)
        return words, features(seen.explanation, words, (seen.words, seen.columns))

    def words_elsewhere(self, texts: Sequence[tuple[str, ...]]) -> Words:
        """The words of further texts."""
        return self._words(self._elsewhere, tuple(texts))


def _words(encoder: TextEncoder, texts: tuple[tuple[str, ...], ...]) -> Words:
    return Words(encoder.encode(texts))
