"""Neurons made by hand, whose explanations are true by construction.

A rule such as "'to' right after 'proud'" says of every word of any text whether it fires, so no LLM
has to be asked. Each made neuron comes with explanations of other rules on the same texts (its word
alone, its word after another word, another word): what those would score is known as well. They
teach the cheap stage forms of explanation that the recorded features hold few of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

from benchmarks.dataset import FOLDS, Case
from pipeline.records import ActivationRecord, Request
from pipeline.simulation import MAX_STRENGTH, FloatArray
from pipeline.text import WORD
from stages.background import background
from stages.vocabulary import classes_of, normalise, stem

Rule = Callable[[Sequence[str]], list[bool]]
"""Which of a text's words fire."""

_TOP, _FURTHER = 12, 6
_FEWEST = 6  # texts in which a made neuron must fire

_WORD = (
    "the word '{w}'",
    "'{w}'",
    "any mention of '{w}'",
    "the token '{w}' anywhere",
    "occurrences of the word '{w}'",
)
_AFTER = (
    "'{w}' right after '{v}'",
    "the word '{w}' following '{v}', as in '{v} {w}'",
    "'{w}' preceded by '{v}'",
    "'{w}' after '{v}'",
    "'{w}' in the phrase '{v} {w}'",
)
_BEFORE = (
    "'{v}' before '{w}'",
    "the word '{v}' when followed by '{w}'",
    "'{v}' directly before '{w}', as in '{v} {w}'",
    "'{v}' in '{v} {w}'",
)
_NEXT = (
    "words right after '{v}'",
    "the word that follows '{v}'",
    "whatever word comes directly after '{v}'",
    "any word immediately following '{v}'",
)
_PREVIOUS = (
    "words right before '{v}'",
    "the word that precedes '{v}'",
    "any word immediately before '{v}'",
)
_SUFFIX = ("words ending in '{a}'", "words that end with '-{a}'", "the suffix '{a}'")
_PREFIX = ("words beginning with '{a}'", "words that start with '{a}-'", "the prefix '{a}'")
_LIST = ("the words '{a}', '{b}' and '{c}'", "'{a}', '{b}' or '{c}'", "mentions of {a}, {b} or {c}")
_CLASSES = {
    "number": ("numbers written in digits", "digits"),
    "number_word": ("numbers spelled out as words",),
    "capitalised": ("capitalised words", "words that begin with a capital letter"),
    "upper": ("words in all caps", "acronyms in capital letters"),
    "pronoun": ("pronouns", "personal pronouns of any kind"),
    "preposition": ("prepositions",),
    "modal": ("modal verbs",),
    "negation": ("negations", "words of negation"),
    "comma": ("commas", "the comma"),
    "period": ("full stops", "the period at the end of a sentence"),
    "punctuation": ("punctuation marks",),
    "bracket": ("brackets and parentheses", "parentheses"),
    "month": ("names of months",),
    "time_unit": ("units of time",),
    "country": ("names of countries and nationalities",),
    "kinship": ("family members",),
    "colour": ("colours", "names of colors"),
    "year": ("years", "four-digit years"),
    "ing": ("words ending in -ing", "gerunds and present participles"),
    "adverb": ("adverbs in -ly",),
    "question": ("question words",),
    "comparative": ("comparatives",),
}


@dataclass(frozen=True, slots=True)
class _Made:
    """An explanation with the rule that it states."""

    explanation: str
    rule: Rule


def made_cases(neurons: int, seed: int) -> list[Case]:
    """Cases of so many made neurons, each with its own explanation and others on its texts."""
    rng = np.random.default_rng(seed)
    kinds = (_pair, _pair, _word, _neighbour, _affix, _class, _list)
    out: list[Case] = []
    made = 0
    while made < neurons:
        statements = kinds[made % len(kinds)](rng)
        cases = _cases(f"made/{made}", made % FOLDS, statements, rng)
        out += cases
        made += bool(cases)
    return out


def _cases(
    feature: str, fold: int, statements: Sequence[_Made], rng: np.random.Generator
) -> list[Case]:
    """Cases on texts where the first statement's rule fires, and further ones where it need not."""
    corpus = background()
    own = statements[0].rule
    order = rng.permutation(len(corpus.texts))
    firing = [i for i in order if any(own(corpus.words[i]))][:_TOP]
    if len(firing) < _FEWEST:
        return []
    others = [s.rule for s in statements[1:]] or [own]
    hard = [i for i in order if i not in firing and any(rule(corpus.words[i]) for rule in others)]
    texts = [*firing, *hard[:_FURTHER]]
    records = tuple(_record(corpus.texts[i], own, rng) for i in texts)
    return [
        Case(
            feature,
            fold,
            context_matters=True,
            kind="made",
            top=Request(statement.explanation, records[: len(firing)]),
            all_records=Request(statement.explanation, records),
            simulated=tuple(
                MAX_STRENGTH * np.array(statement.rule(corpus.words[i]), dtype=float) for i in texts
            ),
            recorded=False,
        )
        for statement in statements
    ]


