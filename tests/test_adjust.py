from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import predictor, request, words_of

from pipeline.records import Request
from pipeline.result import Adjustment
from pipeline.scoring import correlation_score
from pipeline.simulation import FloatArray
from stages.adjust import adjust_for_context, contrast_correlation, weighted_correlation
from stages.background import background
from stages.contrast import Contrast, find_contrasts
from stages.vocabulary import normalise

# Fires on "time" in one phrase only; the background has the word in hundreds of other places.
TALES = (
    "once upon a time*9 there was a king",
    "it was once upon a time*8 in the west",
    "she told me : once upon a time*9 a fox lived",
    "once upon a time*7 , long ago , people sang",
    "and so , once upon a time*9 , it began",
    "we say once upon a time*8 to begin a tale",
    "the book opens once upon a time*9 in a forest",
    "once upon a time*8 two brothers went out",
)
TOKEN_ONLY = "the word 'time'"
WITH_CONTEXT = "'time' in the phrase 'once upon a time'"


def adjust(asked: Request, raw: float = 0.9) -> Adjustment:
    prediction = predictor().predict(asked)
    contrasts = find_contrasts(prediction, predictor())
    return adjust_for_context(asked, contrasts, prediction.strengths, raw)


def everywhere(word: str) -> Request:
    """A neuron that fires on every occurrence of a word, in texts of the background."""
    texts = dict.fromkeys(text for text, _ in background().places[word][1::2])
    records = [
        {
            "tokens": [f" {w}" for w in words],
            "values": [9.0 * (normalise(w) == word) for w in words],
        }
        for words in (background().words[text] for text in list(texts)[:12])
    ]
    return Request.parse(f"the word '{word}'", records)


def contrast_of(asked: Request) -> Contrast:
    return find_contrasts(predictor().predict(asked), predictor()).context


def reweighed(contrast: Contrast, by: float) -> Contrast:
    weights = contrast.weights * by
    return Contrast(
        contrast.texts, contrast.tokens, contrast.predicted, contrast.strengths, weights
    )


def test_an_explanation_by_the_token_alone_loses_more_than_one_with_the_context() -> None:
    token_only, with_context = (
        adjust(request(TOKEN_ONLY, *TALES)),
        adjust(request(WITH_CONTEXT, *TALES)),
    )
    assert token_only.taken_off > 0.05
    assert with_context.taken_off < token_only.taken_off / 2
    assert token_only.context_dependence == with_context.context_dependence > 0.8
    assert token_only.context_match < 0.2 < with_context.context_match
    assert min(token_only.token_match, with_context.token_match) > 0.5
    assert "'time' in other contexts" in token_only.reason


@pytest.mark.parametrize("word", ["captain", "water", "night"])
def test_a_neuron_that_fires_on_every_occurrence_of_a_word_loses_next_to_nothing(word: str) -> None:
    found = adjust(everywhere(word), 0.99)
    assert found.token_match > 0.5
    assert found.context_match < 0.5
    assert found.context_dependence < 0.4
    assert found.taken_off < 0.06


@pytest.mark.parametrize("raw", [0.0, -0.001, -1.0])
def test_nothing_is_taken_off_a_score_that_is_not_positive(raw: float) -> None:
    found = adjust(request(TOKEN_ONLY, *TALES), raw)
    assert found.taken_off == 0.0
    assert found.evidence == ()
    assert found.context_match < 0.2


@pytest.mark.parametrize("explanation", [TOKEN_ONLY, WITH_CONTEXT, "a king in a forest", "zyzzyva"])
def test_an_adjustment_only_takes_off(explanation: str) -> None:
    found = adjust(request(explanation, *TALES))
    assert 0 <= found.taken_off <= 1
    for share in (found.token_match, found.context_match, found.context_dependence):
        assert 0 <= share <= 1


def test_evidence_is_background_texts_with_the_token_strongest_first() -> None:
    evidence = adjust(request(TOKEN_ONLY, *TALES)).evidence
    assert 0 < len(evidence) <= 5
    for found in evidence:
        assert found.text in background().texts
        assert normalise(found.token) == "time"
        assert found.token in words_of(found.text)[0]
        assert 0 < found.predicted <= 10
        assert 0 < found.weight <= 1
    effects = [found.predicted * found.weight for found in evidence]
    assert effects == sorted(effects, reverse=True)


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param(("a zyzzyva*9 ran", "one zyzzyva*8"), id="word unknown to the background"),
        pytest.param(("once upon a time*9",), id="one record"),
        pytest.param(("once upon a time*9", "a time*4"), id="one strong record"),
        pytest.param(("once*-1 time*-2", "a*-3 time*-1"), id="never positive"),
    ],
)
def test_without_other_places_nothing_is_taken_off(texts: Sequence[str]) -> None:
    found = adjust(request("the word 'zyzzyva'", *texts))
    assert (found.taken_off, found.context_match, found.evidence) == (0.0, 1.0, ())
    assert "no text of the background holds a peak word in another place" in found.reason


