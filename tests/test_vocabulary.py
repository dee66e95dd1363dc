from __future__ import annotations

import threading

import pytest

from stages.vocabulary import (
    classes_named,
    classes_of,
    content_words,
    normalise,
    remembered,
    stem,
    word_lists,
)


@pytest.mark.parametrize(
    ("word", "classes"),
    [
        ("1999", {"number", "year"}),
        ("She", {"pronoun", "capitalised"}),
        ("MONDAY", {"weekday", "upper"}),
        ("won’t", {"modal", "negation", "apostrophe"}),
        (",", {"punctuation", "comma"}),
        ("€", {"currency", "symbol"}),
        ("camelCase", {"camel"}),
        ("NumPy", {"camel", "capitalised"}),
        ("XIV", {"roman", "upper"}),
        ("KL1027", {"alphanumeric", "upper"}),
        ("voilà", {"accented"}),
        ("🎉", {"emoji"}),
    ],
)
def test_a_word_has_the_classes_that_its_list_or_shape_tells(word: str, classes: set[str]) -> None:
    assert classes <= classes_of(word)


def test_a_word_of_no_class_has_none() -> None:
    assert not classes_of("fox")
    assert "year" not in classes_of("2525")


def test_classes_are_named_in_the_plural_and_in_a_phrase() -> None:
    assert {"pronoun", "year"} <= classes_named("pronouns or a year")
    assert {"upper", "camel"} <= classes_named("all-caps and camelCase words")
    assert not classes_named("yearning")


def test_lists_hold_words_in_the_form_in_which_they_are_compared() -> None:
    assert [
        word for words in word_lists().values() for word in words if normalise(word) != word
    ] == []


def test_content_words_keep_order_and_come_once() -> None:
    assert content_words("the fox, a dog and the Fox's den: fox!") == ("fox", "dog", "fox's", "den")


@pytest.mark.parametrize(
    ("word", "expected"),
    [("running", "run"), ("dog's", "dog"), ("foxes", "fox"), ("'", "'"), ("слова", "слова")],
)
def test_a_stem_drops_endings_and_contractions(word: str, expected: str) -> None:
    assert stem(word) == expected


def test_what_is_said_of_a_word_is_kept_unless_the_word_is_endless() -> None:
    asked: list[str] = []

    @remembered
    def length(word: str) -> int:
        asked.append(word)
        return len(word)

    endless = "x" * 100_000
    assert [length(word) for word in ("fox", endless) * 3] == [3, 100_000] * 3
    assert asked == ["fox", *[endless] * 3]


def test_stems_are_the_same_from_many_threads() -> None:
    roots = [f"{'un' * 40}{root}" for root in ("walk", "jump", "climb")]  # too long to be kept
    words = [f"{root}{end}" for root in roots for end in ("s", "ed", "ing")]
    found: list[list[str]] = []

    def work() -> None:
        found.extend([stem(word) for word in words] for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80
    assert {tuple(stems) for stems in found} == {tuple(root for root in roots for _ in range(3))}
