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
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.errors import ConfigurationError
from pipeline.simulation import FloatArray
from stages.embedding import READ_FROM, MiniLM
from stages.encoding import EncodedText
from stages.readings import HINTS, Batch, readings_of
from stages.words import Words

READER_PATH = Path(__file__).parent / "data" / "reader.safetensors"

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

Linear = Callable[[str, Tensor], Tensor]
"""Applies the linear map of that name."""


def read_batch(batch: Batch, own: Mapping[str, Tensor], linear: Linear, layers: int) -> Tensor:
    """The logit of each asked word's strength, shape (n_asked,).

    Parameters
    ----------
    own : the reader's own weights and the layer norms, by name.
    linear : the encoder's linear maps with what was taught.
    layers : how many.
    """
    hidden = batch.states + own["of_text"][batch.of_text]
    hidden = hidden + functional.linear(batch.hints, own["hints"])
    mask = torch.zeros(batch.padding.shape).masked_fill(batch.padding, -1e9)[:, None, None]
    for layer in range(layers - 1):
        hidden = _layer(f"{layer}.", hidden, hidden, mask, own, linear)
    # Of the last layer nothing is wanted but the words' answers and the first piece's.
    rows = torch.arange(len(hidden))[:, None]
    last = _layer(f"{layers - 1}.", hidden[rows, batch.asked], hidden, mask, own, linear)
    words, first = last[batch.row, batch.slot], last[batch.row, 0]
    hints = batch.hints[batch.row, batch.asked[batch.row, batch.slot]]
    seen = torch.cat([words, first, hints], dim=-1)
    inner = functional.gelu(functional.linear(seen, own["inner"], own["inner_bias"]))
    out = functional.linear(inner, own["outer"], own["outer_bias"])[:, 0]
    return out + own["trust"] * hints[:, -1]


def _layer(
    prefix: str,
    asked: Tensor,
    hidden: Tensor,
    mask: Tensor,
    own: Mapping[str, Tensor],
    linear: Linear,
) -> Tensor:
    """One layer of BERT.

    Parameters
    ----------
    asked : shape (n_texts, n_asked, dim), the states whose next ones are wanted.
    hidden : shape (n_texts, length, dim), all that they attend to.
    """
    dim = hidden.shape[-1]

    def heads(name: str, of: Tensor) -> Tensor:
        out = linear(f"{prefix}attention.self.{name}", of)
        return out.view(*of.shape[:2], -1, 32).transpose(1, 2)

    def normed(name: str, x: Tensor) -> Tensor:
        weight, bias = own[f"{prefix}{name}.weight"], own[f"{prefix}{name}.bias"]
        return functional.layer_norm(x, (dim,), weight, bias, 1e-12)

    query = heads("query", asked)
    mixed = functional.scaled_dot_product_attention(
        query, heads("key", hidden), heads("value", hidden), attn_mask=mask.to(query.dtype)
    )
    mixed = mixed.transpose(1, 2).flatten(2)
    mixed = linear(f"{prefix}attention.output.dense", mixed)
    asked = normed("attention.output.LayerNorm", mixed + asked)
    inner = functional.gelu(linear(f"{prefix}intermediate.dense", asked))
    return normed("output.LayerNorm", linear(f"{prefix}output.dense", inner) + asked)


def encoder_weights(encoder: MiniLM) -> dict[str, Tensor]:
    """The last layers' weights, by layer (from 0) and name."""
    last = encoder.layers.encoder.layer[READ_FROM:]
    return {
        f"{index}.{name}.{kind}": getattr(layer.get_submodule(name), kind).detach().float()
        for index, layer in enumerate(last)
        for name in (*LINEARS, *_NORMS)
        for kind in ("weight", "bias")
    }


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

    def read(
        self,
        explanation: EncodedText,
        words: Words,
        hints: Tensor,
        asked: npt.NDArray[np.bool_],
    ) -> FloatArray:
        """Strength of each asked word, 0-1, shape (n_asked,).

        Parameters
        ----------
        hints : as from `hints_of`.
        asked : shape (n_words,), whose strength is wanted; only what stands near is read.
        """
        parts = torch.split(hints, words.sizes.tolist())
        readings = [
            reading
            for text, hint, of_text in zip(words.texts, parts, words.split(asked), strict=True)
            for reading in readings_of(explanation, text, hint, of_text)
        ]
        out: list[FloatArray] = [np.zeros(0)] * len(readings)
        with torch.inference_mode(), torch.autocast("cpu", enabled=self._bfloat16):
            for chosen in _batches([len(reading) for reading in readings]):
                batch = Batch.of([readings[i] for i in chosen])
                found = (
                    read_batch(batch, self._weights, self._linear, self._layers).float().sigmoid()
                )
                sizes = [len(readings[i].asked) for i in chosen]
                for i, strengths in zip(chosen, torch.split(found.double(), sizes), strict=True):
                    out[i] = strengths.numpy()
        return np.concatenate(out) if out else np.zeros(0)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def taught(self) -> dict[str, Tensor]:
        """What was learned, as copies in single precision."""
        return {name: value.float().clone() for name, value in self._taught.items()}

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
