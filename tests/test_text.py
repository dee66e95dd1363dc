from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.text import TokenizedText, decode


def _alphabet() -> dict[int, str]:
    """GPT-2's byte-to-character table: bytes that print stand for themselves."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return {byte: chr(byte if byte in printable else next(others)) for byte in range(256)}


ALPHABET = _alphabet()


def byte_level(text: str) -> str:
    return "".join(ALPHABET[byte] for byte in text.encode())


def cut(text: str, places: Sequence[int]) -> list[str]:
    bounds = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(bounds)]


def decode_one(tokens: Sequence[str]) -> TokenizedText:
    return decode([tokens])[0]


def pieces(found: TokenizedText) -> list[str]:
    return [found.text[start:end] for start, end in found.spans]


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        pytest.param([" the", " cat"], " the cat", id="plain"),
        pytest.param(["The", "Ġcat", "Ċ", "Ġsat"], "The cat\n sat", id="byte-level"),
        pytest.param(["Ġit", "âĢĻ", "s"], " it’s", id="byte-level, three bytes in one token"),
        pytest.param(["▁The", "▁cat", "<0x0A>", "s"], " The cat\ns", id="SentencePiece"),
        pytest.param(["▁a", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>"], " a😀", id="byte fallback"),
        pytest.param(["[CLS]", "run", "##ning", "fast"], " [CLS] running fast", id="WordPiece"),
        pytest.param(["the", "cat", ",", "sat"], " the cat, sat", id="bare words"),
        pytest.param(["the"], "the", id="a lone token"),
        pytest.param([" it", "âĢĻ", "s naïve"], " it’s naïve", id="byte-level among plain ones"),
        pytest.param([" Māori", " č", "Ġ"], " Māori čĠ", id="letters of the byte-level alphabet"),
        pytest.param(["<bos>", "Ġx", "<|endoftext|>"], "<bos> x<|endoftext|>", id="special tokens"),
        pytest.param(["Ġif", "\n", "   ", "Ġx"], " if\n    x", id="blanks among byte-level ones"),
        pytest.param(["▁a", "\n", "▁b"], " a\n b", id="a line break among SentencePiece's"),
        pytest.param(["a", " ", "b"], "a b", id="blanks of their own"),
        pytest.param([" a", "\ud800"], " a?", id="half of a surrogate pair"),
    ],
)
def test_each_spelling_gives_the_text_it_stands_for(tokens: list[str], text: str) -> None:
    assert decode_one(tokens).text == text


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (["<bos>", "Ġa", "Ġ[", "<|endoftext|>"], ("a", "[")),
        (["<s>", "▁a", "</s>"], ("a",)),
        (["[CLS]", "a", "[SEP]", "[PAD]", "[PAD]"], ("a",)),
        ([" a", "<p>", "[1]"], ("a", "<", "p", ">", "[", "1", "]")),
        ([" a", "<", "s", ">"], ("a", "<", "s", ">")),
    ],
)
def test_tokens_that_stand_for_no_text_hold_no_words(
    tokens: list[str], words: tuple[str, ...]
) -> None:
    found = decode_one(tokens)
    assert found.words == words
    assert found.token_words.max() == len(words) - 1


def test_the_spelling_is_found_from_all_texts_together() -> None:
    assert [found.text for found in decode([["The"], ["Ġcat"]])] == ["The", " cat"]


def test_tokens_that_split_a_character_both_span_it() -> None:
    found = decode_one(["Ġa", *list(byte_level("😀"))])
    assert found.text == " a😀"
    assert found.spans.tolist() == [[0, 2]] + [[2, 3]] * 4
    assert found.word_tokens.tolist() == [0, 4]


def test_an_empty_token_inside_a_character_takes_no_word() -> None:
    first, *others = list(byte_level("é"))
    found = decode_one(["Ġ", first, "", *others, "t"])
    assert found.words == ("ét",)
    assert found.word_tokens.tolist() == [4]


def test_bytes_that_are_no_utf8_become_one_mark_each() -> None:
    found = decode_one(["Ġa", ALPHABET[0xFF], ALPHABET[0x80], "b"])
    assert found.text == " a\ufffd\ufffdb"
    assert found.spans.tolist() == [[0, 2], [2, 3], [3, 4], [4, 5]]


def test_a_word_may_span_tokens() -> None:
    found = decode_one([" she", "lled", " she", " don", "'t", "!"])
    assert found.words == ("shelled", "she", "don't", "!")
    assert found.token_words.tolist() == [0, 0, 1, 2, 2, 3]
    assert found.word_tokens.tolist() == [1, 2, 4, 5]


def test_a_token_may_hold_several_words_or_none() -> None:
    found = decode_one([" of the", "\n", " end."])
    assert found.words == ("of", "the", "end", ".")
    assert found.token_words.tolist() == [1, -1, 3]
    assert found.word_tokens.tolist() == [0, 0, 2, 2]


def test_a_text_of_blanks_has_no_words() -> None:
    found = decode_one([" ", "\n"])
    assert found.words == ()
    assert found.token_words.tolist() == [-1, -1]
    assert found.word_tokens.tolist() == []


@given(st.text(), st.lists(st.integers(min_value=0, max_value=500), max_size=8))
def test_byte_level_tokens_give_back_any_text(text: str, places: list[int]) -> None:
    found = decode_one(["Ġ", *cut(byte_level(text), places)])
    assert found.text == f" {text}"


@given(st.text(), st.lists(st.integers(min_value=0, max_value=500), max_size=8))
def test_byte_level_tokens_keep_their_place(text: str, places: list[int]) -> None:
    tokens = ["Ġ", *cut(byte_level(text), places)]
    found = decode_one(tokens)
    for token, piece in zip(tokens, pieces(found), strict=True):
        assert token in byte_level(piece)
    last_of_word = found.spans[found.word_tokens]
    assert (last_of_word[:, 0] < found.word_spans[:, 1]).all()
    assert (last_of_word[:, 1] >= found.word_spans[:, 1]).all()


@given(
    st.lists(st.text(alphabet=st.characters(max_codepoint=127), min_size=1), min_size=1).map(
        lambda tokens: [" ", *tokens]
    )
)
def test_plain_tokens_are_their_own_text(tokens: list[str]) -> None:
    assert pieces(decode_one(tokens)) == tokens


@given(st.lists(st.lists(st.text(st.characters()), min_size=1), min_size=1))
def test_any_tokens_get_ordered_spans_within_the_text(texts: list[list[str]]) -> None:
    for tokens, found in zip(texts, decode(texts), strict=True):
        assert found.spans.shape == (len(tokens), 2)
        assert (found.spans[:, 0] <= found.spans[:, 1]).all()
        assert (np.diff(found.spans[:, 0]) >= 0).all()
        assert found.spans[-1, 1] == len(found.text)


@given(st.lists(st.lists(st.text(st.characters()), min_size=1), min_size=1))
def test_words_and_tokens_point_at_each_other(texts: list[list[str]]) -> None:
    for tokens, found in zip(texts, decode(texts), strict=True):
        assert found.token_words.shape == (len(tokens),)
        assert ((found.word_tokens >= 0) & (found.word_tokens < len(tokens))).all()
        ends = found.spans[found.word_tokens, 1]
        assert (ends >= found.word_spans[:, 1]).all()


def test_a_word_has_the_largest_value_of_its_tokens() -> None:
    text = decode_one([" au", "tom", "atic", " ", " doors", "!"])
    values = np.array([1.0, 9.0, 2.0, 5.0, -3.0, 4.0])
    np.testing.assert_array_equal(text.largest_by_word(values), [9.0, 0.0, 4.0])
