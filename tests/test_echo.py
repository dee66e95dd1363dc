from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.simulation import FloatArray
from pipeline.text import decode
from stages.echo import Echoing

TOKENS = ["ĠThere", "Ġhas", "Ġbeen", "Ġa", "Ġmore", "Ġexc", "iting", "Ġtime", "Ċ", "."]
SHOWN = [" There", " has", " been", " a", " more", " exc", "iting", " time", "↵", "."]
VALUES = [0, 0, 0, 0, 10, 0, 3.5, 0, 0, 1]


def items(shown: list[str] = SHOWN, values: list[Any] | None = None) -> list[dict[str, Any]]:
    pairs = zip(shown, VALUES if values is None else values, strict=True)
    return [{"token": token, "activation": value} for token, value in pairs]


def read(answer: object, tokens: list[str] = TOKENS) -> FloatArray | str:
    content = answer if isinstance(answer, str) else json.dumps({"activations": answer})
    (result,) = Echoing().read(content, decode([tokens]))
    return result


def problem(answer: object, tokens: list[str] = TOKENS) -> str:
    result = read(answer, tokens)
    assert isinstance(result, str)
    return result


def test_the_question_holds_every_token_with_an_empty_place() -> None:
    question = Echoing().question("more", decode([TOKENS]))
    asked = json.loads(question.messages[-1]["content"])
    assert asked["explanation"] == "more"
    assert asked["activations"] == items(values=[None] * 10)


def test_a_second_attempt_names_the_reason() -> None:
    question = Echoing().question("more", decode([TOKENS]), ["number 3 (' a') is missing"])
    assert question.messages[-1]["content"].endswith("number 3 (' a') is missing")


def test_the_example_is_answered_as_we_read_answers() -> None:
    _, asked, answered, _ = Echoing().question("", decode([["x"]])).messages
    tokens = [item["token"] for item in json.loads(asked["content"])["activations"]]
    values = read(answered["content"], tokens)
    assert not isinstance(values, str)
    assert values.max() == 10


def test_what_was_asked_and_filled_in_comes_back() -> None:
    values = read(items())
    assert not isinstance(values, str)
    assert values.tolist() == VALUES


def test_numbers_may_be_strings_and_come_in_any_wrapping() -> None:
    answer = json.dumps(items(values=[str(value) for value in VALUES]), indent=2)
    values = read(f"Here it is:\n```json\n{answer}\n```")
    assert not isinstance(values, str)
    assert values.tolist() == VALUES


@pytest.mark.parametrize("bad", [None, "high", -1, 11, True, [3], float("nan"), float("inf")])
def test_a_token_without_a_number_is_a_problem_and_not_silent(bad: object) -> None:
    said = problem(items(values=[*VALUES[:4], bad, *VALUES[5:]]))
    assert "number 4 (' more')" in said


def test_dropped_shifted_and_repeated_tokens_are_problems() -> None:
    assert problem(items()[:3] + items()[4:]) == "number 3 (' a') is missing"
    assert problem([*items()[1:], items()[0]]) == "number 0 (' There') is missing"
    again = {"token": " more", "activation": 0}
    assert "more than one activation" in problem([*items()[:5], again, *items()[5:]])


def test_a_joined_word_gives_its_strength_to_its_pieces() -> None:
    joined = [*items()[:5], {"token": " exciting", "activation": 4}, *items()[7:]]
    values = read(joined)
    assert not isinstance(values, str)
    assert values[5:7].tolist() == [4, 4]


def test_an_answer_cut_short_is_a_problem() -> None:
    cut = json.dumps({"activations": items()})[:-60]
    assert "the answer ends before" in problem(cut)


@pytest.mark.parametrize("content", ["", "no", "{", "[]", "{}", '{"token"', "{" * 5000, "null"])
def test_no_answer_is_not_silence(content: str) -> None:
    assert problem(content) == "no answer for this text"


def test_tokens_without_a_character_are_not_asked_about() -> None:
    tokens = [" a", "", " b"]
    question = Echoing().question("x", decode([tokens]))
    assert len(json.loads(question.messages[-1]["content"])["activations"]) == 2
    values = read(items([" a", " b"], [1, 2]), tokens)
    assert not isinstance(values, str)
    assert values.tolist() == [1, 0, 2]


def test_special_tokens_and_odd_characters_come_back() -> None:
    tokens = [" <|endoftext|>", " «x»", "\t", " \u2028", " </s>", ' "', " 日本"]
    asked = Echoing().question("x", decode([tokens])).messages[-1]["content"]
    assert "<|" not in asked
    given_ = [item["token"] for item in json.loads(asked)["activations"]]
    values = read(items(given_, list(range(7))), tokens)
    assert not isinstance(values, str)
    assert values.tolist() == list(range(7))


@given(st.lists(st.text(min_size=1), min_size=1, max_size=15), st.data())
def test_every_text_survives_question_and_answer(tokens: list[str], data: st.DataObject) -> None:
    texts = decode([tokens])
    asked = json.loads(Echoing().question("x", texts).messages[-1]["content"])["activations"]
    values = [data.draw(st.integers(0, 10)) for _ in asked]
    (result,) = Echoing().read(json.dumps(items([i["token"] for i in asked], values)), texts)
    assert not isinstance(result, str), result
    solid = [bool(piece) for piece in texts[0].pieces]
    np.testing.assert_array_equal(result[solid], values)


@given(st.text())
def test_no_answer_breaks_the_reader(content: str) -> None:
    assert isinstance(read(content), str)
