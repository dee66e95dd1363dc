"""Teaching the reader: low-rank differences to the encoder's last layers, by stochastic descent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from pipeline.simulation import FloatArray
from stages.embedding import READ_FROM, MiniLM
from stages.reader import LINEARS, Reader, encoder_weights, read_batch
from stages.readings import HINTS, Batch, Reading

_BATCH = 32
_RATE = 1e-3
_RANK = 16
_INNER = 128
_SHUFFLE = 6.0  # pieces by which texts of a batch may differ in length, so that batches vary


@dataclass(frozen=True, slots=True)
class Example:
    """A reading and the strength of each word that it asks for, 0-1."""

    reading: Reading
    target: FloatArray


def fit_reader(
    examples: Sequence[Example], encoder: MiniLM, seed: int, start: Reader | None = None
) -> Reader:
    """Teach a reader in one pass; cross-entropy of each strength, taken as a probability.

    Parameters
    ----------
    start : a reader that is to learn more; it is taught at half the rate.
    """
    rng = np.random.default_rng(seed)
    base = encoder_weights(encoder)
    if start is None:
        rate, taught = _RATE, _untaught(base, torch.Generator().manual_seed(seed))
    else:
        rate, taught = _RATE / 2, start.taught()
    for value in taught.values():
        value.requires_grad_()
    parameters = list(taught.values())
    # Linear layers run in half precision where the processor is fast at that.
    half = torch.autocast("cpu", torch.bfloat16)

    def linear(name: str, x: Tensor) -> Tensor:
        plain = functional.linear(x, base[f"{name}.weight"], base[f"{name}.bias"])
        learned = functional.linear(x, taught[f"{name}.down"])
        return plain + functional.linear(learned, taught[f"{name}.up"])

    lengths = np.array([len(example.reading) for example in examples])
    order = np.argsort(lengths + _SHUFFLE * rng.normal(size=len(lengths)))
    batches = [order[i : i + _BATCH] for i in range(0, len(order), _BATCH)]
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rate, total_steps=len(batches) + 1, pct_start=0.1
    )
    for index in rng.permutation(len(batches)):
        chosen = [examples[i] for i in batches[index]]
        batch = Batch.of([example.reading for example in chosen])
        # The way back through fused attention is slower on a processor than through plain one.
        with half, sdpa_kernel(SDPBackend.MATH):
            logits = read_batch(batch, base | taught, linear, _layers(encoder)).float()
        target = torch.from_numpy(np.concatenate([e.target for e in chosen])).float()
        loss = functional.binary_cross_entropy_with_logits(logits, target)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
    return Reader(encoder, {name: value.detach().half() for name, value in taught.items()})


def _layers(encoder: MiniLM) -> int:
    return len(encoder.layers.encoder.layer) - READ_FROM


def _untaught(base: dict[str, Tensor], random: torch.Generator) -> dict[str, Tensor]:
    """Weights to start from: the differences are zero, the answer is half the head's."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    dim, n_hints = len(base["0.attention.self.query.bias"]), len(HINTS) + 1
    out = {
        "of_text": 0.05 * normal(2, dim),
        "hints": 0.02 * normal(dim, n_hints),
        "inner": normal(_INNER, 2 * dim + n_hints) / math.sqrt(2 * dim + n_hints),
        "inner_bias": torch.zeros(_INNER),
        "outer": normal(1, _INNER) / math.sqrt(_INNER),
        "outer_bias": torch.full((1,), -1.0),
        "trust": torch.tensor(1.5),
    }
    for name, weight in base.items():
        linear = name.removesuffix(".weight")
        if linear.partition(".")[2] in LINEARS:
            out_size, in_size = weight.shape
            out[f"{linear}.down"] = normal(_RANK, in_size) / math.sqrt(in_size)
            out[f"{linear}.up"] = torch.zeros(out_size, _RANK)
    return out
