from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidRequest, RequestTooLarge
from pipeline.records import ActivationRecord, Limits, Request
from pipeline.wire import ScoreCall, read_json

RECORD = {"tokens": [" a", " b"], "values": [0, 1.5]}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
almost_records = st.fixed_dictionaries(
    {}, optional={"tokens": st.lists(st.text()) | json_values, "values": json_values}
)


def refusal(explanation: Any = "cats", activations: Any = (RECORD,)) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        Request.parse(explanation, activations)
    return caught.value


def test_a_request_keeps_the_order_tokens_and_values() -> None:
    request = Request.parse("  cats ", [RECORD, {"tokens": [" c"], "values": [-2]}])
    assert request.explanation == "cats"
    assert [record.tokens for record in request.records] == [(" a", " b"), (" c",)]
    assert request.true_values.tolist() == [0.0, 1.5, -2.0]
    assert [text.text for text in request.texts] == [" a b", " c"]


def test_records_and_arrays_are_taken_too() -> None:
    record = ActivationRecord((" a", " b"), np.array([0.0, 1.5]))
    mixed = {"tokens": (" a",), "values": np.array([3], dtype=np.float32)}
    request = Request.parse("cats", (record, mixed))
    assert request.true_values.tolist() == [0.0, 1.5, 3.0]


def test_keys_that_are_not_ours_are_ignored() -> None:
    assert Request.parse("cats", [{**RECORD, "dataIndex": None}]).records[0].values.tolist()


@pytest.mark.parametrize("explanation", [None, "", " \n\t", "\u200b", 3, ["cats"], "cat \ud83d"])
def test_an_explanation_that_says_nothing_is_refused(explanation: object) -> None:
    assert refusal(explanation).field == "explanation"


@pytest.mark.parametrize("explanation", ["“the”", "!", "の", "😀"])
def test_a_short_explanation_is_taken(explanation: str) -> None:
    assert Request.parse(explanation, [RECORD]).explanation == explanation


@pytest.mark.parametrize("activations", [None, [], "text", b"text", RECORD, 3, {}])
def test_activations_must_be_a_list_that_holds_something(activations: object) -> None:
    assert refusal(activations=activations).field == "activations"


@pytest.mark.parametrize(
    ("record", "field"),
    [
        (None, ""),
        ([" a"], ""),
        ({"values": [1]}, ".tokens"),
        ({"tokens": [], "values": []}, ".tokens"),
        ({"tokens": " a", "values": [1]}, ".tokens"),
        ({"tokens": [" a", 7], "values": [1, 2]}, ".tokens[1]"),
        ({"tokens": [" a"]}, ".values"),
        ({"tokens": [" a"], "values": "1"}, ".values"),
        ({"tokens": [" a"], "values": [1, 2]}, ".values"),
        ({"tokens": [" a"], "values": []}, ".values"),
        ({"tokens": [" a", " b"], "values": [1, None]}, ".values[1]"),
        ({"tokens": [" a"], "values": ["1"]}, ".values[0]"),
        ({"tokens": [" a"], "values": [True]}, ".values[0]"),
        ({"tokens": [" a"], "values": [float("nan")]}, ".values[0]"),
        ({"tokens": [" a"], "values": [float("inf")]}, ".values[0]"),
        ({"tokens": [" a"], "values": [-1e200]}, ".values[0]"),
        ({"tokens": [" a"], "values": [10**5000]}, ".values[0]"),
        ({"tokens": [" a"], "values": np.ones((1, 1))}, ".values[0]"),
    ],
)
def test_a_bad_record_is_refused_by_name(record: object, field: str) -> None:
    assert refusal(activations=[RECORD, record]).field == f"activations[1]{field}"


def test_the_message_states_both_numbers_and_the_remedy() -> None:
    message = str(refusal(activations=[{"tokens": [" a", " b"], "values": [1]}]))
    assert message == (
        "activations[0].values: 1 values for 2 tokens; send one value for each token"
    )


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        (Limits(texts=1), "activations"),
        (Limits(total_tokens=3), "activations"),
        (Limits(total_chars=7), "activations"),
        (Limits(total_words=3), "activations"),
        (Limits(tokens_per_text=1), "activations[0].tokens"),
        (Limits(token_chars=1), "activations[0].tokens[0]"),
        (Limits(explanation_chars=3), "explanation"),
    ],
)
def test_what_exceeds_a_limit_is_too_large(limits: Limits, field: str) -> None:
    with pytest.raises(RequestTooLarge) as caught:
        Request.parse("cats", [RECORD, RECORD], limits)
    assert caught.value.field == field


@given(json_values, json_values | st.lists(almost_records | json_values))
def test_any_json_parses_or_is_refused_by_field(explanation: Any, activations: Any) -> None:
    try:
        request = Request.parse(explanation, activations)
    except InvalidRequest as error:
        refused = str(error.field)
    else:
        assert np.isfinite(request.true_values).all()
        assert [list(record.tokens) for record in request.records] == [
            raw["tokens"] for raw in activations
        ]
        return
    assert refused.startswith(("explanation", "activations"))


