"""Word pieces: texts in the runs that the encoder can take, and runs padded to batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.text import IntArray

_MOST_PIECES = 250  # of the 512 positions; beyond the 256 it was trained on, MiniLM gets worse


@dataclass(frozen=True, slots=True)
class Run:
    """Words of a text that the encoder takes at once.

    Attributes
    ----------
    text : which text. start, stop : its words [start, stop).
    ids : shape (n_pieces,), without the marks around a text.
    owners : shape (n_pieces,), the word of each piece, counted from the text's first.
    """

    text: int
    start: int
    stop: int
    ids: IntArray
    owners: IntArray


def runs_of(texts: Sequence[Sequence[str]], tokenizer: Any) -> list[Run]:
    """Each text's runs, in order; none of a text without words."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    encodings = backend.encode_batch(
        [list(words) for words in texts], is_pretokenized=True, add_special_tokens=False
    )
    return [
        run
        for text, (words, encoding) in enumerate(zip(texts, encodings, strict=True))
        for run in _cut(
            text,
            len(words),
            np.array(encoding.ids, dtype=np.int64),
            np.array(encoding.word_ids, dtype=np.int64),
        )
    ]


def _cut(text: int, n_words: int, ids: IntArray, owners: IntArray) -> Iterator[Run]:
    counts = np.bincount(owners, minlength=n_words)
    ends = np.cumsum(counts)
    start = 0
    while start < n_words:
        first = int(ends[start] - counts[start])
        stop = max(start + 1, int(np.searchsorted(ends, first + _MOST_PIECES, side="right")))
        # Only a word that is too long by itself, such as an unspaced text, loses pieces.
        pieces = slice(first, min(int(ends[stop - 1]), first + _MOST_PIECES))
        yield Run(text, start, stop, ids[pieces], owners[pieces])
        start = stop


def padded(runs: Sequence[Run], tokenizer: Any) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """The ids with the marks around each run, and which of them are no padding.

    Returns
    -------
    Two arrays of shape (n_runs, most pieces + 2).
    """
    lengths = np.array([len(run.ids) + 2 for run in runs])
    shape = len(runs), int(lengths.max())
    ids = np.full(shape, tokenizer.pad_token_id)
    ids[:, 0] = tokenizer.cls_token_id
    for row, run in enumerate(runs):
        ids[row, 1 : 1 + len(run.ids)] = run.ids
        ids[row, 1 + len(run.ids)] = tokenizer.sep_token_id
    return ids, np.arange(shape[1]) < lengths[:, None]
