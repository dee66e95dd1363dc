"""The forms in which features are kept, told apart by their structure.

==================  ===================================================================
ours                ``{"id", "explanation" or "explanations", "activations": [{"tokens",
                    "values"}], ...options}``; only these carry options of their own.
Neuronpedia         A feature as its API answers it (docs.neuronpedia.org, "API"): ``modelId``,
                    ``layer``, ``index``, ``activations[].tokens/values`` and
                    ``explanations[].description``. Its bulk exports (ibid., "Exports") have one
                    line an activation, those of a feature one after another, and the explanations
                    in files of their own.
OpenAI              ``NeuronRecord`` of `neuron_explainer.activations.activations`: ``neuron_id``,
                    ``most_positive_activation_records`` and ``random_sample``, each of ``{"tokens",
                    "activations"}``. The samples by quantile are left out. Explanations are in
                    ``NeuronSimulationResults`` (`neuron_explainer.explanations.explanations`).
delphi              ``LatentRecord`` of EleutherAI's `delphi.latents` as JSON, or the list of
                    ``{"str_tokens", "activations", ...}`` that its detection and fuzzing scorers
                    write for a latent. Its cache of activations (safetensors) holds token ids and
                    cannot be read without the tokenizer.
==================  ===================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import InvalidRequest

_OPENAI = ("most_positive_activation_records", "random_sample", "activation_records")
_DELPHI = ("test", "examples", "train", "not_active")
_NEURONPEDIA_ID = ("modelId", "layer", "index")


@dataclass(frozen=True, slots=True)
class Feature:
    """A neuron or SAE feature with its explanations, as read; nothing in it is checked yet.

    Attributes
    ----------
    id : what the file calls it; None where it has no name.
    options : further keys, among them those of a score.
    """

    id: str | None
    explanations: tuple[object, ...]
    activations: object
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explanations:
    """Explanations that come from elsewhere; they take the place of a feature's own.

    Attributes
    ----------
    of_all : for every feature.
    by_id : for the features of these names.
    """

    of_all: tuple[str, ...] = ()
    by_id: Mapping[str, tuple[object, ...]] = field(default_factory=dict)

    def of(self, feature: Feature) -> tuple[object, ...]:
        """What to score a feature on; an empty one for a feature without any explanation."""
        found = self.of_all or self.by_id.get(feature.id or "") or feature.explanations
        return found or (None,)


def read_feature(raw: object) -> Feature:
    """Recognise one feature.

    Raises
    ------
    InvalidRequest : for what is none of the known forms.
    """
    if _is_record_list(raw, "str_tokens"):
        raw = {"examples": raw}
    if not isinstance(raw, Mapping):
        raise InvalidRequest(
            "expected a JSON object with 'explanation' and 'activations', a feature of "
            f"Neuronpedia, a NeuronRecord or a latent of delphi, found {type(raw).__name__}"
        )
    if any(name in raw for name in _OPENAI):
        records = [one for name in _OPENAI for one in _list(raw, name)]
        return Feature(feature_id(raw), _explanations(raw), _renamed(records, "tokens"))
    if "activations" not in raw and any(_is_record_list(raw.get(name), "") for name in _DELPHI):
        return Feature(feature_id(raw), _explanations(raw), _delphi_records(raw))
    return Feature(
        feature_id(raw),
        _explanations(raw),
        raw.get("activations"),
        {} if "modelId" in raw else raw,
    )


def read_explanations(raw: object) -> tuple[str, tuple[object, ...]]:
    """The name of a feature and explanations of it, from a file of explanations.

    Takes ``{"id", "explanation"}``, a line of Neuronpedia's export of explanations and OpenAI's
    ``NeuronSimulationResults``.

    Raises
    ------
    InvalidRequest : where either is missing.
    """
    if not isinstance(raw, Mapping):
        raise InvalidRequest(f"expected an object, found {type(raw).__name__}")
    name, found = feature_id(raw), _explanations(raw)
    if name is None or not found:
        raise InvalidRequest(
            "expected 'id' and 'explanation', a line of Neuronpedia's explanations or "
            "a NeuronSimulationResults"
        )
    return name, found


def feature_id(raw: Mapping[str, Any]) -> str | None:
    """What the feature is called: its `id`, `feature`, or its place in the model.

    Raises
    ------
    InvalidRequest : for an `id` or `feature` that is neither a string nor a whole number.
    """
    if all(name in raw for name in _NEURONPEDIA_ID):
        return "/".join(str(raw[name]) for name in _NEURONPEDIA_ID)
    neuron = raw.get("neuron_id")
    if isinstance(neuron, Mapping):
        return f"{neuron.get('layer_index')}/{neuron.get('neuron_index')}"
    for name in ("id", "feature"):
        value = raw.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise InvalidRequest(
                f"expected a string or a whole number, found {type(value).__name__}", name
            )
        return str(value)
    return None


def is_lone_activation(raw: object) -> bool:
    """Whether it is a line of Neuronpedia's export of activations: one text of one feature."""
    return isinstance(raw, Mapping) and all(
        name in raw for name in ("tokens", "values", *_NEURONPEDIA_ID)
    )


def _explanations(raw: Mapping[str, Any]) -> tuple[object, ...]:
    if found := _list(raw, "explanations") or _list(raw, "scored_explanations"):
        return tuple(_words(one) for one in found)
    one = _words(raw)
    return () if one is None else (one,)


def _words(raw: object) -> object:
    if not isinstance(raw, Mapping):
        return raw
    return raw.get("explanation", raw.get("description"))


def _delphi_records(raw: Mapping[str, Any]) -> list[object]:
    """Texts that the explainer has not seen where they are told apart, and the silent ones."""
    active: list[object] = next((found for name in _DELPHI[:3] if (found := _list(raw, name))), [])
    # Older versions keep the test texts by quantile.
    flat = [one for part in active for one in (part if isinstance(part, list) else [part])]
    records = flat + _list(raw, "not_active")
    for index, record in enumerate(records):
        if isinstance(record, Mapping) and record.get("str_tokens") is None:
            raise InvalidRequest(
                "has token ids only; write the record with `str_tokens`",
                f"examples[{index}].str_tokens",
            )
    return _renamed(records, "str_tokens")


def _renamed(records: Sequence[object], tokens: str) -> list[object]:
    return [
        {"tokens": one.get(tokens), "values": one.get("activations")}
        if isinstance(one, Mapping)
        else one
        for one in records
    ]


def _is_record_list(raw: object, key: str) -> bool:
    """Whether it is a list of objects that have this key; any objects for an empty one."""
    if not isinstance(raw, list) or not raw:
        return False
    first = raw[0][0] if isinstance(raw[0], list) and raw[0] else raw[0]
    return isinstance(first, Mapping) and (not key or key in first)


def _list(raw: Mapping[str, Any], name: str) -> list[Any]:
    found = raw.get(name)
    return found if isinstance(found, list) else []
