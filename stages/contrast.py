"""Background texts that speak against an explanation: it would fire there, the neuron does not.

Texts that fire strongly, all that a labelling site sends, show neither that a word fires only in
some contexts nor that a word which the explanation names does not fire at all. Two kinds of
background text show it:

context : a peak word stands in a context unlike those in which the neuron fires.
breadth : a word stands there that the explanation names and that fires in none of the records,
    though it is common enough that it should have been a peak by now.

Neither is known for sure, so each text has a weight: how sure it is that the neuron stays silent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pipeline.records import Request
from pipeline.simulation import MAX_STRENGTH, FloatArray
from pipeline.text import IntArray
from stages.background import background
from stages.cheap import CheapPrediction, CheapPredictor
from stages.embedding import Float32Array
from stages.explanation import words_in
from stages.lexical import Explanation, parse
from stages.peaks import peaks_of
from stages.vocabulary import normalise, stem, word_lists
from stages.words import Words

_REACHES = (1, 2, 4)  # words on either side that count as the context
_NEIGHBOURS = 3  # contexts that a context is compared with
_OWN_PEAKS = 6  # of a word, from which its contexts are compared with them alone
_CONTEXT_TEXTS = 24
_CONTEXTS_JUDGED = 12
_BREADTH_TEXTS = 12
_PEAK_WORDS = 4
_NAMED_WORDS = 12
_SILENT = 0.2  # share of the largest activation up to which a word does not fire

Place = tuple[int, int]
"""A text of the background and a word's position in it."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """Background texts of one kind, and what the explanation would do there.

    Attributes
    ----------
    texts : index of each in the background corpus.
    tokens : the word for whose sake each was chosen.
    predicted : shape (n_texts,), strength at that word, 0-10.
    strengths : shape (n_words,) each, strength of every word.
    weights : shape (n_texts,), 0-1.
    """

    texts: tuple[int, ...]
    tokens: tuple[str, ...]
    predicted: FloatArray
    strengths: tuple[FloatArray, ...]
    weights: FloatArray

    @property
    def elsewhere(self) -> float:
        """Mean strength at the chosen words, 0-1, by weight where there is any."""
        if not self.texts:
            return 0.0
        weights = self.weights if self.weights.any() else None
        return float(np.average(self.predicted, weights=weights)) / MAX_STRENGTH


_NONE = Contrast((), (), np.zeros(0), (), np.zeros(0))


@dataclass(frozen=True, slots=True)
class Contrasts:
    """The texts of both kinds.

    Attributes
    ----------
    dependence : 0-1, how much more alike the peaks' contexts are than by chance.
    """

    context: Contrast
    breadth: Contrast
    dependence: float


@dataclass(frozen=True, slots=True)
class Places:
    """Where in the background to look, which a request says before anything is judged.

    Attributes
    ----------
    context, breadth : of each kind. named : the named words, with their background counts.
    peaks : (record, word) of each strong record's peak.
    """

    context: Sequence[Place]
    breadth: Sequence[Place]
    named: Mapping[str, int]
    peaks: Sequence[tuple[int, int]]

    @property
    def texts(self) -> list[tuple[str, ...]]:
        """The words of each text."""
        return _texts([*self.context, *self.breadth])


@lru_cache(maxsize=64)
def places_of(request: Request) -> Places:
    """Look peak words and named words up in the background."""
    peaks = peaks_of(request)
    words = Counter(normalise(request.texts[record].words[word]) for record, word in peaks)
    index = background().index
    own = {same for text in request.texts for same in index.get(text.words, ())}
    context = _shared_out(words.most_common(_PEAK_WORDS), _CONTEXT_TEXTS, own)
    if len(peaks) < 2:
        context = []
    taken = {text for text, _ in context}
    parsed = parse(request.explanation)
    named = _named_but_silent(parsed, request) if peaks and not parsed.complement else {}
    found = _shared_out(list(named.items())[:_NAMED_WORDS], _BREADTH_TEXTS, own)
    breadth = [place for place in found if place[0] not in taken]
    return Places(context, breadth, named, peaks)


def embed_all(
    requests: Sequence[Request], predictor: CheapPredictor, *, contrasts: bool = True
) -> None:
    """Embed what scoring the requests will ask for, in as few forward passes as it takes.

    Parameters
    ----------
    contrasts : whether contrasts will be looked for, too.
    """
    places = [places_of(request) for request in requests] if contrasts else []
    predictor.observer.embed(requests, [words for found in places for words in found.texts])


def find_contrasts(prediction: CheapPrediction, predictor: CheapPredictor) -> Contrasts:
    """Look peak words and named words up in the background and judge them there."""
    seen = prediction.seen
    looked_up = places_of(seen.request)
    peak_at = np.array([seen.words.starts[record] + word for record, word in looked_up.peaks])
    context, above = looked_up.context, np.zeros(0)
    if context:
        others = predictor.observer.words_elsewhere(_texts(context))
        above = _unlike(others, _places_in(others, context), seen.words, peak_at)
    dependence = _dependence(above)
    # Judging takes most of the time, and the contexts least like the peaks' say most.
    judged = _largest(
        above * dependence, [normalise(background().words[text][word]) for text, word in context]
    )
    above, cut = above[judged], len(judged)
    places = [*(context[i] for i in judged), *looked_up.breadth]
    if not places:
        return Contrasts(_NONE, _NONE, 0.0)
    words, by_word = predictor.predict_elsewhere(seen, _texts(places))
    at = _places_in(words, places)
    tokens, strengths = [words.written[i] for i in at], words.split(by_word)

    def contrast(part: slice, weights: FloatArray) -> Contrast:
        texts = tuple(text for text, _ in places[part])
        chosen = tuple(strengths[part])
        return Contrast(texts, tuple(tokens[part]), by_word[at[part]], chosen, weights)

    peak_words = [normalise(seen.words.written[i]) for i in peak_at]
    surprise = _surprise(tokens[cut:], by_word[at[cut:]], looked_up.named, peak_words)
    return Contrasts(
        contrast(slice(cut), above * dependence), contrast(slice(cut, None), surprise), dependence
    )


def _texts(places: Sequence[Place]) -> list[tuple[str, ...]]:
    """The words of each place's text."""
    corpus = background()
    return [corpus.words[text] for text, _ in places]


