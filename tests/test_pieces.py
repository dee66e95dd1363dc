from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from models import minilm
from transformers import PreTrainedTokenizerBase

from stages.pieces import _cut, padded, runs_of


def cut(*counts: int) -> list[tuple[int, int, int]]:
    """[start, stop) and pieces of each run of a text whose words have so many pieces."""
    owners = np.repeat(np.arange(len(counts)), counts)
    runs = list(_cut(7, len(counts), np.arange(len(owners)), owners))
    assert {run.text for run in runs} <= {7}
    for run in runs:
        assert set(run.owners) <= set(range(run.start, run.stop))
        assert run.owners.tolist() == owners[run.ids].tolist()
    return [(run.start, run.stop, len(run.ids)) for run in runs]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((), []),
        ((0, 0), [(0, 2, 0)]),
        ((1, 2, 3), [(0, 3, 6)]),
        ((100, 150), [(0, 2, 250)]),
        ((100, 151), [(0, 1, 100), (1, 2, 151)]),
        ((100, 100, 100, 0), [(0, 2, 200), (2, 4, 100)]),
        ((3, 600, 0, 3), [(0, 1, 3), (1, 2, 250), (2, 4, 3)]),
    ],
)
def test_a_text_is_cut_between_words_and_only_an_endless_word_loses_pieces(
    counts: tuple[int, ...], expected: list[tuple[int, int, int]]
) -> None:
    assert cut(*counts) == expected


def tokenizer() -> PreTrainedTokenizerBase:
    found: Any = minilm().model.tokenizer
    assert isinstance(found, PreTrainedTokenizerBase)
    return found


def test_runs_are_what_the_tokenizer_itself_makes_of_the_words() -> None:
    texts = [["The", "unspeakable", "fox"], [], ["ran", "\u200b", "away"]]
    runs = runs_of(texts, tokenizer())
    assert [run.text for run in runs] == [0, 2]
    ids, there = padded(runs, tokenizer())
    for row, run in enumerate(runs):
        alone = tokenizer()(texts[run.text], is_split_into_words=True)
        assert ids[row][there[row]].tolist() == alone["input_ids"]
        assert [None, *run.owners.tolist(), None] == alone.word_ids()
    assert set(ids[~there].tolist()) <= {tokenizer().pad_token_id}
