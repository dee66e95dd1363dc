"""The reader: the encoder's last layers, run over an explanation and a text together.

Features compare an explanation with a text from outside; here each word of the text attends to the
explanation itself, so that a demanded context can be looked for. The layers below never see both
at once: what they make of a text is kept with it (`WordVectors.pieces`), and only the last layers
run anew for another explanation. What they were taught (`make train`) is a low-rank difference to
the encoder's own weights, merged at load.

References
----------
MacAvaney et al. 2020, "Efficient Document Re-Ranking for Transformers by Precomputing Term
Representations" (layers that join late); Hu et al. 2021, "LoRA" (low-rank differences).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.errors import ConfigurationError
from pipeline.simulation import FloatArray
from stages.embedding import READ_FROM, MiniLM
from stages.encoding import EncodedText
from stages.words import Words

READER_PATH = Path(__file__).parent / "data" / "reader.safetensors"

HINTS = (
    "target_word",
    "target_stem",
    "target_first",
    "target_any_word",
    "target_inside",
    "target_phrase",
    "example_phrase",
    "example_word",
    "example_last",
    "example_phrase_near",
    "bigram_here",
    "affix",
    "before_1",
    "before_4",
    "after_1",
    "after_4",
    "head_word",
    "context_word",
    "context_near",
    "excluded",
    "head_class",
    "context_class",
    "context_class_left",
    "is_before_term",
    "is_after_term",
)
"""Lexical features that the reader is told, since word pieces make exact matches hard to see."""

LINEARS = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
_NORMS = ("attention.output.LayerNorm", "output.LayerNorm")
_MOST_CELLS = 2_000_000  # of a batch's attention matrices, for each of the heads
_MOST_TEXTS = 64
_MOST_EXPLAINED = 256  # pieces of an explanation that are read; honest ones have some 30
_CERTAIN = 0.002  # how far a strength is kept from 0 and 1

Linear = Callable[[str, Tensor], Tensor]
"""Applies the linear map of that name."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One run of a text to be read, its words' hints, and the explanation.

    Attributes
    ----------
    explanation, pieces : shape (n_pieces, dim), as in `WordVectors`.
    owners : shape (n_pieces,), word of each of the run's pieces; -1 for the marks around it.
    hints : shape (n_words, len(HINTS) + 1), the last one a third of the head's answer as a logit.
    """

    explanation: npt.NDArray[np.float16]
    pieces: npt.NDArray[np.float16]
    owners: npt.NDArray[np.int64]
    hints: Tensor

    def __len__(self) -> int:
        return len(self.explanation) + len(self.pieces)


@dataclass(frozen=True, slots=True)
class Batch:
    """Readings, padded to one length.

    Attributes
    ----------
    states : shape (n_texts, length, dim). of_text : shape (n_texts, length), 1 for the text's
        pieces, 0 for the explanation's and the padding.
    padding : shape (n_texts, length), whether a place is empty.
    hints : shape (n_texts, length, n_hints).
    row, place : shape (n_words,), where the last piece of each word stands.
    """

    states: Tensor
    of_text: Tensor
    padding: Tensor
    hints: Tensor
    row: Tensor
    place: Tensor

    @classmethod
    def of(cls, readings: Sequence[Reading]) -> Batch:
        length = max(map(len, readings))
        dim, n_hints = readings[0].pieces.shape[1], readings[0].hints.shape[1]
        states = torch.zeros(len(readings), length, dim)
        of_text = torch.zeros(len(readings), length, dtype=torch.int64)
        padding = torch.ones(len(readings), length, dtype=torch.bool)
        hints = torch.zeros(len(readings), length, n_hints)
        rows, places = [], []
        for row, reading in enumerate(readings):
            start, end = len(reading.explanation), len(reading)
            states[row, :start] = torch.from_numpy(reading.explanation)
            states[row, start:end] = torch.from_numpy(reading.pieces)
            of_text[row, start:end] = 1
            padding[row, :end] = False
            (inside,) = np.nonzero(reading.owners >= 0)
            owners = reading.owners[inside]
            hints[row, start + inside] = reading.hints[owners]
            # A word without a piece, beyond what the encoder takes, is read at the text's mark.
            last = np.zeros(len(reading.hints), dtype=np.int64)
            last[owners] = inside
            rows.append(np.full(len(last), row))
            places.append(start + last)
        row_of, place_of = (torch.from_numpy(np.concatenate(x)) for x in (rows, places))
        return cls(states, of_text, padding, hints, row_of, place_of)


def readings_of(explanation: EncodedText, text: EncodedText, hints: Tensor) -> list[Reading]:
    """A text in the runs in which it was encoded: attention over a whole long one would take
    memory by the square of its length."""
    told = explanation.vectors.pieces[:_MOST_EXPLAINED]
    pieces, owners = text.vectors.pieces, text.vectors.owners
    # Two marks side by side, then a word: one run ends and the next begins.
    marks = owners < 0
    cuts = (np.flatnonzero(marks[:-2] & marks[1:-1] & ~marks[2:]) + 1).tolist()
    words = [0, *(int(owners[cut + 1]) for cut in cuts), len(hints)]
    bounds = zip(pairwise([0, *cuts, len(pieces)]), pairwise(words), strict=True)
    return [
        Reading(
            told,
            pieces[start:end],
            np.where(marks[start:end], -1, owners[start:end] - first),
            hints[first:last],
        )
        for (start, end), (first, last) in bounds
    ]


def read_batch(batch: Batch, own: Mapping[str, Tensor], linear: Linear, layers: int) -> Tensor:
    """The logit of each word's strength, shape (n_words,).

    Parameters
    ----------
    own : the reader's own weights and the layer norms, by name.
    linear : the encoder's linear maps with what was taught.
    layers : how many.
    """
    hidden = batch.states + own["of_text"][batch.of_text]
    hidden = hidden + functional.linear(batch.hints, own["hints"])
    mask = torch.zeros(batch.padding.shape).masked_fill(batch.padding, -1e9)[:, None, None]
    for layer in range(layers):
        hidden = _layer(f"{layer}.", hidden, mask, own, linear)
    words, first = hidden[batch.row, batch.place], hidden[batch.row, 0]
    hints = batch.hints[batch.row, batch.place]
    seen = torch.cat([words, first, hints], dim=-1)
    inner = functional.gelu(functional.linear(seen, own["inner"], own["inner_bias"]))
    out = functional.linear(inner, own["outer"], own["outer_bias"])[:, 0]
    return out + own["trust"] * hints[:, -1]


def _layer(
    prefix: str, hidden: Tensor, mask: Tensor, own: Mapping[str, Tensor], linear: Linear
) -> Tensor:
    """One layer of BERT; spelt-out attention trains faster on a CPU than the fused one."""
    n_texts, length, dim = hidden.shape

    def heads(name: str) -> Tensor:
        out = linear(f"{prefix}attention.self.{name}", hidden)
        return out.view(n_texts, length, -1, 32).transpose(1, 2)

    def normed(name: str, x: Tensor) -> Tensor:
        weight, bias = own[f"{prefix}{name}.weight"], own[f"{prefix}{name}.bias"]
        return functional.layer_norm(x, (dim,), weight, bias, 1e-12)

    scores = heads("query") @ heads("key").transpose(-1, -2) / 32**0.5 + mask
    mixed = (scores.softmax(dim=-1) @ heads("value")).transpose(1, 2).reshape(hidden.shape)
    mixed = linear(f"{prefix}attention.output.dense", mixed)
    hidden = normed("attention.output.LayerNorm", mixed + hidden)
    inner = functional.gelu(linear(f"{prefix}intermediate.dense", hidden))
    return normed("output.LayerNorm", linear(f"{prefix}output.dense", inner) + hidden)


def encoder_weights(encoder: MiniLM) -> dict[str, Tensor]:
    """The last layers' weights, by layer (from 0) and name."""
    last = encoder.layers.encoder.layer[READ_FROM:]
    return {
        f"{index}.{name}.{kind}": getattr(layer.get_submodule(name), kind).detach().float()
        for index, layer in enumerate(last)
        for name in (*LINEARS, *_NORMS)
        for kind in ("weight", "bias")
    }


