from __future__ import annotations

import json
from collections.abc import Sized
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from models import minilm, predictor, request, words_of
from safetensors.numpy import save_file

from pipeline.errors import ConfigurationError
from pipeline.simulation import FloatArray
from stages.embedding import READ_FROM
from stages.encoding import EncodedText, TextEncoder
from stages.features import features
from stages.reader import READER_PATH, Reader, _batches, _layer, encoder_weights
from stages.readings import HINTS, Batch, hints_of, readings_of
from stages.words import Words

TEXTS = ("the quick brown fox", "proud to announce it", "", "a longer text with many more words in")


def encoded(*texts: str) -> list[EncodedText]:
    return TextEncoder(minilm()).encode(words_of(*texts))


def no_hints(words: Words) -> torch.Tensor:
    return torch.zeros(len(words), len(HINTS) + 1)


def every(words: Sized) -> npt.NDArray[np.bool_]:
    return np.full(len(words), True)


def read(explanation: str, *texts: str) -> list[FloatArray]:
    words = Words(encoded(*texts))
    found = predictor().reader.read(encoded(explanation)[0], words, no_hints(words), every(words))
    return words.split(found)


def test_the_layers_are_the_encoders_own() -> None:
    (text,) = encoded(TEXTS[0])
    weights = encoder_weights(minilm())

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    hidden = torch.from_numpy(text.vectors.pieces).float()[None]
    with torch.inference_mode():
        for layer in range(6 - READ_FROM):
            mask = torch.zeros(1, 1, 1, hidden.shape[1])
            hidden = _layer(f"{layer}.", hidden, hidden, mask, weights, linear)
    last = hidden[0].numpy()[text.vectors.owners >= 0]
    last /= np.linalg.norm(last, axis=1, keepdims=True)
    np.testing.assert_allclose(last, text.vectors.contextual, atol=2e-3)


def test_every_word_is_read() -> None:
    found = read("foxes", *TEXTS)
    assert [len(of_text) for of_text in found] == [len(words) for words in words_of(*TEXTS)]
    strengths = np.concatenate(found)
    assert strengths.min() > 0
    assert strengths.max() < 1


def test_what_is_read_at_once_changes_nothing() -> None:
    for text, together in zip(TEXTS, read("foxes", *TEXTS), strict=True):
        np.testing.assert_allclose(read("foxes", text)[0], together, atol=1e-4)


def test_the_explanation_and_the_head_both_count() -> None:
    words = Words(encoded(TEXTS[0]))
    reader, fox, dog = predictor().reader, *encoded("foxes", "dogs")
    silent, firing = no_hints(words), no_hints(words)
    firing[3] = 1.0
    asked = every(words)
    before = reader.read(fox, words, silent, asked)
    assert reader.read(fox, words, firing, asked)[3] > before[3] + 0.05
    assert abs(before - reader.read(dog, words, silent, asked)).max() > 1e-4


def test_only_what_is_asked_for_is_answered() -> None:
    words = Words(encoded(*TEXTS))
    reader, (fox,) = predictor().reader, encoded("foxes")
    asked = np.arange(len(words)) % 3 == 1
    some = reader.read(fox, words, no_hints(words), asked)
    all_of_them = reader.read(fox, words, no_hints(words), every(words))
    np.testing.assert_allclose(some, all_of_them[asked], atol=1e-5)
    assert reader.read(fox, words, no_hints(words), ~every(words)).shape == (0,)


def test_only_what_stands_near_is_read() -> None:
    near, far = ("a fox ran " + " ".join([word] * 40) for word in ("home", "vote"))
    reader, (fox,) = predictor().reader, encoded("foxes")
    asked = np.arange(43) == 1
    (text,) = encoded(near)
    (reading,) = readings_of(fox, text, torch.zeros(43, 1), asked)
    assert reading.asked.tolist() == [1]
    assert reading.owners.tolist() == [-1, *range(10), -1]
    assert len(reading.pieces) == len(reading.owners)
    words = Words([text])
    alone = reader.read(fox, words, no_hints(words), asked)
    assert alone == pytest.approx(
        reader.read(fox, words, no_hints(words), every(words))[1], abs=0.1
    )
    assert reader.read(fox, Words(encoded(far)), no_hints(words), asked).shape == (1,)


def test_a_text_longer_than_the_encoder_takes_is_read_whole() -> None:
    (found,) = read("the word 'fox'", " ".join(["a fox ran"] * 150))
    assert found.shape == (450,)
    assert np.isfinite(found).all()


