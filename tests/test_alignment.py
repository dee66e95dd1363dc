from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import quotes
from pipeline.simulation import FloatArray
from pipeline.text import decode
from stages.alignment import read_answer

DATA = Path(__file__).parents[1] / "benchmarks" / "data" / "neurons.jsonl.gz"

TOKENS = ["There", " has", " never", " been", " a", " more", " exc", "iting", " time", ".", "\n"]


def read(excerpts: object, tokens: list[str]) -> FloatArray | str:
    """What one text's part of an answer comes to."""
    return read_answer(json.dumps({"0": excerpts}), decode([tokens]))[0]


def strengths(excerpts: object, tokens: list[str] = TOKENS) -> dict[str, float]:
    """Token → strength, of those that fire."""
    values = read(excerpts, tokens)
    assert not isinstance(values, str), values
    return {tokens[index]: float(values[index]) for index in np.flatnonzero(values)}


def problem(excerpts: object, tokens: list[str] = TOKENS) -> str:
    result = read(excerpts, tokens)
    assert isinstance(result, str)
    return result


def test_strength_goes_to_the_last_token_of_the_marked_word() -> None:
    assert strengths(["been a more«10» exciting«3» time"]) == {" more": 10, "iting": 3}


def test_a_mark_inside_a_word_goes_to_the_token_before_it() -> None:
    assert strengths(["more exc«4»iting time"]) == {" exc": 4}


def test_no_excerpt_means_silence() -> None:
    assert strengths([]) == {}


def test_line_breaks_can_be_marked_as_they_are_shown() -> None:
    assert strengths(["time.«2»↵«9»"]) == {".": 2, "\n": 9}


@pytest.mark.parametrize(
    "excerpt",
    [
        "There  has never«5»",
        "has\tnever «5» been",
        "THERE HAS NEVER«5»",
        "hasnever«5» been",
        "There has never«5» bean a more",
        "Their has never«5» been a more exciting",
    ],
)
def test_small_differences_do_no_harm(excerpt: str) -> None:
    assert strengths([excerpt]) == {" never": 5}


def test_quotation_marks_and_dashes_may_be_of_another_make() -> None:
    tokens = ["“", "Don", "’t", "”", "—", "he", " said"]
    assert strengths(['"Don\'t«6»"-he'], tokens) == {"’t": 6}


@pytest.mark.parametrize(
    "excerpt",
    [
        "has never«5» been seen",
        "There has nevar«5» been a more exciting",
        "never«5» a more interesting moment",
        "more«5» thrilling time",
        "exc«5»",
    ],
)
def test_what_does_not_stand_in_the_text_is_a_problem(excerpt: str) -> None:
    assert "do not stand in the text" in problem([excerpt])


@pytest.mark.parametrize("strength", ["11", "-1", "10.5", "999999"])
def test_strengths_beyond_the_scale_are_a_problem(strength: str) -> None:
    assert "from 1 to 10" in problem([f"a more«{strength}» exciting"])


@pytest.mark.parametrize("excerpt", ["a more exciting", "a more«high» exciting", "more«»", ""])
def test_an_excerpt_without_a_number_is_a_problem(excerpt: str) -> None:
    assert "no strength" in problem([excerpt])


def test_a_strength_that_cannot_be_read_is_not_passed_over() -> None:
    assert "do not stand" in problem(["never been a more«10» exciting«high» time"])


def test_a_strength_behind_no_word_is_a_problem() -> None:
    assert "behind no word" in problem(["«10» more exciting"])


@pytest.mark.parametrize("entry", [[1], [None], [["more«1»"]], [{"more": 1}]])
def test_excerpts_have_to_be_strings(entry: object) -> None:
    assert "not a list of strings" in problem(entry)


def test_a_word_is_not_found_inside_another() -> None:
    assert strengths(["she«8»"], [" Un", "shelled", ",", " she", "."]) == {" she": 8}
    assert "do not stand" in problem(["she«8»"], [" she", "lled"])


def test_an_excerpt_may_begin_and_end_within_words() -> None:
    assert strengths(["ver been a more«10» exc"]) == {" more": 10}


def test_scripts_without_spaces_have_no_words_to_cut() -> None:
    assert strengths(["日本«9»"], ["東", "日", "本", "語"]) == {"本": 9}


REPEATED = ["the", " cat", ",", " the ", "cat", ", ", "the cat."]


def test_one_excerpt_goes_to_every_place_where_it_stands() -> None:
    assert strengths(["the cat«5»"], REPEATED) == {" cat": 5, "cat": 5, "the cat.": 5}


def test_copies_of_an_excerpt_go_to_its_places_in_order() -> None:
    assert strengths(["the cat«5»", "the cat«3»"], REPEATED) == {" cat": 5, "cat": 3}


def test_surplus_copies_must_not_contradict() -> None:
    assert strengths(["never«5» been", "never«5» been"]) == {" never": 5}
    assert "quoted 2 times" in problem(["never«5» been", "never«4» been"])


def test_same_words_with_other_marks_are_no_copies() -> None:
    found = strengths(["a more«9» exciting", "a more exciting«2»"])
    assert found == {" more": 9, "iting": 2}


