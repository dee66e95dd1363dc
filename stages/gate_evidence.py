"""What the gate looks at: how a prediction sits on the records.

Never how the explanation is worded, nor what in it matches, which would teach it the style of good
explanations.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

import numpy as np

from pipeline.records import Request
from pipeline.scoring import correlation_score
from pipeline.simulation import MAX_STRENGTH, FloatArray
from pipeline.text import TokenizedText
from stages.cheap import CheapPrediction
from stages.peaks import kinds_of, peak_stems
from stages.vocabulary import normalise, stem

_LOUD = (0.05, 0.1, 0.2, 0.4, 0.6)
_LOUD_TEXTS = (0.2, 0.4)
"""Strengths, 0-1. An LLM leaves a word that does not fit at 0: how loud counts, besides where."""

_AGREEMENT = (
    "correlation",
    "sharp_correlation",
    "at_peaks",
    "maximum",
    "peak_share",
    "mass_on_peaks",
    *(f"correlation_above_{level}" for level in _LOUD),
    *(f"{what}_above_{level}" for what in ("peaks", "maxima") for level in _LOUD_TEXTS),
)

EVIDENCE = (
    *_AGREEMENT,
    *(f"reader_{name}" for name in _AGREEMENT),
    "record_mean",
    "record_spread",
    "at_peaks_spread",
    "doubt",
    "mean",
    "stability",
    "log_records",
    "first_correlation",
    "agreement",
    "kinds_of_peaks",
    "on_peak_words",
)


def evidence(prediction: CheapPrediction) -> FloatArray:
    """Shape (len(EVIDENCE),); the first is the correlation of prediction and activations."""
    request = prediction.seen.request
    guesses = [strengths / MAX_STRENGTH for strengths in prediction.strengths]
    read = [strengths / MAX_STRENGTH for strengths in prediction.read]
    guess, truth = np.concatenate(guesses), request.true_values
    truths = [record.values for record in request.records]
    alone = np.array([correlation_score(t, g) for t, g in zip(truths, guesses, strict=True)])
    first = np.concatenate(prediction.first)
    peak_words = peak_stems(request)
    on_peak_words = np.concatenate([_whose(text, peak_words) for text in request.texts])
    return np.array(
        [
            *_agreement(request, guesses),
            *_agreement(request, read),
            alone.mean(),
            alone.std(),
            _at_peaks(request, guesses).std(),
            np.log((guess * (1.0 - guess)).sum() / ((guess**2).sum() + 1e-9) + 1e-3),
            guess.mean(),
            _stability(guesses, truths),
            np.log(len(request.records)),
            correlation_score(truth, first),
            correlation_score(guess, first),
            np.log(kinds_of(peak_words)),
            correlation_score(guess, on_peak_words),
        ]
    )


def _agreement(request: Request, guesses: Sequence[FloatArray]) -> list[float]:
    """How far strengths of 0-1, one array a record, agree with the activations."""
    guess, truth = np.concatenate(guesses), request.true_values
    peaks, maxima = _at_peaks(request, guesses), np.array([of.max() for of in guesses])
    return [
        correlation_score(truth, guess),
        correlation_score(truth, guess**2),
        peaks.mean(),
        maxima.mean(),
        (peaks >= 0.7 * maxima).mean(),
        guess[truth > 0.3 * truth.max()].sum() / (guess.sum() + 1e-9),
        *(correlation_score(truth, (guess > level).astype(float)) for level in _LOUD),
        *((of > level).mean() for of in (peaks, maxima) for level in _LOUD_TEXTS),
    ]


def _at_peaks(request: Request, guesses: Sequence[FloatArray]) -> FloatArray:
    """The guess at each record's largest activation."""
    parts = zip(request.records, guesses, strict=True)
    return np.array([guess[record.values.argmax()] for record, guess in parts])


def _whose(text: TokenizedText, stems: Container[str]) -> FloatArray:
    """1 at each token of a word with one of these stems, shape (n_tokens,)."""
    of_words = [stem(normalise(word)) in stems for word in text.words]
    return np.array([*of_words, False], dtype=float)[text.token_words]


def _stability(guesses: Sequence[FloatArray], truths: Sequence[FloatArray]) -> float:
    """Standard deviation of the correlation when one record in ten is left out."""
    if len(guesses) < 2:
        return 0.0
    parts = np.array_split(np.arange(len(guesses)), min(10, len(guesses)))
    left_out = [set(part.tolist()) for part in parts]
    scores = [
        correlation_score(
            np.concatenate([t for i, t in enumerate(truths) if i not in out]),
            np.concatenate([g for i, g in enumerate(guesses) if i not in out]),
        )
        for out in left_out
    ]
    return float(np.std(scores))
