"""An explanation as the cheap stage sees it: parsed, and its parts embedded in one small batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from pipeline.text import WORD, IntArray
from stages.embedding import Float32Array, normalised
from stages.encoding import EncodedText, TextEncoder
from stages.lexical import Explanation, Term, parse
from stages.roles import Role
from stages.vocabulary import normalise


@dataclass(frozen=True, slots=True)
class EncodedExplanation:
    """A parsed explanation with the vectors of its parts.

    Attributes
    ----------
    whole, head, context : shape (dim,), unit length; zeros for an empty part.
    examples, example_stems : shape (n_example_words, dim) and (n_example_words,), the words of the
        quoted examples and phrases, in their context.
    phrases : shape (n_examples, dim), each example or phrase as a whole.
    spoken : shape (n_content_words, dim), the explanation's content words, in its context.
    static : static vectors of the words in each part: head, context, and the terms by role.
    read : the explanation as a text.
    """

    parsed: Explanation
    whole: Float32Array
    head: Float32Array
    context: Float32Array
    examples: Float32Array
    example_stems: IntArray
    phrases: Float32Array
    spoken: Float32Array
    static: Mapping[str, Float32Array]
    read: EncodedText


def encode_explanation(text: str, encoder: TextEncoder) -> EncodedExplanation:
    """Parse an explanation and embed its parts."""
    parsed = parse(text)
    alone = _alone(parsed)
    *sentences, singles = encoder.encode(parts_of(text))
    means = np.stack([_mean(part.vectors.contextual) for part in sentences])
    whole, examples = sentences[0], sentences[3:]
    ends = np.cumsum([len(words) for words in alone.values()])
    content = {*alone["head"], *alone["context"], *alone["target"], *alone["example"]}
    is_content = np.array([normalise(word) in content for word in whole.written], dtype=bool)
    return EncodedExplanation(
        parsed=parsed,
        whole=means[0],
        head=means[1],
        context=means[2],
        examples=np.concatenate([means[:0], *(part.vectors.contextual for part in examples)]),
        example_stems=np.concatenate([whole.stems[:0], *(part.stems for part in examples)]),
        phrases=means[3:],
        spoken=whole.vectors.contextual[is_content].astype(np.float32),
        static=dict(zip(alone, np.split(singles.vectors.static, ends[:-1]), strict=True)),
        read=whole,
    )


def parts_of(text: str) -> list[tuple[str, ...]]:
    """The words of what is embedded of an explanation: of its sentences, then all those alone."""
    parsed = parse(text)
    phrases = [*parsed.terms_with("example"), *multiword(parsed.terms_with("target"))]
    sources = [parsed.text, parsed.head, parsed.context, *(term.text for term in phrases)]
    sentences = [tuple(WORD.findall(source)) for source in sources]
    # Of these only static vectors count, which are the same in any company.
    return [*sentences, tuple(chain.from_iterable(_alone(parsed).values()))]


def _alone(parsed: Explanation) -> dict[str, list[str]]:
    """The words whose static vectors count, by what they are for."""
    roles: tuple[Role, ...] = ("target", "before", "after", "example")
    alone: dict[str, list[str]] = {role: words_in(parsed.terms_with(role)) for role in roles}
    return alone | {"head": list(parsed.head_words), "context": list(parsed.context_words)}


def multiword(terms: Sequence[Term]) -> list[Term]:
    """The terms that are phrases."""
    return [term for term in terms if len(term.words) > 1]


def words_in(terms: Sequence[Term]) -> list[str]:
    """All words of some terms."""
    return [word for term in terms for word in term.words]


def stems_in(terms: Sequence[Term]) -> list[str]:
    """The stems of all words of some terms."""
    return [stem for term in terms for stem in term.stems]


def _mean(vectors: npt.NDArray[np.floating]) -> Float32Array:
    return normalised(vectors.sum(axis=0, dtype=np.float32))
