from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from serving import CLASSIC, KEY, answer, refused, serving, shared_scorer, strict_json

import pipeline
from pipeline.examples import load_examples
from pipeline.settings import Settings


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    """Of a server that demands the secret."""
    settings = Settings(port=0, server_key=KEY, max_body_bytes=200_000)
    with serving(shared_scorer(), settings) as client:
        yield client


def test_the_classic_example_scores_high_in_the_classic_shape(client: httpx2.Client) -> None:
    found = answer(client)
    assert found["score"] >= 0.5
    assert found["version"] == pipeline.__version__
    first = found["simulations"][0]
    assert first.keys() == {
        "simulation",
        "true_activations",
        "ev_correlation_score",
        "rsquared_score",
        "absolute_dev_explained_score",
    }
    assert first["simulation"]["distribution_values"] == []


def test_without_an_llm_the_route_is_cheap_and_says_why(client: httpx2.Client) -> None:
    for options in ({}, {"llm": False}, {"max_llm_tokens": 0}):
        found = answer(client, **options)
        assert (found["route"], found["status"]) == ("cheap", "ok")
        assert found["usage"]["total_tokens"] == 0


def test_a_real_feature_ranks_true_explanations_before_others(client: httpx2.Client) -> None:
    example = load_examples()[1]
    scores = [
        answer(client, explanation=explanation, activations=list(example.activations))["score"]
        for explanation in example.explanations
    ]
    good, token, broad, wrong = scores
    assert min(good, token) > max(broad, wrong)


def test_scores_at_once_are_those_of_one_after_another(client: httpx2.Client) -> None:
    asked = ["fast animals", "animals", "words about speed", "colours"]
    alone = [answer(client, explanation=explanation) for explanation in asked]
    with ThreadPoolExecutor(len(asked)) as pool:
        together = list(pool.map(lambda text: answer(client, explanation=text), asked))
    assert together == alone


def test_the_adjustment_can_be_declined(client: httpx2.Client) -> None:
    found = answer(client, adjust=False)
    assert found["adjustment"] is None
    assert found["score"] == found["raw_score"]


