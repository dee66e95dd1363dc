"""Features of every word under an explanation: what the trained head sees.

Lexical features say where the explanation's terms stand, semantic ones how like the explanation a
word and its surroundings are, relative ones how a word compares with the request's other words.
Each is worked out for all words of all texts at once; names are those in the head's file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from stages.background import background
from stages.embedding import Float32Array
from stages.encoding import REACHES, interned
from stages.explanation import EncodedExplanation, multiword, stems_in, words_in
from stages.lexical import Explanation, Term, classes_of, normalise, stem
from stages.words import Column, Words

Features = Mapping[str, npt.NDArray[np.float32]]
Reference = tuple[Words, Mapping[str, Column]]

_AROUND = (-5, -4, -3, -2, -1, 1, 2, 3, 4, 5)
_LEFT = (-4, -3, -2, -1)
_RIGHT = (1, 2, 3, 4)

_COMPARED = (
    "whole",
    "head",
    "context",
    "late_max",
    "wide_whole",
    "wide_context",
    "example_target",
    "static_all",
)


def features(
    explanation: EncodedExplanation, words: Words, reference: Reference | None = None
) -> Features:
    """Every feature by name, each of shape (n_words,).

    Parameters
    ----------
    words : of the texts to judge.
    reference : the request's own words and their features, with which relative features compare;
        needed where `words` are others, such as those of background texts.
    """
    similar = semantic(explanation, words)
    own, usual = reference or (words, similar)
    columns = {
        **lexical(explanation.parsed, words),
        **similar,
        **_relative(similar, words, usual, own),
        **_of_words(words),
        **_of_explanation(explanation.parsed, len(words)),
    }
    return {name: np.asarray(column, dtype=np.float32) for name, column in columns.items()}


def lexical(parsed: Explanation, words: Words) -> dict[str, Column]:
    """Where the explanation's terms, classes and content words stand."""
    target, example = parsed.terms_with("target"), parsed.terms_with("example")
    single = [term for term in target if len(term.words) == 1]
    phrases = [*example, *target]
    is_before = _among(words, stems_in(parsed.terms_with("before")))
    is_after = _among(words, stems_in(parsed.terms_with("after")))
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
        "before_4": words.near(is_before, _LEFT),
        "before_12": words.near(is_before, range(-12, 0)),
        "after_1": words.shifted(is_after, 1),
        "after_4": words.near(is_after, _RIGHT),
        "is_before_term": is_before,
        "is_after_term": is_after,
        "head_word": is_head,
        "context_word": is_context,
        "context_near": words.near(is_context, _AROUND),
        "context_left": words.near(is_context, _LEFT),
        "head_near": words.near(is_head, _AROUND),
        "context_in_text": words.text_sum(is_context),
        "head_in_text": words.text_sum(is_head),
        "excluded": is_excluded,
        "excluded_near": words.near(is_excluded, (-2, -1, 1, 2)),
        "head_class": head_class,
        "context_class": context_class,
        "context_class_left": words.near(context_class, _LEFT),
        "context_class_right": words.near(context_class, _RIGHT),
        "example_words_near": np.sum(
            [words.shifted(is_example.astype(float), by) for by in _AROUND], axis=0
        ),
    }


def semantic(explanation: EncodedExplanation, words: Words) -> dict[str, Column]:
    """Cosines of words and their surroundings with the explanation's parts."""
    parts = {
        "whole": explanation.whole[None],
        "head": explanation.head[None],
        "context": explanation.context[None],
        "phrases": explanation.phrases,
        "examples": explanation.examples,
        "spoken": explanation.spoken,
    }
    here = _cosines(parts, words.contextual)
    static = _cosines(explanation.static, words.static)
    surroundings = np.concatenate([here[name] for name in ("whole", "head", "context", "phrases")])
    near, wide = (words.window_cosines(reach, surroundings) for reach in REACHES)
    targets = stems_in(explanation.parsed.terms_with("target"))
    is_target = np.isin(explanation.example_stems, interned(targets))
    example_targets = here["examples"][is_target] if is_target.any() else here["examples"]
    late = here["spoken"]
    columns = {
        **{f"static_{name}": _best(cosines) for name, cosines in static.items()},
        **{name: here[name][0] for name in ("whole", "head", "context")},
        "example": _best(here["examples"]),
        "example_target": _best(example_targets),
        "example_window": _best(near[3:]),
        "example_wide": _best(wide[3:]),
        "late_max": _best(late),
        "late_mean": late.mean(axis=0) if len(late) else np.zeros(len(words)),
        "near_whole": near[0],
        "near_context": near[2],
        "wide_whole": wide[0],
        "wide_context": wide[2],
        "wide_head": wide[1],
    }
    named = ("static_target", "static_head", "static_example")
    before = np.maximum(columns["static_before"], columns["static_example"])
    return columns | {
        "text_whole": words.text_mean(columns["whole"]),
        "text_context": words.text_mean(columns["context"]),
        "text_head": words.text_mean(columns["head"]),
        "static_all": reduce(np.maximum, [columns[name] for name in named]),
        "static_context_near": words.near(columns["static_context"], _AROUND),
        "static_context_left": words.near(columns["static_context"], _LEFT),
        "static_before_1": words.shifted(before, -1),
        "static_before_left": words.near(np.maximum(columns["static_before"], 0), _LEFT),
        "static_after_right": words.near(np.maximum(columns["static_after"], 0), _RIGHT),
        "static_example_left": words.near(columns["static_example"], (-3, -2, -1)),
        "static_example_right": words.near(columns["static_example"], (1, 2, 3)),
    }


