from __future__ import annotations

from typing import Any

import pytest
from features import (
    DELPHI_SCORES,
    LATENT_RECORD,
    NEURON_RECORD,
    NEURONPEDIA,
    NEURONPEDIA_LINES,
    OURS,
    RECORDS,
    SILENT,
    SIMULATION_RESULTS,
)

from pipeline.errors import InvalidRequest
from pipeline.formats import (
    Explanations,
    Feature,
    is_lone_activation,
    read_explanations,
    read_feature,
)
from pipeline.records import Request

SILENT_RECORD = {"tokens": SILENT, "values": [0.0, 0.0, 0.0]}


@pytest.mark.parametrize(
    ("raw", "name", "explanations", "records"),
    [
        (OURS, "7", ("fast animals",), RECORDS),
        (
            NEURONPEDIA,
            "gemma-2-2b/20-gemmascope-res-16k/10956",
            ("fast animals", "colours"),
            RECORDS,
        ),
        (NEURON_RECORD, "9/6236", (), [*RECORDS, SILENT_RECORD]),
        (LATENT_RECORD, None, ("fast animals",), [RECORDS[1], SILENT_RECORD]),
        ({**LATENT_RECORD, "test": []}, None, ("fast animals",), [*RECORDS, SILENT_RECORD]),
        (DELPHI_SCORES, None, (), [*RECORDS, SILENT_RECORD]),
        (
            {"id": 7, "explanations": ["a", {"description": "b"}], "activations": RECORDS},
            "7",
            ("a", "b"),
            RECORDS,
        ),
        (
            {
                "feature": "x",
                "explanation": "a",
                "activation_records": NEURON_RECORD["random_sample"],
            },
            "x",
            ("a",),
            [SILENT_RECORD],
        ),
    ],
)
def test_each_form_is_recognised(
    raw: Any, name: str | None, explanations: tuple[str, ...], records: list[Any]
) -> None:
    found = read_feature(raw)
    assert (found.id, found.explanations) == (name, explanations)
    parsed = Request.parse("any", found.activations).records
    assert [(list(one.tokens), one.values.tolist()) for one in parsed] == [
        (one["tokens"], one["values"]) for one in records
    ]


def test_older_latents_keep_their_test_texts_by_quantile() -> None:
    found = read_feature({"test": [[one] for one in LATENT_RECORD["examples"]], "not_active": []})
    assert len(Request.parse("any", found.activations).records) == 2


def test_only_our_own_form_carries_options() -> None:
    assert read_feature({**OURS, "tolerance": 0.2}).options["tolerance"] == 0.2
    assert "llm" not in read_feature({**NEURONPEDIA, "llm": False}).options
    assert "llm" not in read_feature({**NEURON_RECORD, "llm": False}).options


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([1, 2], "found list"),
        ("text", "found str"),
        ({"id": {}, "activations": []}, "id: expected a string"),
        ({"id": True, "activations": []}, "id: expected a string"),
        ({"examples": [{"tokens": [1], "activations": [0.5]}]}, "token ids only"),
    ],
)
def test_what_is_no_feature_is_refused(raw: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        read_feature(raw)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (SIMULATION_RESULTS, ("9/6236", ("fast animals",))),
        (
            {"modelId": "m", "layer": "l", "index": "3", "description": "cats", "typeName": "t"},
            ("m/l/3", ("cats",)),
        ),
        ({"id": 3, "explanation": "cats"}, ("3", ("cats",))),
        ({"id": "3", "explanations": ["cats", "dogs"]}, ("3", ("cats", "dogs"))),
    ],
)
def test_explanations_are_read_from_files_of_their_own(raw: Any, expected: Any) -> None:
    assert read_explanations(raw) == expected


@pytest.mark.parametrize("raw", [{"id": "3"}, {"explanation": "cats"}, [], None])
def test_explanations_without_a_name_or_words_are_refused(raw: Any) -> None:
    with pytest.raises(InvalidRequest):
        read_explanations(raw)


def test_explanations_from_elsewhere_take_the_place_of_a_feature_s_own() -> None:
    feature, nameless = Feature("a", ("own",), []), Feature(None, (), [])
    assert Explanations().of(feature) == ("own",)
    assert Explanations(("all",)).of(feature) == ("all",)
    assert Explanations(by_id={"a": ("given", "too")}).of(feature) == ("given", "too")
    assert Explanations(by_id={"b": ("given",)}).of(feature) == ("own",)
    # None is what a request without an explanation is refused for.
    assert Explanations().of(nameless) == (None,)


def test_a_line_of_neuronpedia_s_activations_is_told_from_a_feature() -> None:
    assert is_lone_activation(NEURONPEDIA_LINES[0])
    assert not any(is_lone_activation(raw) for raw in (NEURONPEDIA, OURS, RECORDS[0], None))
