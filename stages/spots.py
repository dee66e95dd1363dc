"""The token of each word on which its strength stands.

The recorded simulations put it on the word's last token, unless the explanation names a part of the
word that is a token by itself: then on that one ("module" in "module's", the apostrophe of a
contraction).
"""

from __future__ import annotations

import numpy as np

from pipeline.text import IntArray, TokenizedText
from stages.explanation import stems_in, words_in
from stages.lexical import Explanation
from stages.vocabulary import normalise, stem

_APOSTROPHE = "'"


def spots_of(parsed: Explanation, text: TokenizedText) -> IntArray:
    """Shape (n_words,), a token of each word of the text."""
    spots, parts = text.word_tokens.copy(), _parts(parsed)
    tokens = np.flatnonzero(text.token_words >= 0)
    words = text.token_words[tokens]
    within = tokens < spots[words]
    for token, word in zip(tokens[within], words[within], strict=True):
        part = normalise(text.pieces[token].strip())
        if part in parts and not _meant(text.words[word], part, parsed):
            spots[word] = token
    return spots


def _parts(parsed: Explanation) -> set[str]:
    """What may fire inside a word."""
    named = {term.words[0] for term in parsed.terms_with("target") if len(term.words) == 1}
    return named | ({_APOSTROPHE} if "apostrophe" in parsed.head_classes else set())


def _meant(word: str, part: str, parsed: Explanation) -> bool:
    """Whether the explanation means the word as a whole: it names it, or another form of it."""
    plain = normalise(word)
    if plain in words_in(parsed.terms) and part != _APOSTROPHE:
        return True
    is_form = stem(plain) in stems_in(parsed.terms_with("target"))
    return is_form and plain.split(_APOSTROPHE)[0] != part
