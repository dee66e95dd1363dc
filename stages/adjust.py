"""Context adjustment: would the explanation also fire where the peak token stands elsewhere?

Texts that fire strongly hardly show whether an explanation sees the context, since its word is
there in all of them. So the records' peak words are looked up in the background corpus, the cheap
head says whether the explanation would fire there, and those texts join the correlation with a true
value of 0, each weighed by how unlike its context is to those in which the neuron fires. Where the
peaks' contexts are no more alike than chance, the neuron cares for the word alone and nothing is
taken off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.records import Request
from pipeline.result import Adjustment, ContrastText
from pipeline.scoring import correlation_score
from pipeline.simulation import MAX_STRENGTH, FloatArray
from stages.background import background
from stages.cheap import CheapPrediction, CheapPredictor
from stages.embedding import Float32Array
from stages.lexical import normalise

_REACH = 2  # words on either side that count as the context
_NEIGHBOURS = 3  # contexts that a context is compared with
_CONTRAST_TEXTS = 24
_PEAK_WORDS = 4
_STRONG = 0.5  # share of the largest activation from which a record's peak counts
_TOTAL_WEIGHT = 0.5  # of all contrast texts' words at most, as a share of the records' tokens
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Contrast:
    """Background texts with a peak word, and what the explanation would do there.

    Attributes
    ----------
    texts : index of each in the background corpus.
    tokens : the peak word in each.
    predicted : shape (n_texts,), strength at the peak word, 0-10.
    strengths : shape (n_words,) each, strength of every word.
    weights : shape (n_texts,), 0-1.
    dependence : 0-1, how much more alike the peaks' contexts are than chance.
    """

    texts: tuple[int, ...]
    tokens: tuple[str, ...]
    predicted: FloatArray
    strengths: tuple[FloatArray, ...]
    weights: FloatArray
    dependence: float


def adjust_for_context(
    prediction: CheapPrediction,
    predictor: CheapPredictor,
    strengths: Sequence[FloatArray],
    raw: float,
) -> Adjustment:
    """Work out what to take off a raw score.

    Parameters
    ----------
    strengths : of each record's tokens, 0-10: simulated where an LLM was asked, else predicted.
    raw : the raw score; nothing is taken off one that is not positive.
    """
    request = prediction.seen.request
    at_peaks = [
        strengths[record][request.texts[record].word_tokens[word]]
        for record, word in _peaks(request)
    ]
    match = float(np.mean(at_peaks or [0.0])) / MAX_STRENGTH
    contrast = find_contrast(prediction, predictor)
    if contrast is None:
        reason = "no text of the background holds a peak word in another place"
        return Adjustment(0.0, match, 1.0, 0.0, (), reason)
    weights = contrast.weights
    elsewhere = float(weights @ contrast.predicted / max(weights.sum(), 1e-9)) / MAX_STRENGTH
    plain = correlation_score(request.true_values, np.concatenate(strengths))
    kept = contrast_correlation(request, strengths, contrast) / plain if plain > 0 else 1.0
    # As a share, since the raw score need not be the plain correlation: the gate corrects it.
    off = max(raw, 0.0) * float(np.clip(1.0 - kept, 0.0, 1.0))
    return Adjustment(
        taken_off=off,
        token_match=match,
        context_match=1.0 - min(1.0, elsewhere / match) if match > 0 else 1.0,
        context_dependence=contrast.dependence,
        evidence=_evidence(contrast) if off > 0 else (),
        reason=(
            f"the explanation is expected to fire at {elsewhere:.0%} strength on "
            f"{', '.join(repr(token) for token in dict.fromkeys(contrast.tokens))} in other "
            f"contexts, at {match:.0%} where the neuron fires"
        ),
    )


def _evidence(contrast: Contrast) -> tuple[ContrastText, ...]:
    """The contrast texts that took most off, strongest first."""
    effect = contrast.predicted * contrast.weights
    return tuple(
        ContrastText(
            background().texts[contrast.texts[i]],
            contrast.tokens[i],
            float(contrast.predicted[i]),
            float(contrast.weights[i]),
        )
        for i in np.argsort(-effect, kind="stable")[:_SHOWN]
        if effect[i] > 0
    )


def find_contrast(prediction: CheapPrediction, predictor: CheapPredictor) -> Contrast | None:
    """Look the peak words up elsewhere; None where the background does not hold them."""
    seen = prediction.seen
    peaks = _peaks(seen.request)
    if len(peaks) < 2:
        return None
    peak_at = np.array([seen.words.starts[record] + word for record, word in peaks])
    peak_words = [normalise(seen.words.written[at]) for at in peak_at]
    places = _places(peak_words)
    if not places:
        return None
    corpus = background()
    words, by_word = predictor.predict_elsewhere(seen, [corpus.words[text] for text, _ in places])
    at = words.starts + np.array([position for _, position in places])
    own, other = seen.words.windows(_REACH)[peak_at], words.windows(_REACH)[at]
    alike = _likeness(other, own)
    usual = _likeness(own, own, leave_one_out=True)
    # The chance that a peak's context is more like the other peaks' than a contrast text's is.
    above = (usual[:, None] > alike[None, :]).mean(axis=0)
    return Contrast(
        texts=tuple(text for text, _ in places),
        tokens=tuple(words.written[i] for i in at),
        predicted=by_word[at],
        strengths=tuple(words.split(by_word)),
        weights=above,
        dependence=float(np.clip(2.0 * above.mean() - 1.0, 0.0, 1.0)),
    )


def _peaks(request: Request) -> list[tuple[int, int]]:
    """(record, word) of each strong record's peak."""
    largest = max(float(record.values.max()) for record in request.records)
    found = []
    for index, (record, text) in enumerate(zip(request.records, request.texts, strict=True)):
        word = int(text.token_words[record.values.argmax()])
        if largest > 0 and record.values.max() >= _STRONG * largest and word >= 0:
            found.append((index, word))
    return found


