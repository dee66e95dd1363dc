"""Lexical features: where an explanation's terms, classes and content words stand in texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import pairwise

import numpy as np

from stages.encoding import interned
from stages.explanation import multiword, stems_in, words_in
from stages.lexical import Explanation, Term
from stages.places import in_place
from stages.roles import Role
from stages.vocabulary import classes_of, normalise, stem
from stages.words import AROUND, LEFT, RIGHT, Column, Words


def occurrences(parsed: Explanation, words: Words) -> dict[str, Column]:
    """Each lexical feature by name, of shape (n_words,)."""
    target, example = parsed.terms_with("target"), parsed.terms_with("example")
    single = [term for term in target if len(term.words) == 1]
    phrases = [*example, *target]
    is_before, is_after = (
        _among(words, stems_in(parsed.terms_with(side))) | (_classes(words, classes) > 0)
        for side, classes in _sides(parsed)
    )
    is_head = _among(words, [stem(word) for word in parsed.head_words])
    is_context = _among(words, [stem(word) for word in parsed.context_words])
    is_example = _among(words, stems_in(example))
    is_excluded = _among(
        words,
        [stem(word) for word in parsed.excluded_words] + stems_in(parsed.terms_with("excluded")),
    )
    in_example = _phrase(words, example)
    bigram = _bigram(words, parsed.terms_with("example", "target", "before", "after"))
    head_class = _classes(words, parsed.head_classes)
    context_class = _classes(words, parsed.context_classes)
    return {
        "target_word": np.isin(words.words, interned([term.words[0] for term in single])),
        "target_stem": _among(words, stems_in(single)),
        "target_first": _among(words, stems_in(single[:1])),
        "target_any_word": _among(words, [stem(word) for word in words_in(target)]),
        "target_case": np.isin(words.cases, interned([term.text for term in single])),
        "target_inside": _inside(words, [term.words[0] for term in single]),
        "target_phrase": _phrase(words, multiword(target)),
        "example_phrase": in_example,
        "example_word": is_example,
        "example_last": _among(words, [term.stems[-1] for term in phrases]),
        "example_first": _among(words, [term.stems[0] for term in phrases]),
        "example_phrase_near": words.near(in_example, range(-2, 3)),
        "bigram_here": bigram,
        "bigram_next": words.shifted(bigram, 1),
        "affix": _affix(words, parsed),
        "before_1": words.shifted(is_before, -1),
        "before_4": words.near(is_before, LEFT),
        "before_12": words.near(is_before, range(-12, 0)),
        "after_1": words.shifted(is_after, 1),
        "after_4": words.near(is_after, RIGHT),
        "is_before_term": is_before,
        "is_after_term": is_after,
        "head_word": is_head,
        "context_word": is_context,
        "context_near": words.near(is_context, AROUND),
        "context_left": words.near(is_context, LEFT),
        "head_near": words.near(is_head, AROUND),
        "context_in_text": words.text_sum(is_context),
        "head_in_text": words.text_sum(is_head),
        "excluded": is_excluded,
        "excluded_near": words.near(is_excluded, (-2, -1, 1, 2)),
        "head_class": head_class,
        "context_class": context_class,
        "in_place": in_place(words, parsed.places),
        "context_class_left": words.near(context_class, LEFT),
        "context_class_right": words.near(context_class, RIGHT),
        "example_words_near": np.sum(
            [words.shifted(is_example.astype(float), by) for by in AROUND], axis=0
        ),
    }


def _sides(parsed: Explanation) -> tuple[tuple[Role, frozenset[str]], ...]:
    return ("before", parsed.before_classes), ("after", parsed.after_classes)


def _among(words: Words, stems: Sequence[str]) -> Column:
    return np.isin(words.stems, interned(stems))


def _phrase(words: Words, terms: Sequence[Term]) -> Column:
    """1 on each word of an occurrence (by stems) of a term, 2 on its last word."""
    out = np.zeros(len(words))
    for term in terms:
        ids = interned(term.stems)
        starts = np.flatnonzero(
            reduce(np.logical_and, (words.shifted(words.stems, k) == i for k, i in enumerate(ids)))
        )
        for k in range(len(ids)):
            out[starts + k] = np.maximum(out[starts + k], 2.0 if k == len(ids) - 1 else 1.0)
    return out


def _bigram(words: Words, terms: Sequence[Term]) -> Column:
    """Whether a word and the one before it stand so in a term, by stems."""
    out = np.zeros(len(words), dtype=bool)
    previous = words.shifted(words.stems, -1)
    for term in terms:
        ids = interned(term.stems)
        for first, second in pairwise(ids):
            out |= (previous == first) & (words.stems == second)
    return out


def _inside(words: Words, parts: Sequence[str]) -> Column:
    """Whether a word holds one of the parts without being it."""
    parts = [part for part in parts if len(part) > 1]

    def holds(word: str) -> bool:
        plain = normalise(word)
        return any(part in plain and part != plain for part in parts)

    return _of_each(words, holds) if parts else np.zeros(len(words), dtype=bool)


def _affix(words: Words, parsed: Explanation) -> Column:
    prefixes = tuple(term.words[0] for term in parsed.terms_with("prefix"))
    suffixes = tuple(term.words[-1] for term in parsed.terms_with("suffix"))

    def has(word: str) -> bool:
        return normalise(word).startswith(prefixes) or normalise(word).endswith(suffixes)

    return _of_each(words, has) if prefixes + suffixes else np.zeros(len(words), dtype=bool)


def _classes(words: Words, names: frozenset[str]) -> Column:
    """How many of the named classes a word belongs to."""
    if not names:
        return np.zeros(len(words))
    return _of_each(words, lambda word: float(len(classes_of(word) & names)))


def _of_each(words: Words, told: Callable[[str], float]) -> Column:
    """What is told of each word, asked once for all its occurrences."""
    found = {word: told(word) for word in set(words.written)}
    return np.array([found[word] for word in words.written])