@given(almost_records | json_values)
def test_any_json_is_a_record_or_refused_by_field(raw: Any) -> None:
    try:
        record = ActivationRecord.parse(raw, "record")
    except InvalidRequest as error:
        refused = str(error.field)
    else:
        assert len(record.tokens) == len(record.values) > 0
        return
    assert refused.startswith("record")


@given(json_values)
def test_the_options_of_any_json_are_checked(body: Any) -> None:
    try:
        call = ScoreCall.parse(body)
    except InvalidRequest:
        return
    assert 0 < call.tolerance <= 1
    assert call.max_llm_tokens is None or call.max_llm_tokens >= 0
    assert call.max_cost_usd is None or 0 <= call.max_cost_usd <= 1e9
    assert call.on_budget in {None, "refuse", "degrade"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("tolerance", value) for value in (0, -0.1, 1.01, 1e999, "0.1", True, None)),
        *(("max_llm_tokens", value) for value in (-1, 1.5, 1e999, "9", False, 10**400)),
        *(("max_cost_usd", value) for value in (-0.1, 10**400, 1e999, "9", True)),
        *(("on_budget", value) for value in ("", "Refuse", 1, ["degrade"])),
        *((name, value) for name in ("adjust", "llm") for value in (0, "no", None)),
    ],
)
def test_an_option_of_the_wrong_type_or_range_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ScoreCall.parse({"explanation": "cats", "activations": [RECORD], name: value})
    assert caught.value.field == name


def test_nesting_up_to_the_limit_is_read() -> None:
    assert read_json(b"[" * 20 + b"]" * 20)
    assert read_json(b"1") == 1


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("m\u200bo\u200br\u200be", "more"),
        ("cats\U000e006d\U000e0061\U000e0072\U000e006b", "cats"),
        ("\u202ecats\u202c \u2067and\u2069 \u200fdogs\ufeff", "cats and dogs"),
        ("so\u00adft \u3164hyphen\u2060", "soft hyphen"),
        ("\ufe0f\ufe0fcats\U000e0101", "cats"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क्\u200dष\u200d\u200d\u200d", "क्\u200dष\u200d"),
        ("hearts ❤\ufe0f 👩\u200d🚀", "hearts ❤\ufe0f 👩\u200d🚀"),
        ("the '…', ½ and ＡＢＣ", "the '…', ½ and ＡＢＣ"),
    ],
)
def test_of_an_explanation_only_what_can_be_seen_is_read(sent: str, read: str) -> None:
    assert Request.parse(sent, [RECORD]).explanation == read


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ('"names of animals such as dogs"', "names of animals such as dogs"),
        ("“words for “big” things in poems”", "“words for “big” things in poems”"),
        ("‘ the word cat in any tale ’", "the word cat in any tale"),
        ("'as if it were'", "'as if it were'"),
        ("'cat' or 'dog' before the verb 'to be'", "'cat' or 'dog' before the verb 'to be'"),
        ('"', '"'),
    ],
)
def test_quotation_marks_around_a_whole_explanation_are_no_part_of_it(sent: str, read: str) -> None:
    assert Request.parse(sent, [RECORD]).explanation == read


@pytest.mark.parametrize("blank", ["\u200b", "\u3164", "\U000e0041", "\ufe0f\u200d", "\u00ad "])
def test_an_explanation_that_nobody_sees_is_empty(blank: str) -> None:
    with pytest.raises(InvalidRequest, match="empty"):
        Request.parse(blank, [RECORD])


def test_limits_hold_before_the_rest_is_read() -> None:
    """The first records exceed the limit, so the broken one behind them is never looked at."""
    with pytest.raises(RequestTooLarge):
        Request.parse("cats", [RECORD, RECORD, "broken"], Limits(total_tokens=3))
    with pytest.raises(InvalidRequest, match="3 values for 2 tokens"):
        Request.parse("cats", [{"tokens": ["a", "b"], "values": ["never", "looked", "at"]}])


@given(st.binary())
def test_any_bytes_are_json_or_refused(body: bytes) -> None:
    try:
        value = read_json(body)
    except InvalidRequest:
        return
    json.dumps(value)


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=8))
def test_strict_reading_agrees_with_json_on_what_is_json(value: Any) -> None:
    assert read_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'"\xff"', "not UTF-8"),
        (b'{"a": NaN}', "NaN"),
        (b"[-Infinity]", "-Infinity"),
        (b'[{"a": 1, "a": 1}]', "'a' occurs twice"),
        (b"[" * 100_000, "too deep"),
        (b"[" * 100_000 + b"]" * 100_000, "too deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "too deep"),
        (b"[" * 21 + b"]" * 21, "too deep; at most 20"),
        (b'[1, {"a": ' * 10 + b"[1]" + b"}]" * 10, "too deep"),
        (b"9" * 5000, "too many digits"),
    ],
)
def test_what_is_not_strict_json_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        read_json(body)