def hints_of(columns: Mapping[str, Any], first: FloatArray) -> Tensor:
    """What the reader is told of each word, shape (n_words, len(HINTS) + 1).

    Parameters
    ----------
    first : shape (n_words,), the head's answer, 0-1.
    """
    told = [np.clip(columns[name], 0.0, 2.0) for name in HINTS]
    third = log_odds(first) / 3.0  # in the range of the others
    return torch.from_numpy(np.stack([*told, third], axis=1)).float()


def log_odds(strengths: FloatArray) -> FloatArray:
    """Of strengths 0-1, kept a little away from both ends."""
    sure = np.clip(strengths, _CERTAIN, 1.0 - _CERTAIN)
    return np.asarray(np.log(sure / (1.0 - sure)))


class Reader:
    """Predicts strengths from an explanation and a text that are read together.

    Parameters
    ----------
    encoder : whose layers are used.
    taught : arrays by name: the reader's own weights, and `down`/`up` of each low-rank difference.
    """

    def __init__(self, encoder: MiniLM, taught: Mapping[str, Tensor]) -> None:
        self._taught = dict(taught)
        base = encoder_weights(encoder)
        for key in [key for key in taught if key.endswith(".down")]:
            name = key.removesuffix(".down")
            base[f"{name}.weight"] = (
                base[f"{name}.weight"] + taught[f"{name}.up"].float() @ taught[key].float()
            )
        self._weights = base | {key: value.float() for key, value in taught.items()}
        self._bfloat16 = encoder.bfloat16
        if encoder.bfloat16:
            # Once here, not with each batch.
            self._weights |= {
                key: value.bfloat16()
                for key, value in self._weights.items()
                if key in base and "LayerNorm" not in key
            }
        self._layers = len(encoder.layers.encoder.layer) - READ_FROM

    def read(self, explanation: EncodedText, words: Words, hints: Tensor) -> FloatArray:
        """Strength of each word, 0-1, shape (n_words,).

        Parameters
        ----------
        hints : as from `hints_of`.
        """
        parts = torch.split(hints, words.sizes.tolist())
        readings = [
            reading
            for text, hint in zip(words.texts, parts, strict=True)
            for reading in readings_of(explanation, text, hint)
        ]
        out: list[FloatArray] = [np.zeros(0)] * len(readings)
        with torch.inference_mode(), torch.autocast("cpu", enabled=self._bfloat16):
            for chosen in _batches([len(reading) for reading in readings]):
                batch = Batch.of([readings[i] for i in chosen])
                found = (
                    read_batch(batch, self._weights, self._linear, self._layers).float().sigmoid()
                )
                sizes = [len(readings[i].hints) for i in chosen]
                for i, strengths in zip(chosen, torch.split(found.double(), sizes), strict=True):
                    out[i] = strengths.numpy()
        return np.concatenate(out) if out else np.zeros(0)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def save(self, path: Path) -> None:
        from safetensors.torch import save_file

        about = {"reader": json.dumps({"hints": HINTS, "read_from": READ_FROM})}
        halves = {name: value.half().contiguous() for name, value in self._taught.items()}
        save_file(halves, path, metadata=about)

    @classmethod
    def load(cls, path: Path, encoder: MiniLM) -> Reader:
        """Load what a reader was taught.

        Raises
        ------
        ConfigurationError : if the file is missing, is not a reader, or knows other hints.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads(file.metadata()["reader"])
                taught = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            known = tuple(about["hints"]), about["read_from"]
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"{path.name}: not a usable reader ({error}); `make train` rebuilds it"
            ) from error
        if known != (HINTS, READ_FROM):
            raise ConfigurationError(f"{path.name}: of another version; `make train` rebuilds it")
        return cls(encoder, taught)


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Indices of texts to be read at once: of like length, and not too much at a time."""
    out: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        size = len(out[-1]) + 1 if out else 0
        if size and size <= _MOST_TEXTS and size * lengths[index] ** 2 <= _MOST_CELLS:
            out[-1].append(index)
        else:
            out.append([index])
    return out
