"""Sanity tests of a score: does it fall when an explanation is narrower or broader than the truth?

A made neuron fires on a few words of the recorded texts, chosen so that a given share of the texts
holds one. Its true explanation names them; the narrower one (missing labels) half of them, the
broader one (extra labels) as many words more that stand in about as many texts. A score that does
not fall for either cannot tell the true explanation from a worse one.

References
----------
Oikarinen et al. 2025, "Evaluating Neuron Explanations: A Unified Framework with Sanity Checks",
arXiv 2506.05774.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from benchmarks.dataset import load
from pipeline.records import ActivationRecord, Request
from pipeline.scoring import correlation_score
from pipeline.simulation import FloatArray
from pipeline.text import TokenizedText
from stages.vocabulary import normalise, stem, word_lists

FREQUENCIES = (0.1, 0.01, 0.001)
NEURONS = 40
_TOP = RANDOM = 20
_FALL = 0.001  # less than that is no fall

Scores = Callable[[Request], Sequence[float]]
"""One or several scores of a request."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A made neuron's records with three explanations.

    Attributes
    ----------
    words : what each explanation names: the true one's words, fewer, and more.
    top : the records that a labelling site sends. mixed : the same and random ones.
    """

    words: Mapping[str, frozenset[str]]
    top: tuple[ActivationRecord, ...]
    mixed: tuple[ActivationRecord, ...]

    def request(self, which: str, records: tuple[ActivationRecord, ...]) -> Request:
        quoted = [f"'{word}'" for word in sorted(self.words[which])]
        listed = " and ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)
        return Request(f"the word{'s' * bool(quoted[1:])} {listed}", records)


def trials(frequency: float, seed: int) -> list[Trial]:
    """Made neurons that fire in about this share of the recorded texts."""
    rng = np.random.default_rng(seed)
    return [_trial(frequency, rng) for _ in range(NEURONS)]


def falls(
    trial: Trial, scores: Scores, records: tuple[ActivationRecord, ...]
) -> npt.NDArray[np.bool_]:
    """Shape (2, n_scores): whether each score is less for the narrower and the broader one."""
    true, narrower, broader = (
        np.array(scores(trial.request(which, records))) for which in ("true", "narrower", "broader")
    )
    return np.stack([narrower, broader]) < true - _FALL


def exact_correlation(request: Request) -> float:
    """The classic score, of a simulation that makes no mistake about the named words."""
    named = frozenset(word.strip("',") for word in request.explanation.split() if "'" in word)
    return correlation_score(
        request.true_values, np.concatenate([_fires(text, named) for text in request.texts])
    )


def _trial(frequency: float, rng: np.random.Generator) -> Trial:
    texts, holding = _texts()
    wanted = max(2.0, frequency * len(texts))
    # Words of like frequency, at least two, so that half of them is a narrower explanation.
    words = [word for word, at in holding.items() if 0.1 * wanted <= len(at) <= 0.6 * wanted]
    rng.shuffle(words)
    true, rest = _fill(words, wanted, holding)
    extra, _ = _fill(rest, wanted, holding)
    firing = sorted(set().union(*(holding[word] for word in true)))
    values = {i: _values(texts[i], frozenset(true), rng) for i in firing}
    strongest = sorted(firing, key=lambda i: -values[i].max())[:_TOP]
    silent = [i for i in rng.permutation(len(texts)) if i not in values]
    chosen = [*strongest, *silent[: _TOP - len(strongest)]]
    random = rng.choice(len(texts), RANDOM, replace=False)

    def records(indices: Sequence[int]) -> tuple[ActivationRecord, ...]:
        return tuple(
            ActivationRecord(
                _tokens(texts[i]),
                values[i] if i in values else _values(texts[i], frozenset(), rng),
            )
            for i in indices
        )

    top = records(chosen)
    return Trial(
        {
            "true": frozenset(true),
            "narrower": frozenset(true[: len(true) // 2]),
            "broader": frozenset([*true, *extra]),
        },
        top,
        (*top, *records([int(i) for i in random if i not in chosen])),
    )


def _fill(
    words: Sequence[str], wanted: float, holding: Mapping[str, set[int]]
) -> tuple[list[str], list[str]]:
    """Take words until they stand in so many texts; what was taken, and what was not."""
    taken: list[str] = []
    held: set[int] = set()
    for index, word in enumerate(words):
        if len(held) >= 0.9 * wanted and len(taken) > 1:
            return taken, list(words[index:])
        taken.append(word)
        held |= holding[word]
    return taken, []


@cache
def _texts() -> tuple[list[TokenizedText], dict[str, set[int]]]:
    """The recorded texts, each once, and in which of them each word stands.

    They are none of the background, which the score itself looks into.
    """
    texts = {text.text: text for case in load() for text in case.all_records.texts}
    holding: dict[str, set[int]] = defaultdict(set)
    forms: dict[str, str] = {}
    skip = word_lists()["stop"] | word_lists()["meta"]
    for index, text in enumerate(texts.values()):
        for word in map(normalise, text.words):
            if word.isalpha() and len(word) > 1 and word not in skip:
                holding[forms.setdefault(stem(word), word)].add(index)
    return list(texts.values()), dict(holding)


def _tokens(text: TokenizedText) -> tuple[str, ...]:
    return tuple(text.text[start:end] for start, end in text.spans)


def _fires(text: TokenizedText, words: frozenset[str]) -> FloatArray:
    """1 on the last token of each of the words, in any form."""
    out, stems = np.zeros(len(text.spans)), {stem(word) for word in words}
    hits = [stem(normalise(word)) in stems for word in text.words]
    np.maximum.at(out, text.word_tokens, np.array(hits, dtype=float))
    return out


def _values(text: TokenizedText, words: frozenset[str], rng: np.random.Generator) -> FloatArray:
    """Activations that vary where the neuron fires, with a little noise elsewhere."""
    fires = _fires(text, words)
    strength = rng.uniform(0.5, 1.0, len(fires))
    return np.asarray(fires * strength + rng.exponential(0.02, len(fires)))