def _places(peak_words: Sequence[str]) -> list[tuple[int, int]]:
    """Background occurrences of the commonest peak words, shared out by how common they are."""
    places = background().places
    counts = Counter(word for word in peak_words if word in places).most_common(_PEAK_WORDS)
    total = sum(count for _, count in counts)
    chosen: dict[int, int] = {}
    for word, count in counts:
        found = places[word]
        wanted = max(1, round(_CONTRAST_TEXTS * count / total))
        step = max(1, len(found) // wanted)
        for text, position in found[::step][:wanted]:
            chosen.setdefault(text, position)
    return list(chosen.items())


def _likeness(
    contexts: Float32Array, others: Float32Array, *, leave_one_out: bool = False
) -> FloatArray:
    """Mean cosine of each context with its nearest others."""
    cosines = (contexts @ others.T).astype(np.float64)
    if leave_one_out:
        np.fill_diagonal(cosines, -np.inf)
    nearest = min(_NEIGHBOURS, len(others) - leave_one_out)
    return np.asarray(np.sort(cosines, axis=1)[:, -nearest:].mean(axis=1))


def contrast_correlation(
    request: Request, strengths: Sequence[FloatArray], contrast: Contrast
) -> float:
    """Correlation over the records' tokens and, weighed, the contrast texts' words at truth 0."""
    weights = contrast.weights * contrast.dependence
    words = sum(map(len, contrast.strengths))
    weights = weights * min(1.0, _TOTAL_WEIGHT * len(request.true_values) / max(words, 1))
    guess = np.concatenate([*strengths, *contrast.strengths])
    truth = np.concatenate([request.true_values, np.zeros(len(guess) - len(request.true_values))])
    weight = np.concatenate(
        [np.ones(len(request.true_values))]
        + [np.full(len(s), w) for s, w in zip(contrast.strengths, weights, strict=True)]
    )
    return weighted_correlation(truth, guess, weight)


def weighted_correlation(truth: FloatArray, guess: FloatArray, weight: FloatArray) -> float:
    """Pearson correlation with a weight on each entry; 0.0 where undefined."""
    share = weight / weight.sum()
    t, g = _centred(truth, share), _centred(guess, share)
    spread = np.sqrt((share @ t**2) * (share @ g**2))
    return float(share @ (t * g) / spread) if spread > 1e-12 else 0.0


def _centred(values: FloatArray, share: FloatArray) -> FloatArray:
    """The values less their mean, in a unit in which the largest is 1."""
    values = values / (np.abs(values).max() or 1.0)
    return np.asarray(values - share @ values)
