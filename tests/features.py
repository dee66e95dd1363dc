"""One small feature in each form in which features are kept, as their tools write it."""

from __future__ import annotations

from typing import Any

TEXTS = [["the", " quick", " brown", " fox"], ["spotted", " leopard", " sprints", " at"]]
VALUES = [[0.0, 2.0, 0.0, 2.5], [0.5, 2.5, 1.5, 0.0]]
SILENT = ["a", " slow", " snail"]
RECORDS: list[Any] = [{"tokens": t, "values": v} for t, v in zip(TEXTS, VALUES, strict=True)]

OURS: dict[str, Any] = {"id": "7", "explanation": "fast animals", "activations": RECORDS}

NEURONPEDIA: dict[str, Any] = {
    "modelId": "gemma-2-2b",
    "layer": "20-gemmascope-res-16k",
    "index": "10956",
    "sourceSetName": "gemmascope-res-16k",
    "maxActApprox": 2.5,
    "pos_str": [" fox"],
    "pos_values": [1.1],
    "frac_nonzero": 0.01,
    "explanations": [
        {
            "id": "cl1",
            "description": "fast animals",
            "typeName": "oai_token-act-pair",
            "scores": [],
        },
        {"id": "cl2", "description": "colours", "explanationModelName": "gpt-4o-mini"},
    ],
    "activations": [
        {**record, "id": f"a{n}", "maxValue": 2.5, "maxValueTokenIndex": 1, "dfaValues": []}
        for n, record in enumerate(RECORDS)
    ],
}

NEURONPEDIA_LINES: list[dict[str, Any]] = [
    {"modelId": "gpt2-small", "layer": "6-res-jb", "index": index, **record, "maxValue": 2.5}
    for index in ("204", "205")
    for record in RECORDS
]

NEURON_RECORD: dict[str, Any] = {
    "dataclass_name": "NeuronRecord",
    "neuron_id": {"dataclass_name": "NeuronId", "layer_index": 9, "neuron_index": 6236},
    "random_sample": [
        {"dataclass_name": "ActivationRecord", "tokens": SILENT, "activations": [0.0, 0.0, 0.0]}
    ],
    "random_sample_by_quantile": [[{"tokens": ["x"], "activations": [0.1]}]],
    "quantile_boundaries": [0.99],
    "mean": None,
    "variance": 0.2,
    "most_positive_activation_records": [
        {"dataclass_name": "ActivationRecord", "tokens": t, "activations": v}
        for t, v in zip(TEXTS, VALUES, strict=True)
    ],
}

SIMULATION_RESULTS: dict[str, Any] = {
    "dataclass_name": "NeuronSimulationResults",
    "neuron_id": {"dataclass_name": "NeuronId", "layer_index": 9, "neuron_index": 6236},
    "scored_explanations": [
        {
            "dataclass_name": "ScoredExplanation",
            "explanation": "fast animals",
            "scored_simulation": {"ev_correlation_score": 0.4, "scored_sequence_simulations": []},
        }
    ],
}

_ACTIVE: list[Any] = [
    {"tokens": [1, 2, 3, 4], "activations": v, "normalized_activations": None, "str_tokens": t}
    for t, v in zip(TEXTS, VALUES, strict=True)
]
_NOT_ACTIVE = {"tokens": [5, 6, 7], "activations": [0.0] * 3, "str_tokens": SILENT, "distance": 0.0}

LATENT_RECORD: dict[str, Any] = {
    "examples": _ACTIVE,
    "not_active": [_NOT_ACTIVE],
    "train": [_ACTIVE[0]],
    "test": [_ACTIVE[1]],
    "neighbours": [],
    "explanation": "fast animals",
    "per_token_frequency": 0.01,
}

DELPHI_SCORES: list[dict[str, Any]] = [
    {
        "str_tokens": one["str_tokens"],
        "activations": one["activations"],
        "distance": 1,
        "activating": one is not _NOT_ACTIVE,
        "prediction": True,
        "probability": None,
        "correct": True,
    }
    for one in (*_ACTIVE, _NOT_ACTIVE)
]
