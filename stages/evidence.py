"""What carried a prediction: for the strongest tokens, which evidence spoke for them.

The head is asked again with one kind of feature at a time set to what is usual in the request; what
its answer loses is what that kind carried. The reader's part is what it made of the head's answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.result import TokenEvidence
from pipeline.simulation import MAX_STRENGTH, FloatArray
from stages.cheap import CheapPrediction
from stages.encoding import TRAITS
from stages.features import Features
from stages.head import Head

SHOWN = 10

# The features of a word whatever the explanation, and of the explanation whatever the word.
OF_WORD = frozenset(
    {
        *(trait for trait in TRAITS if trait != "is_alphanumeric"),
        "position",
        "repeat_distance",
        "previous_is_punctuation",
        "next_is_punctuation",
        "text_length",
        "target_frequency",
        "n_target",
        "n_example",
        "n_before",
        "n_after",
        "n_head",
        "n_context",
        "n_excluded",
        "n_head_classes",
        "n_words",
    }
)

_MATCHES = {
    "target_word": "is named by the explanation",
    "target_stem": "is a form of a named word",
    "target_phrase": "stands in a named phrase",
    "target_inside": "holds a named word as a part",
    "affix": "has a named beginning or ending",
    "example_phrase": "stands in a quoted example",
    "example_word": "is a word of a quoted example",
    "before_1": "stands right behind what the explanation sets before it",
    "before_4": "stands a few words behind one that the explanation sets before it",
    "after_1": "stands right before what the explanation sets after it",
    "after_4": "stands a few words before one that the explanation sets after it",
    "head_class": "belongs to a word class that the explanation speaks of",
    "head_word": "is a content word of what the explanation says fires",
    "context_word": "is a content word of the context that the explanation gives",
    "context_near": "has a word of the explanation's context near it",
    "in_place": "stands in the place that the explanation asks for",
    "context_class_left": "stands behind a word of a class that the explanation's context names",
    "excluded": "is excluded by the explanation",
}
"""Lexical features in words, for whoever reads the evidence."""

LEXICAL = frozenset(
    {
        *_MATCHES,
        "target_first",
        "target_any_word",
        "target_case",
        "example_last",
        "example_first",
        "example_phrase_near",
        "bigram_here",
        "bigram_next",
        "before_12",
        "is_before_term",
        "is_after_term",
        "context_left",
        "head_near",
        "context_in_text",
        "head_in_text",
        "excluded_near",
        "context_class",
        "context_class_right",
        "example_words_near",
    }
)


def evidence_of(
    cheap: CheapPrediction, simulated: Mapping[int, FloatArray], head: Head
) -> tuple[TokenEvidence, ...]:
    """Evidence for the words predicted or simulated strongest, strongest first.

    Parameters
    ----------
    simulated : record → strengths of its tokens, 0-10, where an LLM was asked.
    """
    words, columns = cheap.seen.words, cheap.seen.columns
    final = np.concatenate(
        [
            simulated[i][spots] if i in simulated else own
            for i, (spots, own) in enumerate(
                zip(cheap.seen.spots, words.split(cheap.by_word.strengths), strict=True)
            )
        ]
    )
    chosen = [int(i) for i in np.argsort(-final, kind="stable")[:SHOWN] if final[i] > 0]
    carried = _carried(head, columns, chosen)
    return tuple(
        _evidence(cheap, at, float(final[at]), simulated, {k: v[row] for k, v in carried.items()})
        for row, at in enumerate(chosen)
    )


def _carried(head: Head, columns: Features, chosen: Sequence[int]) -> dict[str, FloatArray]:
    """How much the head's strength of the chosen words falls, 0-10, by group of features.

    A group is taken away by making it what it is in the request's usual word.
    """
    groups = {"named": LEXICAL, "meaning": columns.keys() - LEXICAL - OF_WORD, "word": OF_WORD}
    every = np.stack(list(columns.values()))
    own, usual = every[:, chosen], np.median(every, axis=1, keepdims=True)
    taken = [np.array([[name in group] for name in columns]) for group in groups.values()]
    rows = np.concatenate([own, *(np.where(away, usual, own) for away in taken)], axis=1)
    full, *without = np.split(
        np.clip(head.predict(dict(zip(columns, rows, strict=True))), 0.0, 1.0), 1 + len(groups)
    )
    return {
        name: np.asarray(MAX_STRENGTH * (full - rest))
        for name, rest in zip(groups, without, strict=True)
    }


def _evidence(
    cheap: CheapPrediction,
    at: int,
    strength: float,
    simulated: Mapping[int, FloatArray],
    carried: Mapping[str, float],
) -> TokenEvidence:
    seen = cheap.seen
    record = int(seen.words.text_of[at])
    token = int(seen.spots[record][seen.words.position[at]])
    predicted, first = (float(x[at]) for x in (cheap.by_word.strengths, cheap.by_word.first))
    return TokenEvidence(
        record=record,
        token=token,
        word=seen.words.written[at],
        strength=strength,
        true_activation=float(seen.request.records[record].values[token]),
        simulated=record in simulated,
        named=float(carried["named"]),
        meaning=float(carried["meaning"]),
        other=float(carried["word"]),
        reading=predicted - first,
        matches=tuple(text for name, text in _MATCHES.items() if seen.columns[name][at] > 0),
    )
