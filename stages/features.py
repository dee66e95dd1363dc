"""Features of every word under an explanation: what the trained head sees.

Lexical features say where the explanation's terms stand, semantic ones how like the explanation a
word and its surroundings are, relative ones how a word compares with the request's other words.
Each is worked out for all words of all texts at once; names are those in the head's file.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np
import numpy.typing as npt

from stages.background import background
from stages.embedding import Float32Array
from stages.encoding import REACHES, interned
from stages.explanation import EncodedExplanation, stems_in, words_in
from stages.lexical import Explanation
from stages.occurrences import occurrences
from stages.words import AROUND, LEFT, RIGHT, Column, Words

Features = Mapping[str, npt.NDArray[np.float32]]
Reference = tuple[Words, Mapping[str, Column]]

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
        **occurrences(explanation.parsed, words),
        **similar,
        **_relative(similar, words, usual, own),
        **_of_words(words),
        **_of_explanation(explanation.parsed, len(words)),
    }
    return {name: np.asarray(column, dtype=np.float32) for name, column in columns.items()}


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
        "static_context_near": words.near(columns["static_context"], AROUND),
        "static_context_left": words.near(columns["static_context"], LEFT),
        "static_before_1": words.shifted(before, -1),
        "static_before_left": words.near(np.maximum(columns["static_before"], 0), LEFT),
        "static_after_right": words.near(np.maximum(columns["static_after"], 0), RIGHT),
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
        "n_before": len(parsed.terms_with("before")) + len(parsed.before_classes),
        "n_after": len(parsed.terms_with("after")) + len(parsed.after_classes),
        "n_head": len(parsed.head_words),
        "n_context": len(parsed.context_words),
        "n_excluded": len(parsed.excluded_words),
        "n_head_classes": len(parsed.head_classes),
        "target_frequency": frequency,
        "n_words": parsed.length,
    }
    return {name: np.full(n_words, value) for name, value in values.items()}


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
