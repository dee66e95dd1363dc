from __future__ import annotations

import pytest
from models import fast_encoder, words_of

from stages.lexical import parse
from stages.occurrences import occurrences
from stages.words import Words

LEXICAL = [
    # feature, explanation, text, the feature of each word
    ("target_word", "the word 'she'", "she shelled shes She", [1, 0, 0, 1]),
    ("target_word", "‘don't’", "don’t dont Don't", [1, 0, 1]),
    ("target_word", "'so far'", "so far", [0, 0]),
    ("target_stem", "the word 'runs'", "run runner running ran", [1, 0, 1, 0]),
    ("target_first", "'fox' or 'dog'", "foxes dogs", [1, 0]),
    ("target_any_word", "'so far'", "so good farm far", [1, 0, 0, 1]),
    ("target_case", "the word 'Fox'", "Fox fox FOX", [1, 0, 0]),
    ("target_inside", "the word 'she'", "she Shelled ashes hers", [0, 1, 1, 0]),
    ("target_inside", "the word 'a'", "cat a", [0, 0]),
    ("target_phrase", "'so far'", "so far so good far", [1, 2, 0, 0, 0]),
    ("example_phrase", "as in 'run so far'", "he runs so far", [0, 1, 1, 2]),
    ("example_phrase", "such as 'no no'", "no no no", [1, 2, 2]),
    ("example_phrase", "as in 'fox'", "a fox", [0, 2]),
    ("example_phrase_near", "as in 'so far'", "a b so far c d e", [1, 2, 2, 2, 2, 2, 0]),
    ("example_word", "'to' as in 'proud to announce'", "proudly announces a too", [1, 1, 0, 0]),
    ("example_last", "'to' as in 'proud of it'", "proud of it to", [0, 0, 1, 1]),
    ("example_first", "'to' as in 'proud of it'", "proud of it to", [1, 0, 0, 1]),
    ("bigram_here", "as in 'proud to announce'", "to announce proud to go", [0, 1, 0, 1, 0]),
    ("bigram_next", "as in 'proud to announce'", "to announce proud to go", [1, 0, 1, 0, 0]),
    ("affix", "words ending in 'ous'", "famous house fame ous", [1, 0, 0, 1]),
    ("affix", "'un-' or '-ing'", "Undo going sun ingot", [1, 1, 0, 0]),
    ("before_1", "'to' after 'proud'", "proud to be proud", [0, 1, 0, 0]),
    ("before_1", "verbs after a pronoun", "she ran ran", [0, 1, 0]),
    ("before_4", "'to' after 'proud'", "proud a b c d e", [0, 1, 1, 1, 1, 0]),
    ("before_12", "'to' after 'proud'", "proud " + "a " * 13, [0] + [1] * 12 + [0]),
    ("after_1", "'the' before 'best'", "best the best of", [0, 1, 0, 0]),
    ("after_1", "'the' before a superlative", "the best of the", [1, 0, 0, 0]),
    ("after_1", "words before a colon", "note : this", [1, 0, 0]),
    ("after_4", "'the' before 'best'", "a b c d e best", [0, 1, 1, 1, 1, 0]),
    ("is_before_term", "'to' after 'proud'", "proud to", [1, 0]),
    ("is_after_term", "'the' before 'best'", "the best", [0, 1]),
    ("head_word", "animals in cold places", "an animal in a place", [0, 1, 0, 0, 0]),
    ("context_word", "animals in cold places", "an animal in a place", [0, 0, 0, 0, 1]),
    ("context_near", "animals in cold places", "cold a b c d e f", [0, 1, 1, 1, 1, 1, 0]),
    ("context_left", "animals in cold places", "cold a b c d e cold", [0, 1, 1, 1, 1, 0, 0]),
    ("head_near", "animals in cold places", "a b c d e f animal", [0, 1, 1, 1, 1, 1, 0]),
    ("context_in_text", "animals in cold places", "cold cold place a", [3, 3, 3, 3]),
    ("head_in_text", "animals in cold places", "animals a cold animal", [2, 2, 2, 2]),
    ("excluded", "'door', not 'next door'", "door next a", [1, 1, 0]),
    ("excluded", "animals but not pets", "animal pet", [0, 1]),
    ("excluded_near", "animals but not pets", "pet a b c", [0, 1, 1, 0]),
    ("head_class", "pronouns in letters", "she and 7", [1, 0, 0]),
    ("head_class", "years and numbers", "1999 12 one fox", [2, 1, 1, 0]),
    ("context_class", "verbs after pronouns", "she ran", [1, 0]),
    ("in_place", "words in brackets", "fox ( dog )", [-1, -1, 1, -1]),
    ("context_class_left", "verbs after pronouns", "she ran a b c d", [0, 1, 1, 1, 1, 0]),
    ("context_class_right", "verbs before pronouns", "a b c d e she", [0, 1, 1, 1, 1, 0]),
    ("example_words_near", "as in 'so far'", "so a far far b", [2, 3, 2, 2, 3]),
]


@pytest.mark.parametrize(("name", "explanation", "text", "expected"), LEXICAL)
def test_a_lexical_feature_says_where_its_terms_stand(
    name: str, explanation: str, text: str, expected: list[int]
) -> None:
    # The same words in another text must change nothing.
    around = "proud best cold animal pet so far she"
    words = Words(fast_encoder().encode(words_of(around, text, around)))
    found = occurrences(parse(explanation), words)[name]
    size = len(words_of(around)[0])
    assert found[size:-size].tolist() == expected


def test_every_lexical_feature_is_tried_above() -> None:
    words = Words(fast_encoder().encode([("fox",)]))
    assert {name for name, *_ in LEXICAL} == set(occurrences(parse("fox"), words))