def test_of_two_strengths_for_a_token_the_larger_stays() -> None:
    assert strengths(["never been«3»", "been«8» a more"]) == {" been": 8}


def test_guillemets_and_special_tokens_of_the_text_are_no_marks() -> None:
    tokens = ["«", "Oui", "»", " <|endoftext|>", " «", "7", "»"]
    assert strengths(["‹Oui«5»›"], tokens) == {"Oui": 5}
    assert strengths(["«Oui«5»»"], tokens) == {"Oui": 5}
    assert strengths(["<|endoftext|>«6»"], tokens) == {" <|endoftext|>": 6}
    assert strengths(["‹7«1»›"], tokens) == {"7": 1}


def test_of_tokens_that_share_a_character_the_one_that_completes_it_is_meant() -> None:
    texts = decode([["Ġok", "âĢ", "Ļ", "Ġyes"]])
    (values,) = read_answer('{"0": ["ok’«4»"]}', texts)
    assert not isinstance(values, str)
    assert values.tolist() == [0, 0, 4, 0]


WHOLE = '{"0": ["never«1»"], "1": ["been«2»"]}'


@pytest.mark.parametrize(
    "content",
    [
        WHOLE,
        f"```json\n{WHOLE}\n```",
        f"Here you are: {WHOLE} I hope this helps [0].",
        f'{{"answer": {WHOLE}}}',
        '{0: ["never«1»"], 1: ["been«2»"]}',
        '{"0": ["never«1»"], "1": ["been«2»"',
        '{"0": "never«1»", "1": ["been«2»"],}',
        '[["never«1»"], ["been«2»"]]',
        '[["never«1»"], ["been«2»',
        '[{"0": ["never«1»"]}, {"1": ["been«2»"]}]',
    ],
)
def test_answers_are_read_in_many_forms(content: str) -> None:
    first, second = read_answer(content, decode([TOKENS, TOKENS]))
    assert not isinstance(first, str)
    assert first[2] == 1
    assert isinstance(second, str) or second[3] == 2
    assert isinstance(second, str) == (not content.count("]", content.index("been")))


def test_a_bare_list_answers_for_a_single_text() -> None:
    (values,) = read_answer('["never«1»"]', decode([TOKENS]))
    assert not isinstance(values, str)
    assert values[2] == 1


@pytest.mark.parametrize("content", ["", "[", "{", "null", "{}", '["never«1»', "[" * 10_000])
def test_a_text_without_an_answer_is_not_taken_as_silent(content: str) -> None:
    assert read_answer(content, decode([TOKENS])) == ["no answer for this text"]


@given(st.text(), st.integers(1, 3))
def test_no_answer_breaks_the_reader(content: str, n_texts: int) -> None:
    assert len(read_answer(content, decode([TOKENS] * n_texts))) == n_texts


@given(st.recursive(st.none() | st.text() | st.integers() | st.floats(), st.lists), st.text())
def test_no_entry_breaks_the_reader(entry: object, text: str) -> None:
    result = read(entry, [text])
    assert isinstance(result, str) or result.shape == (1,)


WORDS = st.lists(
    st.text(st.characters(exclude_categories=["Zs", "Cc", "Cf", "Zl", "Zp"]), min_size=1),
    min_size=1,
    max_size=20,
)


@given(WORDS, st.data())
def test_quoted_strengths_come_back(words: list[str], data: st.DataObject) -> None:
    """Over the whole text as one excerpt, so that every mark has one place only."""
    tokens = [f" {word}" for word in words]
    text = decode([tokens])[0]
    marks = data.draw(st.dictionaries(st.integers(0, len(tokens) - 1), st.integers(0, 10)))
    given_ = {index: marks.get(index, 0) for index in range(len(tokens))}
    result = read(["".join(quotes.marked(given_, text))], tokens)
    assert not isinstance(result, str)
    assert result.tolist() == list(given_.values())


@given(st.text(min_size=1), st.data())
def test_strengths_are_in_range_and_only_where_something_was_marked(
    text: str, data: st.DataObject
) -> None:
    tokens = [text[:3], text[3:]]
    start = data.draw(st.integers(0, len(text) - 1))
    excerpt = f"{text[start:]}«{data.draw(st.integers(0, 10))}»"
    result = read([excerpt], tokens)
    if not isinstance(result, str):
        assert result.min() >= 0
        assert result.max() <= 10


def test_recorded_simulations_survive_being_quoted() -> None:
    """A seeded sample of the recorded simulations; all of them were checked once."""
    with gzip.open(DATA, "rt") as lines:
        features = random.Random(0).sample([json.loads(line) for line in lines], 5)
    for feature in features:
        texts = decode([record["tokens"] for record in feature["records"]])
        for explanation in feature["explanations"]:
            recorded = [
                {int(token): strength for token, strength in simulated.items()}
                for simulated in explanation["simulated"]
            ]
            results = read_answer(quotes.answer(recorded, texts), texts)
            for result, text, known in zip(results, texts, recorded, strict=True):
                assert not isinstance(result, str), result
                assert result.tolist() == [known.get(i, 0) for i in range(len(text.spans))]