def _record(text: str, rule: Rule, rng: np.random.Generator) -> ActivationRecord:
    """A record of one token a word, with activations that vary as a neuron's do."""
    ends = [match.end() for match in WORD.finditer(text)]
    tokens = tuple(text[start:end] for start, end in pairwise([0, *ends]))
    fires = np.array(rule(WORD.findall(text)), dtype=float)
    noise = rng.uniform(0.5, 1.0, len(fires)), rng.exponential(0.02, len(fires))
    values: FloatArray = 5.0 * (fires * noise[0] + noise[1])
    return ActivationRecord(tokens, values)


def _pair(rng: np.random.Generator) -> list[_Made]:
    """A word in one context of those it has."""
    bigrams = _bigrams()
    v, w = bigrams[rng.integers(len(bigrams))]
    if rng.random() < 0.6:
        others = [a for a, b in bigrams if b == w and a != v] or [bigrams[0][0]]
        other = others[rng.integers(len(others))]
        return [
            _Made(_say(_AFTER, rng, v=v, w=w), _bigram(v, w, 1)),
            _Made(_say(_WORD, rng, w=w), _is(w)),
            _Made(_say(_AFTER, rng, v=other, w=w), _bigram(other, w, 1)),
        ]
    others = [b for a, b in bigrams if a == v and b != w] or [bigrams[0][1]]
    other = others[rng.integers(len(others))]
    return [
        _Made(_say(_BEFORE, rng, v=v, w=w), _bigram(v, w, 0)),
        _Made(_say(_WORD, rng, w=v), _is(v)),
        _Made(_say(_BEFORE, rng, v=v, w=other), _bigram(v, other, 0)),
    ]


def _word(rng: np.random.Generator) -> list[_Made]:
    word, other = _common(rng), _common(rng)
    return [
        _Made(_say(_WORD, rng, w=word), _is(word)),
        _Made(_say(_AFTER, rng, v=other, w=word), _bigram(other, word, 1)),
        _Made(_say(_WORD, rng, w=other), _is(other)),
    ]


def _neighbour(rng: np.random.Generator) -> list[_Made]:
    word = _common(rng)
    after = _Made(_say(_NEXT, rng, v=word), lambda ws: _shift(_is(word)(ws), 1))
    before = _Made(_say(_PREVIOUS, rng, v=word), lambda ws: _shift(_is(word)(ws), -1))
    itself = _Made(_say(_WORD, rng, w=word), _is(word))
    return [after, before, itself] if rng.random() < 0.6 else [before, after, itself]


def _affix(rng: np.random.Generator) -> list[_Made]:
    size = int(rng.integers(2, 5))
    out = []
    is_suffix = rng.random() < 0.6
    for _ in range(2):
        word = _common(rng, longer_than=size + 2)
        part = word[-size:] if is_suffix else word[:size]
        out.append(
            _Made(_say(_SUFFIX if is_suffix else _PREFIX, rng, a=part), _affixed(part, is_suffix))
        )
    return out


def _class(rng: np.random.Generator) -> list[_Made]:
    names = rng.permutation(list(_CLASSES)).tolist()[:2]
    return [_Made(_say(_CLASSES[name], rng), _classed(name)) for name in names]


def _list(rng: np.random.Generator) -> list[_Made]:
    words = [_common(rng) for _ in range(3)]
    stems = {stem(word) for word in words}
    a, b, c = words
    return [
        _Made(
            _say(_LIST, rng, a=a, b=b, c=c),
            lambda ws: [stem(normalise(word)) in stems for word in ws],
        ),
        _Made(_say(_WORD, rng, w=a), _is(a)),
    ]


def _say(forms: Sequence[str], rng: np.random.Generator, **parts: str) -> str:
    return forms[int(rng.integers(len(forms)))].format(**parts)


def _is(word: str) -> Rule:
    wanted = stem(word)
    return lambda words: [stem(normalise(found)) == wanted for found in words]


def _bigram(first: str, second: str, fires: int) -> Rule:
    """Fires on the first (0) or the second (1) word where the two stand together."""

    def rule(words: Sequence[str]) -> list[bool]:
        both = list(pairwise([normalise(word) for word in words]))
        here = [pair == (first, second) for pair in both]
        return [False, *here] if fires else [*here, False]

    return rule


def _affixed(part: str, is_suffix: bool) -> Rule:
    def test(word: str) -> bool:
        return word.endswith(part) if is_suffix else word.startswith(part)

    return lambda words: [test(normalise(word)) for word in words]


def _classed(name: str) -> Rule:
    return lambda words: [name in classes_of(word) for word in words]


def _shift(fires: list[bool], by: int) -> list[bool]:
    return [False, *fires[:-1]] if by > 0 else [*fires[1:], False]


def _common(rng: np.random.Generator, longer_than: int = 1) -> str:
    """A word that stands often enough in the background, rare ones as likely as frequent ones."""
    words = [word for word in _common_words() if len(word) > longer_than]
    return words[int(rng.integers(len(words)))]


@cache
def _common_words() -> list[str]:
    return [w for w, at in background().places.items() if len(at) >= 2 * _FEWEST and w.isalpha()]


@cache
def _bigrams() -> list[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for words in background().words:
        # Each once a text, in an order that does not hang on how Python hashes strings.
        counts.update(dict.fromkeys(pairwise([normalise(word) for word in words]), 1))
    return [b for b, n in counts.items() if n >= _FEWEST and all(w.isalpha() for w in b)]
