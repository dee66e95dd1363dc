"""Adjustment: what a raw score owes to the choice of the texts, and not to the explanation.

Three things are taken off, one after the other, each as a share of what is left:

context : the explanation would also fire where a peak word stands in other contexts. Where the
    peaks' contexts are no more alike than chance, the neuron cares for the word alone and nothing
    is taken off.
breadth : it would also fire on words that it names and that never fire.
listing : it names more peak words one by one than a description would, which says what the peaks
    have in common. Such a list is read off the records, and the credit for the words too many is
    taken back, unless the list explains all.

For context and breadth, the texts of `stages.contrast` join the correlation as silent ones.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence

import numpy as np

from pipeline.records import Request
from pipeline.result import Adjustment, ContrastText
from pipeline.scoring import correlation_score
from pipeline.simulation import MAX_STRENGTH, FloatArray
from stages.background import background
from stages.contrast import Contrast, Contrasts
from stages.explanation import words_in
from stages.lexical import parse
from stages.peaks import kinds_of, peak_stems, peaks_of
from stages.vocabulary import content_words, normalise, stem, words_of

_TOTAL_WEIGHT = 0.5  # of a kind's words at most, as a share of the records' tokens
_FREE_WORDS = 4  # peak words that a description may name without being a list
_INCOMPLETE = 0.9  # correlation with the activations up to which a list explains too little
_WEAK = 0.05  # share of the largest activation from which a record's peak may be listed
_SHOWN = 5


def adjust_for_context(
    request: Request,
    found: Contrasts,
    strengths: Sequence[FloatArray],
    raw: float,
) -> Adjustment:
    """Work out what to take off a raw score.

    Parameters
    ----------
    found : the texts that speak against the explanation, from `find_contrasts`.
    strengths : of each record's tokens, 0-10: simulated where an LLM was asked, else predicted, as
        on the texts of `found`.
    raw : the raw score; nothing is taken off one that is not positive.
    """
    at_peaks = [
        strengths[record][request.texts[record].token_words == word].max()
        for record, word in peaks_of(request)
    ]
    match = float(np.mean(at_peaks or [0.0])) / MAX_STRENGTH
    plain = contrast_correlation(request, strengths)
    with_context = contrast_correlation(request, strengths, found.context)
    with_both = contrast_correlation(request, strengths, found.context, found.breadth)
    # As shares, since the raw score need not be the plain correlation: the gate corrects it.
    left = max(raw, 0.0)
    after_context = left * _kept(with_context, plain)
    after_breadth = after_context * _kept(with_both, min(with_context, plain))
    listed = _listed(request)
    of_list = _kept_of_list(request, listed)
    after_listing = after_breadth * of_list
    return Adjustment(
        taken_off=left - after_listing,
        for_context=left - after_context,
        for_breadth=after_context - after_breadth,
        for_listing=after_breadth - after_listing,
        token_match=match,
        context_match=1.0 - min(1.0, found.context.elsewhere / match) if match > 0 else 1.0,
        context_dependence=found.dependence,
        evidence=_evidence(found.context, found.breadth) if after_breadth < left else (),
        reason=_reason(match, found.context, found.breadth, listed if of_list < 0.95 else ()),
    )


def contrast_correlation(
    request: Request, strengths: Sequence[FloatArray], *contrasts: Contrast
) -> float:
    """Correlation over the records' tokens and, weighed, the contrast texts' words as silent."""
    true = request.true_values
    guesses, weights = [*strengths], [np.ones(len(true))]
    for contrast in contrasts:
        words = sum(map(len, contrast.strengths))
        share = min(1.0, _TOTAL_WEIGHT * len(true) / max(words, 1))
        guesses += contrast.strengths
        weights += [
            np.full(len(s), share * weight)
            for s, weight in zip(contrast.strengths, contrast.weights, strict=True)
        ]
    guess = np.concatenate(guesses)
    truth = np.concatenate([true, np.full(len(guess) - len(true), silence(true))])
    return weighted_correlation(truth, guess, np.concatenate(weights))


def silence(values: FloatArray) -> float:
    """The value of a neuron that does not fire: 0, or what most tokens have near it.

    Probes and directions may rest at any value.
    """
    low, middle = np.quantile(values, [0.1, 0.5])
    return float(np.clip(0.0, low, middle))


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


def _kept(after: float, before: float) -> float:
    """The share of a score that is left."""
    return float(np.clip(after / before, 0.0, 1.0)) if before > 0 else 1.0


def _kept_of_list(request: Request, listed: Collection[str]) -> float:
    """The share that is left of a score after the credit for peak words too many.

    A description may name one more than there are kinds of peaks. Beyond `_FREE_WORDS` each counts
    twice, since a list that fits has a higher correlation than most descriptions. A list that
    leaves nothing to be explained is the description and keeps all, but for words that peak once:
    these are read off their records.

    Parameters
    ----------
    listed : stems of the peak words that the explanation names.
    """
    peaks, named = peak_stems(request), max(len(listed), 1)
    free = min(_FREE_WORDS, kinds_of(peaks) + 1.0)
    kept = min(1.0, free / named) * min(1.0, _FREE_WORDS / named)
    if kept == 1.0:
        return kept
    complete = np.clip((_fit(request, listed) - _INCOMPLETE) / (1.0 - _INCOMPLETE), 0.0, 1.0)
    again = sum(peaks[word] > 1 for word in listed) / named
    return kept + float(complete) * again * (1.0 - kept)


def _fit(request: Request, stems: Container[str]) -> float:
    """The correlation of being one of these words with the word's largest activation."""
    parts = zip(request.texts, request.records, strict=True)
    largest = [text.largest_by_word(record.values) for text, record in parts]
    is_one = [stem(normalise(word)) in stems for text in request.texts for word in text.words]
    return correlation_score(np.concatenate(largest), np.array(is_one, dtype=float))