def _places_in(words: Words, places: Sequence[Place]) -> IntArray:
    """Which of the texts' words the places are."""
    return words.starts + np.array([position for _, position in places], dtype=np.int64)


def _named_but_silent(parsed: Explanation, request: Request) -> dict[str, int]:
    """Words that the explanation names and no record fires on, with their background counts."""
    terms = words_in(parsed.terms_with("target", "example"))
    places = background().places
    members = {w for name in parsed.head_classes for w in word_lists().get(name, ()) if w in places}
    commonest = sorted(members, key=lambda word: (-len(places[word]), word))
    named = dict.fromkeys([*terms, *parsed.head_words, *commonest])
    largest = float(request.true_values.max())
    firing = {
        stem(normalise(text.words[word]))
        for text, record in zip(request.texts, request.records, strict=True)
        for word in text.token_words[record.values > _SILENT * largest]
        if word >= 0
    }
    return {w: len(places[w]) for w in named if w in places and stem(w) not in firing}


def _surprise(
    tokens: Sequence[str],
    predicted: FloatArray,
    named: Mapping[str, int],
    peak_words: Sequence[str],
) -> FloatArray:
    """How surprising it is, 0-1, that a named word never was a peak if it fires as predicted.

    Did it fire in the background as often as is predicted, and the peak words wherever they stand,
    a peak would be this word with probability q; of n peaks none is with (1 - q)^n.
    """
    words = [normalise(token) for token in tokens]
    places, n_peaks = background().places, len(peak_words)
    usual = n_peaks + sum(len(places.get(word, ())) for word in set(peak_words))
    out = np.zeros(len(words))
    for word in set(words):
        mine = np.array([other == word for other in words])
        expected = named[word] * predicted[mine].mean() / MAX_STRENGTH
        out[mine] = 1.0 - (usual / (usual + expected)) ** n_peaks
    return out


def _shared_out(counts: Sequence[tuple[str, int]], texts: int, own: set[int]) -> list[Place]:
    """Background occurrences of some words, shared out by how common they are."""
    corpus = background()
    known = [(word, count) for word, count in counts if word in corpus.places]
    total = sum(count for _, count in known)
    chosen: dict[int, int] = {}
    for word, count in known:
        found = corpus.places[word]
        if own:
            found = [place for place in found if place[0] not in own]
        wanted = max(1, round(texts * count / total))
        step = max(1, len(found) // wanted)
        for text, position in found[::step][:wanted]:
            chosen.setdefault(text, position)
    return list(chosen.items())


def _unlike(others: Words, at: IntArray, own: Words, peak_at: IntArray) -> FloatArray:
    """The chance that a peak's context is more like the other peaks' than each other context is.

    A word's contexts are compared with those of its own peaks, where there are enough of them: what
    stands around a stray peak on another word says nothing about this one. The mean over the
    reaches, since one neuron asks for the word before its own and another for a subject.
    """
    words, peaks = (
        np.array([normalise(of.written[i]) for i in where])
        for of, where in ((others, at), (own, peak_at))
    )
    chance = np.zeros(len(at))
    for reach in _REACHES:
        elsewhere, here = others.windows(reach, at), own.windows(reach, peak_at)
        for word in set(words):
            of_word, alike = words == word, peaks == word
            if alike.sum() < _OWN_PEAKS:
                alike[:] = True
            chance[of_word] += _more_alike(here[alike], elsewhere[of_word])
    return chance / len(_REACHES)


def _more_alike(own: Float32Array, others: Float32Array) -> FloatArray:
    """The share of the own contexts that are more like the rest of them than each other one is."""
    cosines = np.concatenate([own, others]) @ own.T
    share = np.zeros(len(others))
    for here in range(len(own)):
        alike = _mean_of_nearest(np.delete(cosines, here, axis=1))
        share += alike[here] > alike[len(own) :]
    return share / len(own)


def _largest(weights: FloatArray, words: Sequence[str]) -> IntArray:
    """Which contexts to judge: where weights are the same, of each word as many."""
    ranks = [words[:at].count(word) for at, word in enumerate(words)]
    return np.sort(np.lexsort((np.array(ranks), -weights))[:_CONTEXTS_JUDGED])


def _dependence(above: FloatArray) -> float:
    """0-1: how far the mean chance is above what chance alone may make of so many contexts.

    By chance alone each is uniform on 0-1 or a mean of such, and twice the mean of n has a standard
    error of at most 1 / sqrt(3 n) around 1, but for what contexts share of the same peaks.
    """
    if not len(above):
        return 0.0
    error = (3.0 * len(above)) ** -0.5
    excess = 2.0 * float(above.mean()) - 1.0
    return float(np.clip((excess - error) / (1.0 - error), 0.0, 1.0))


def _mean_of_nearest(cosines: npt.NDArray[np.float32]) -> FloatArray:
    """The mean cosine of each row with its nearest."""
    return np.asarray(np.sort(cosines.astype(np.float64), axis=1)[:, -_NEIGHBOURS:].mean(axis=1))