def test_silent_records_do_not_count_as_misses() -> None:
    plain = adjust(request(TOKEN_ONLY, *TALES))
    silent = adjust(request(TOKEN_ONLY, *TALES, "the king sat", "a fox ran", "no one came"))
    assert silent.token_match == pytest.approx(plain.token_match, abs=0.1)


def test_a_match_is_read_where_the_peak_word_ends() -> None:
    tokens = [" once", " upon", " a", " ti", "me", " there"]
    asked = Request.parse(TOKEN_ONLY, [{"tokens": tokens, "values": [0, 0, 0, 9, 1, 0]}] * 4)
    assert adjust(asked).token_match > 0.5


def test_the_unit_of_the_activations_does_not_matter() -> None:
    plain = request(TOKEN_ONLY, *TALES)
    small = [{"tokens": r.tokens, "values": r.values * 1e-13} for r in plain.records]
    found = adjust(Request.parse(TOKEN_ONLY, small)).taken_off
    assert found == pytest.approx(adjust(plain).taken_off)


@pytest.mark.parametrize("rest", [3.0, 1e6, -5.0])
def test_where_a_silent_neuron_rests_does_not_matter(rest: float) -> None:
    plain = request(TOKEN_ONLY, *TALES)
    raised = [{"tokens": r.tokens, "values": r.values + rest} for r in plain.records]
    moved = Request.parse(TOKEN_ONLY, raised)
    strengths = predictor().predict(plain).strengths
    found = find_contrasts(predictor().predict(plain), predictor())
    expected = contrast_correlation(plain, strengths, found.context)
    assert contrast_correlation(moved, strengths, found.context) == pytest.approx(expected)


def test_texts_sent_twice_do_not_count_as_alike() -> None:
    plain = everywhere("time")
    assert adjust(plain).context_dependence < 0.2
    twice = Request(plain.explanation, plain.records * 2)
    assert adjust(twice).context_dependence == adjust(plain).context_dependence


def test_naming_words_that_never_fire_costs() -> None:
    narrow, broad = adjust(request("'time'", *TALES)), adjust(request("'time', 'water'", *TALES))
    assert narrow.for_breadth < 0.01
    assert broad.for_breadth > narrow.for_breadth + 0.02
    assert "'water', which it names and which fire in no record" in broad.reason


def test_naming_words_that_are_to_be_silent_costs_nothing() -> None:
    assert adjust(request("anything but 'water'", *TALES)).for_breadth == 0.0


LISTED = [f"one {word}*9 here" for word in ("king", "fox", "ship", "tree", "sea", "bread", "gold")]
AGAIN = [f"then {text}" for text in LISTED]
UNLISTED = [f"two {word}*9 there" for word in ("wolf", "star")]


def test_naming_the_peak_words_one_by_one_costs() -> None:
    texts = [*LISTED, *UNLISTED]
    found = adjust(request("'king', 'fox', 'ship', 'tree', 'sea', 'bread'", *texts), raw=0.6)
    assert found.for_listing > 0.1
    assert "names 6 words on which the records peak" in found.reason
    assert adjust(request("'king', 'fox', 'ship'", *texts), raw=0.6).for_listing == 0.0


def test_a_list_that_leaves_nothing_unexplained_costs_nothing() -> None:
    whole = ", ".join(f"'{text.split()[1].split('*')[0]}'" for text in LISTED)
    found = adjust(request(whole, *LISTED, *AGAIN), raw=0.97)
    assert found.for_listing == pytest.approx(0.0, abs=1e-9)
    assert "one by one" not in found.reason
    assert adjust(request(whole, *LISTED, *AGAIN, *UNLISTED), raw=0.97).for_listing > 0.3


def test_words_that_peak_once_are_read_off_their_records() -> None:
    whole = ", ".join(f"'{text.split()[1].split('*')[0]}'" for text in LISTED)
    assert adjust(request(whole, *LISTED), raw=0.97).for_listing > 0.3


