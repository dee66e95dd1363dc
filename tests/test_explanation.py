from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import SpellingEncoder, fast_encoder, words_of

from stages.embedding import Float32Array
from stages.encoding import TextEncoder, interned
from stages.explanation import EncodedExplanation, encode_explanation
from stages.vocabulary import content_words, stem

DARING = "'to' after 'dare', as in 'proud to announce', in brave promises"


def encode(text: str) -> EncodedExplanation:
    return encode_explanation(text, fast_encoder())


def alone(*words: str) -> Float32Array:
    """Static vectors of single words."""
    (encoded,) = fast_encoder().encode([words])
    return encoded.vectors.static.astype(np.float32)


def mean(text: str) -> Float32Array:
    (encoded,) = fast_encoder().encode(words_of(text))
    total = encoded.vectors.contextual.sum(axis=0, dtype=np.float32)
    return np.asarray(total / np.linalg.norm(total))


def test_the_whole_and_its_two_parts_are_embedded() -> None:
    found = encode("animals in cold places")
    assert found.whole == pytest.approx(mean("animals in cold places"), abs=1e-6)
    assert found.head == pytest.approx(mean("animals"), abs=1e-6)
    assert found.context == pytest.approx(mean("in cold places"), abs=1e-6)


def test_a_missing_part_is_zeros() -> None:
    found = encode("animals")
    assert found.head.any()
    assert not found.context.any()
    assert len(found.examples) == len(found.phrases) == len(found.static["target"]) == 0


def test_terms_are_embedded_alone_by_role() -> None:
    static = encode(DARING).static
    assert set(static) == {"target", "before", "after", "example", "head", "context"}
    expected = {
        "target": ("to",),
        "before": ("dare",),
        "after": (),
        "example": ("proud", "to", "announce"),
        "head": (),
        "context": ("brave", "promises"),
    }
    for name, words in expected.items():
        np.testing.assert_allclose(static[name], alone(*words), atol=1e-6)


def test_examples_and_quoted_phrases_are_embedded_as_a_whole_and_by_word() -> None:
    found = encode("'so far' as in 'proud to announce'")
    assert (
        found.example_stems.tolist()
        == interned(["proud", "to", stem("announce"), "so", "far"]).tolist()
    )
    assert found.examples.shape == (5, 6)
    expected = [mean("proud to announce"), mean("so far")]
    np.testing.assert_allclose(found.phrases, expected, atol=1e-6)


def test_spoken_words_are_those_that_carry_meaning() -> None:
    (encoded,) = fast_encoder().encode(words_of(DARING))
    spoken = [
        encoded.written.index(word) for word in ("to", "proud", "announce", "brave", "promises")
    ]
    assert "as" not in content_words(DARING)
    expected = {tuple(encoded.vectors.contextual[i].tolist()) for i in spoken}
    assert expected <= set(map(tuple, encode(DARING).spoken.tolist()))
    assert len(encode("of what it is to be").spoken) == 0


def test_one_call_embeds_all_parts() -> None:
    spelling = SpellingEncoder()
    encoder = TextEncoder(spelling)
    encode_explanation(DARING, encoder)
    encode_explanation(DARING, encoder)
    assert [call for call in spelling.calls if call] == spelling.calls[:1]


@given(st.text())
def test_any_text_can_be_embedded(text: str) -> None:
    found = encode(text)
    for vectors in (found.whole, found.head, found.context, *found.static.values()):
        assert np.isfinite(vectors).all()
    assert len(found.examples) == len(found.example_stems)
