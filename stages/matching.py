"""Finds for each token of a text what a model said of it, in an answer that repeats the tokens.

Models drop tokens, repeat them, join and split them. An answer with as many items as there are
tokens may therefore still be one place off, so items are matched by what they say, never counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
from rapidfuzz.distance import Indel

from pipeline.text import IntArray
from stages.alignment import BLANK, TYPOGRAPHY
from stages.prompts import shown


class Mismatch(Exception):
    """An answer that cannot be used; the message goes back to the model."""


def match(
    wanted: Sequence[str], given: Sequence[str], strengths: Sequence[float], words: IntArray
) -> list[int]:
    """Which item of an answer speaks of each token.

    Blanks, capitals and typographic variants make no difference. Where the items are the same
    text in other pieces, a joined item speaks of all its tokens, which must be of one word, and of
    split ones the strongest counts. Otherwise there may be more items than tokens, if the surplus
    ones leave no doubt.

    Parameters
    ----------
    wanted : the tokens, none of them empty.
    given : the text of each item of the answer.
    strengths : of each item.
    words : shape (len(wanted),), the word that each token belongs to, or -1.

    Returns
    -------
    Index of an item for each token.

    Raises
    ------
    Mismatch : naming the first token that is missing, or of which more than one thing is said.
    """
    keys, said = [_key(token) for token in wanted], [_key(item) for item in given]
    if keys == said:
        return list(range(len(keys)))
    if "".join(keys) == "".join(said):
        return _match_pieces(wanted, keys, said, strengths, words)
    return _match_among_more(wanted, keys, said, strengths)


def _match_pieces(
    wanted: Sequence[str],
    keys: Sequence[str],
    said: Sequence[str],
    strengths: Sequence[float],
    words: IntArray,
) -> list[int]:
    token_of, item_of = _owners(keys), _owners(said)
    for item in np.unique(item_of):
        tokens = np.unique(token_of[item_of == item])
        of_one_word = words[tokens[0]] >= 0 and (words[tokens] == words[tokens[0]]).all()
        if len(tokens) > 1 and not of_one_word:
            raise Mismatch(f"{_named(wanted, tokens[1])} is joined to the token before it")
    found = (np.unique(item_of[token_of == token]) for token in range(len(keys)))
    return [max(map(int, items), key=lambda item: strengths[item]) for items in found]


def _match_among_more(
    wanted: Sequence[str], keys: Sequence[str], said: Sequence[str], strengths: Sequence[float]
) -> list[int]:
    """Each token keeps its place in the order, at the earliest and at the latest item possible."""
    first = _embed(keys, said)
    last = _embed(keys[::-1], said[::-1])
    if first is None or last is None:
        raise Mismatch(_why_missing(wanted, keys, said))
    for token, (early, back) in enumerate(zip(first, last[::-1], strict=True)):
        late = len(said) - 1 - back
        heard = {strengths[i] for i in range(early, late + 1) if said[i] == keys[token]}
        if len(heard) > 1:
            raise Mismatch(f"{_named(wanted, token)} is given more than one activation")
    return first


def _embed(keys: Sequence[str], said: Sequence[str]) -> list[int] | None:
    """The earliest items that are the tokens in their order."""
    found: list[int] = []
    items = iter(enumerate(said))
    for key in keys:
        at = next((index for index, item in items if item == key), None)
        if at is None:
            return None
        found.append(at)
    return found


def _why_missing(wanted: Sequence[str], keys: Sequence[str], said: Sequence[str]) -> str:
    missing = next(op.src_start for op in Indel.opcodes(keys, said) if op.tag == "delete")
    if len(said) < len(keys) and list(said) == list(keys[: len(said)]):
        return f"the answer ends before {_named(wanted, missing)}"
    return f"{_named(wanted, missing)} is missing"


def _key(token: str) -> str:
    seen = shown(token)
    return BLANK.sub("", seen).casefold().translate(TYPOGRAPHY) or seen.strip(" ") or seen


def _owners(keys: Iterable[str]) -> IntArray:
    """Shape (n_characters,): whose each character is."""
    owners = chain.from_iterable([index] * len(key) for index, key in enumerate(keys))
    return np.fromiter(owners, dtype=np.int64)


def _named(wanted: Sequence[str], token: int) -> str:
    return f"number {token} ({shown(wanted[token][:40])!r})"