def test_naming_words_that_peak_hardly_ever_costs() -> None:
    texts = [f"{n} king*9 here" for n in range(9)]
    texts += ["one fox*9 here", "one ship*9 here", "ship and fox", "fox or ship"]
    assert adjust(request("'king', 'fox'", *texts), raw=0.6).for_listing == 0.0
    assert adjust(request("'king', 'fox', 'ship'", *texts), raw=0.6).for_listing > 0.02


def test_listing_the_peak_words_of_weak_records_costs_too() -> None:
    strong = [f"{n} king*9 here" for n in range(9)]
    weak = ["one fox*2 here", "one ship*3 here"]
    asked = request("'king', 'fox', 'ship'", *strong, *weak, *weak)
    assert adjust(asked, raw=0.6).for_listing > 0.02
    assert adjust(request("'king', 'fox', 'ship'", *strong), raw=0.6).for_listing == 0.0


def test_words_that_join_others_are_not_listed() -> None:
    noise = ["one and*2 here", "two or*2 here", "the*2 lake there"]
    strong = [f"{n} king*9 here" for n in range(9)]
    for explanation in ("the words 'king' and 'fox' or 'ship'", "'king' as in 'the king and or'"):
        assert adjust(request(explanation, *strong, *noise), raw=0.6).for_listing == 0.0


def test_a_bare_list_of_function_words_is_one() -> None:
    words = ["to", "of", "in", "by", "for", "at"]
    texts = [f"one {word}*9 here" for word in (*words, *words, "wolf", "star")]
    assert adjust(request("to of in by for at", *texts), raw=0.6).for_listing > 0.1


def test_a_list_that_fits_in_part_costs_the_more_the_longer_it_is() -> None:
    texts = [text.replace("here", f"{n}") for n in range(3) for text in [*LISTED, *UNLISTED]]
    words = [f"'{text.split()[1].split('*')[0]}'" for text in LISTED]
    costs = [
        adjust(request(", ".join(words[:n]), *texts), raw=0.97).for_listing for n in (4, 5, 6, 7)
    ]
    assert costs[0] == 0.0
    assert costs == sorted(costs)
    assert costs[-1] > 0.5 * 0.97


def test_what_is_taken_off_is_the_sum_of_its_parts() -> None:
    found = adjust(request("'time', 'water', 'king'", *TALES))
    parts = found.for_context + found.for_breadth + found.for_listing
    assert found.taken_off == pytest.approx(parts)


def test_with_no_weight_the_correlation_is_the_plain_one() -> None:
    asked = request(TOKEN_ONLY, *TALES)
    strengths = predictor().predict(asked).strengths
    plain = correlation_score(asked.true_values, np.concatenate(strengths))
    found = contrast_of(asked)
    assert contrast_correlation(asked, strengths) == pytest.approx(plain)
    assert contrast_correlation(asked, strengths, reweighed(found, 0.0)) == pytest.approx(plain)
    assert contrast_correlation(asked, strengths, found) < plain - 0.05


def test_contrast_texts_never_outweigh_the_records() -> None:
    asked = request("foxes", "the fox*1 ran")
    strengths = [np.array([0.0, 10.0, 0.0])]

    def correlation(texts: int) -> float:
        firing = (np.array([10.0]),) * texts
        contrast = Contrast((0,) * texts, ("fox",) * texts, np.ones(0), firing, np.ones(texts))
        return contrast_correlation(asked, strengths, contrast)

    assert correlation(50) == pytest.approx(correlation(2))
    assert 0.4 < correlation(50) < correlation(1) < 1


pairs = st.lists(
    st.tuples(st.integers(-5, 5), st.integers(-5, 5), st.integers(0, 3)), min_size=1, max_size=8
).filter(lambda rows: any(weight for _, _, weight in rows))


def column(values: Sequence[int]) -> FloatArray:
    return np.array(values, dtype=np.float64)


@given(pairs)
def test_a_weight_counts_like_so_many_repetitions(rows: list[tuple[int, int, int]]) -> None:
    truth, guess, weight = map(column, zip(*rows, strict=True))
    times = weight.astype(int)
    expected = correlation_score(truth.repeat(times), guess.repeat(times))
    assert weighted_correlation(truth, guess, weight) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-300, 7.0])
def test_constant_input_has_no_correlation(value: float) -> None:
    truth, weight = np.array([0.0, 1.0, 3.0]), np.ones(3)
    assert weighted_correlation(truth, np.full(3, value), weight) == 0.0
    assert weighted_correlation(np.full(3, value), truth, weight) == 0.0