def test_a_long_text_is_read_in_the_runs_in_which_it_was_encoded() -> None:
    fox, text = encoded("fox", " ".join(["a fox ran"] * 150))
    hints = torch.arange(450.0)[:, None]
    readings = readings_of(fox, text, hints, every(hints))
    assert [len(reading.hints) for reading in readings] == [250, 200]
    assert torch.equal(torch.cat([reading.hints for reading in readings]), hints)
    for reading in readings:
        words = np.arange(len(reading.hints))
        assert reading.owners.tolist() == [-1, *words, -1]


def test_words_without_pieces_make_no_run_of_their_own() -> None:
    for words in ("\ufffd", "\ufffd a \ufffd", " ".join(["\ufffd"] * 600)):
        fox, text = encoded("fox", words)
        n_words = len(text.words)
        (reading,) = readings_of(fox, text, torch.zeros(n_words, 1), every(text.words))
        assert len(reading.hints) == n_words


def test_of_an_endless_explanation_the_beginning_is_read() -> None:
    endless, text = encoded("fox " * 2000, "a fox")
    (reading,) = readings_of(endless, text, torch.zeros(2, 1), every(text.words))
    assert len(reading) < 300


@pytest.mark.parametrize("explanation", ["…", "\u200b", "word " * 300])
def test_any_explanation_can_be_read(explanation: str) -> None:
    (found,) = read(explanation, TEXTS[0])
    assert np.isfinite(found).all()


def test_nothing_is_read_of_no_text() -> None:
    words = Words(encoded(""))
    (fox,) = encoded("fox")
    assert predictor().reader.read(fox, words, no_hints(words), every(words)).shape == (0,)


def test_hints_stay_in_range() -> None:
    seen = predictor().observer.observe(request("the word 'fox'", "a fox*1 ran"))
    hints = hints_of(seen.columns, np.array([0.0, 1.0, 0.5]))
    assert hints.shape == (3, len(HINTS) + 1)
    assert hints[:, :-1].min() >= 0
    assert hints[:, :-1].max() <= 2
    logits = hints[:, -1]
    assert logits[0] == pytest.approx(-logits[1])
    assert logits[2] == 0
    assert torch.isfinite(hints).all()


def test_hints_are_features() -> None:
    seen = predictor().observer.observe(request("the word 'fox'", "a fox*1 ran"))
    assert set(HINTS) <= set(features(seen.explanation, seen.words))


def test_a_batch_puts_each_word_where_its_last_piece_stands() -> None:
    fox, text = encoded("fox", "unbelievably odd")
    batch = Batch.of(readings_of(fox, text, torch.ones(2, 3), every(text.words)))
    start = len(fox.vectors.pieces)
    last = np.flatnonzero(text.vectors.owners == 0)[-1]
    assert batch.asked.tolist() == [[0, start + last, start + last + 1]]
    assert batch.slot.tolist() == [1, 2]
    assert batch.hints[0, start + 1 : start + last + 2].min() == 1
    assert batch.hints[0, : start + 1].max() == 0
    assert batch.of_text[0].tolist() == [0] * start + [1] * len(text.vectors.pieces)


def test_batches_hold_every_text_once_and_never_too_much() -> None:
    lengths = [10] * 200 + [2000, 3, 1500]
    batches = _batches(lengths)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * lengths[batch[-1]] ** 2 <= 2e6 for batch in batches)
    assert len(batches) < 10


def test_a_saved_reader_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "reader.safetensors"
    predictor().reader.save(path)
    words = Words(encoded(*TEXTS))
    (fox,) = encoded("foxes")
    given = fox, words, no_hints(words), every(words)
    again = Reader.load(path, minilm()).read(*given)
    np.testing.assert_array_equal(again, predictor().reader.read(*given))


@pytest.mark.parametrize("about", [None, {"hints": ["a"], "read_from": 4}, {"hints": 3}])
def test_a_file_that_is_not_a_reader_says_how_to_get_one(tmp_path: Path, about: object) -> None:
    path = tmp_path / "reader.safetensors"
    metadata = None if about is None else {"reader": json.dumps(about)}
    save_file({"trust": np.zeros(1)}, path, metadata)
    with pytest.raises(ConfigurationError, match=r"reader\.safetensors: .*make train"):
        Reader.load(path, minilm())


def test_the_shipped_file_is_small() -> None:
    assert READER_PATH.stat().st_size < 2e6