def test_unknown_keys_are_ignored(client: httpx2.Client) -> None:
    record = {**CLASSIC["activations"][0], "dataIndex": 3}  # type: ignore[dict-item]
    assert answer(client, modelId="gpt2-small", activations=[record])["score"] is not None


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_the_content_type_does_not_matter(client: httpx2.Client, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    body = json.dumps({**CLASSIC, "secret": KEY})
    assert client.post("/score", content=body, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "tokens",
    [
        ["The", "Ġquick", "Ċ", "âĢĻ", "ðŁĺ", "Ģ"],
        ["▁The", "<0x0A>", "s", "</s>"],
        ["", " ", "\n\t", "\u0000", "\u001b[31m", "\u2028"],
        ["<|endoftext|>", " naïve", " 猫", " 😀", "e\u0301", "\ud83d", "\ude00"],
        ["</script><script>alert(1)</script>", '"}]', "\\"],
    ],
)
def test_tokens_come_back_exactly_as_sent(client: httpx2.Client, tokens: list[str]) -> None:
    values = [float(index % 3) for index in range(len(tokens))]
    answer(client, activations=[{"tokens": tokens, "values": values}])


def test_a_silent_text_among_others_does_no_harm(client: httpx2.Client) -> None:
    silent = {"tokens": [" no", " animal"], "values": [0, 0]}
    found = answer(client, activations=[*CLASSIC["activations"], silent])
    assert found["score"] >= 0.3
    assert found["simulations"][2]["ev_correlation_score"] == 0.0
    assert found["simulations"][2]["rsquared_score"] is None


@pytest.mark.parametrize("value", [0, 2.5, -1])
def test_activations_that_are_all_equal_have_no_score(client: httpx2.Client, value: float) -> None:
    activations = [{"tokens": [" a", " fox"], "values": [value, value]}] * 2
    found = answer(client, activations=activations)
    assert (found["status"], found["score"], found["raw_score"]) == ("undefined", None, None)
    assert found["interval"] is None
    assert found["reason"]


@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    explanation=st.text(min_size=1, max_size=60).map(lambda text: f"cats {text}"),
    activations=st.lists(
        st.lists(
            st.tuples(st.text(max_size=8), st.floats(min_value=-1e100, max_value=1e100)),
            min_size=1,
            max_size=6,
        ).map(
            lambda pairs: {
                "tokens": [token for token, _ in pairs],
                "values": [value for _, value in pairs],
            }
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_any_valid_request_is_answered_without_nan(
    client: httpx2.Client, explanation: str, activations: list[dict[str, Any]]
) -> None:
    answer(client, explanation=explanation, activations=activations)


@pytest.mark.parametrize("secret", ["wrong", "", None, 7, ["s3cret"], {}, "\ud800", KEY + " "])
def test_a_wrong_secret_is_refused(client: httpx2.Client, secret: object) -> None:
    assert refused(client, {**CLASSIC, "secret": secret}) == (401, "secret", "unauthorised")


@pytest.mark.parametrize("body", [CLASSIC, {}, {"explanation": ""}, b"[]", b"null"])
def test_without_the_secret_nothing_else_is_looked_at(client: httpx2.Client, body: Any) -> None:
    assert refused(client, body)[0] == 401


def test_an_open_server_needs_no_secret() -> None:
    with serving(shared_scorer(), Settings(port=0)) as client:
        assert client.post("/score", json=CLASSIC).status_code == 200
        assert refused(client, b"[]") == (400, None, "invalid_request")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"explanation": ""}, "explanation"),
        ({"explanation": None}, "explanation"),
        ({"explanation": "half \ud800"}, "explanation"),
        ({"activations": []}, "activations"),
        ({"activations": None}, "activations"),
        ({"activations": "text"}, "activations"),
        ({"activations": [3]}, "activations[0]"),
        ({"activations": [{"tokens": ["a"], "values": [1, 2]}]}, "activations[0].values"),
        ({"activations": [{"tokens": ["a"], "values": []}]}, "activations[0].values"),
        ({"activations": [{"tokens": ["a"], "values": [None]}]}, "activations[0].values[0]"),
        ({"activations": [{"tokens": [1], "values": [1]}]}, "activations[0].tokens[0]"),
        ({"activations": [{"tokens": ["a"], "values": [10**300]}]}, "activations[0].values[0]"),
        ({"tolerance": 0}, "tolerance"),
        ({"max_llm_tokens": -1}, "max_llm_tokens"),
        ({"max_cost_usd": "1"}, "max_cost_usd"),
        ({"on_budget": "ignore"}, "on_budget"),
        ({"adjust": "no"}, "adjust"),
        ({"llm": None}, "llm"),
    ],
)
def test_bad_input_is_refused_by_field(
    client: httpx2.Client, change: Mapping[str, Any], field: str
) -> None:
    request = {**CLASSIC, "secret": KEY, **change}
    assert refused(client, request) == (400, field, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"explanation=cats",
        b'{"explanation": "cats"',
        b'{"explanation": "\xff"}',
        b'{"explanation": "a", "explanation": "b"}',
        b'{"activations": [{"tokens": ["a"], "values": [NaN]}]}',
        b'{"activations": [{"tokens": ["a"], "values": [-Infinity]}]}',
        b"[" * 50_000,
        b'{"a":' * 30_000 + b"1" + b"}" * 30_000,
        b"1" * 5000,
    ],
)
def test_what_is_not_json_is_refused(client: httpx2.Client, body: bytes) -> None:
    assert refused(client, body) == (400, None, "invalid_request")


def test_a_number_beyond_double_range_is_refused(client: httpx2.Client) -> None:
    body = json.dumps({**CLASSIC, "secret": KEY}).replace("2.5", "1e999").encode()
    assert refused(client, body) == (400, "activations[0].values[3]", "invalid_request")


def test_a_body_beyond_the_limit_is_too_large(client: httpx2.Client) -> None:
    assert refused(client, b" " * 200_001) == (413, None, "too_large")


def test_too_many_texts_are_too_large(client: httpx2.Client) -> None:
    activations = [{"tokens": ["a"], "values": [1]}] * 501
    request = {**CLASSIC, "secret": KEY, "activations": activations}
    assert refused(client, request) == (413, "activations", "too_large")


def test_unknown_paths_and_methods_are_refused_in_json(client: httpx2.Client) -> None:
    assert strict_json(client.get("/nothing"), "Error")["code"] == "not_found"
    response = client.get("/score")
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]
    assert strict_json(response, "Error")["code"] == "method_not_allowed"