def _relative(
    columns: Mapping[str, Column], words: Words, usual: Mapping[str, Column], reference: Words
) -> dict[str, Column]:
    """A word against the request's words, its text's, and the same word's other occurrences."""
    stems, kind, counts = np.unique(reference.stems, return_inverse=True, return_counts=True)
    at = np.searchsorted(stems, words.stems).clip(max=len(stems) - 1)
    known = stems[at] == words.stems
    out: dict[str, Column] = {
        "same_words": np.where(known, counts[at], 0) / max(len(reference.sizes), 1)
    }
    for name in _COMPARED:
        column, base = columns[name], usual[name]
        centre, spread = (base.mean(), base.std()) if len(base) else (0.0, 0.0)
        out[f"{name}_z"] = (column - centre) / (spread + 1e-3)
        out[f"{name}_text_gap"] = column - words.text_max(column)
        same_word = np.bincount(kind, base) / counts
        out[f"{name}_same_gap"] = np.where(known, column - same_word[at], 0.0)
    return out


def _of_words(words: Words) -> dict[str, Column]:
    """What a word is, whatever the explanation."""
    traits = dict(words.traits)
    is_word = traits.pop("is_alphanumeric") > 0
    return {
        **traits,
        "position": words.position / 64.0,
        "repeat_distance": _repeats(words),
        "previous_is_punctuation": ~words.shifted(is_word, -1),
        "next_is_punctuation": ~words.shifted(is_word, 1),
        "text_length": words.sizes[words.text_of],
    }


def _of_explanation(parsed: Explanation, n_words: int) -> dict[str, Column]:
    """What the explanation is, whatever the word."""
    targets = words_in(parsed.terms_with("target"))
    frequency = background().log_frequency(targets).max() if targets else 0.0
    values = {
        "n_target": len(parsed.terms_with("target")),
        "n_example": len(parsed.terms_with("example")),
        "n_before": len(parsed.terms_with("before")),
        "n_after": len(parsed.terms_with("after")),
        "n_head": len(parsed.head_words),
        "n_context": len(parsed.context_words),
        "n_excluded": len(parsed.excluded_words),
        "n_head_classes": len(parsed.head_classes),
        "target_frequency": frequency,
        "n_words": parsed.length,
    }
    return {name: np.full(n_words, value) for name, value in values.items()}


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


def _cosines(parts: Mapping[str, Float32Array], vectors: Float32Array) -> dict[str, Float32Array]:
    """Shape (len(part), n_words) each, from one product of matrices."""
    cosines = np.concatenate(list(parts.values()), dtype=np.float32) @ vectors.T
    ends = np.cumsum([len(part) for part in parts.values()])
    return dict(zip(parts, np.split(cosines, ends[:-1]), strict=True))


def _best(cosines: Float32Array) -> Column:
    """The largest cosine with any vector; 0 where there are none."""
    return cosines.max(axis=0) if len(cosines) else np.zeros(cosines.shape[1])


def _repeats(words: Words) -> Column:
    """1 / distance to the same word's last occurrence in the text; 0 for its first."""
    order = np.lexsort((words.position, words.words, words.text_of))
    kind, text, position = words.words[order], words.text_of[order], words.position[order]
    again = np.flatnonzero((kind[1:] == kind[:-1]) & (text[1:] == text[:-1])) + 1
    out = np.zeros(len(words))
    out[order[again]] = 1.0 / (position[again] - position[again - 1])
    return out