def _listed(request: Request) -> set[str]:
    """The stems of peak words that the explanation names; a list has those of weak records, too.

    A weak record may peak on any word. What only joins words or stands in a phrase is not named,
    unless the explanation is hardly more than peak words.
    """
    explanation, peaks = request.explanation, peak_stems(request, least=_WEAK)
    spoken = [stem(word) for word in words_of(explanation)]
    if sum(word in peaks for word in spoken) > len(spoken) / 2:
        return peaks.keys() & set(spoken)
    terms = parse(explanation).terms_with("target", "example")
    quoted = words_in([term for term in terms if len(term.words) == 1])
    return peaks.keys() & {stem(word) for word in (*content_words(explanation), *quoted)}


def _reason(match: float, context: Contrast, breadth: Contrast, listed: Collection[str]) -> str:
    """What was found, in sentences."""
    parts = []
    if context.texts:
        parts.append(
            f"the explanation is expected to fire at {context.elsewhere:.0%} strength on "
            f"{_names(context)} in other contexts, at {match:.0%} where the neuron fires"
        )
    else:
        parts.append("no text of the background holds a peak word in another place")
    if breadth.elsewhere >= 0.05:
        parts.append(
            f"it is expected to fire at {breadth.elsewhere:.0%} strength on {_names(breadth)}, "
            "which it names and which fire in no record"
        )
    if listed:
        parts.append(f"it names {len(listed)} words on which the records peak, one by one")
    return "; ".join(parts)


def _names(contrast: Contrast) -> str:
    return ", ".join(repr(token) for token in list(dict.fromkeys(contrast.tokens))[:_SHOWN])


def _evidence(*contrasts: Contrast) -> tuple[ContrastText, ...]:
    """The contrast texts that took most off, strongest first."""
    found = [
        ContrastText(background().texts[text], token, float(predicted), float(weight))
        for c in contrasts
        for text, token, predicted, weight in zip(
            c.texts, c.tokens, c.predicted, c.weights, strict=True
        )
        if predicted * weight > 0
    ]
    return tuple(sorted(found, key=lambda text: -text.predicted * text.weight)[:_SHOWN])
