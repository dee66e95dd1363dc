"""As much of JSON Schema as `openapi.json` uses, to hold real answers against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_KNOWN = {
    *("$ref", "type", "enum", "oneOf", "properties", "required", "additionalProperties"),
    *("items", "minItems", "maxItems", "minimum", "maximum", "exclusiveMinimum"),
    *("minLength", "maxLength", "description", "default", "examples"),
}


def violations(
    value: Any, schema: Mapping[str, Any], spec: Mapping[str, Any], at: str = "$"
) -> Iterator[str]:
    """Say where `value` breaks `schema`, whose references are looked up in `spec`."""
    assert schema.keys() <= _KNOWN, f"{at}: the check does not know {schema.keys() - _KNOWN}"
    if "$ref" in schema:
        schema = spec["components"]["schemas"][schema["$ref"].removeprefix("#/components/schemas/")]
    if "oneOf" in schema:
        broken = [list(violations(value, one, spec, at)) for one in schema["oneOf"]]
        if broken.count([]) != 1:
            yield f"{at}: {broken.count([])} of the alternatives match: {broken}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {schema['enum']}"
    elif not _has_type(value, schema.get("type", [])):
        yield f"{at}: {value!r} is no {schema['type']}"
    elif isinstance(value, dict):
        yield from _object_violations(value, schema, spec, at)
    elif isinstance(value, list):
        yield from _array_violations(value, schema, spec, at)
    elif isinstance(value, int | float) and not (
        schema.get("minimum", value) <= value <= schema.get("maximum", value)
    ):
        yield f"{at}: {value} is out of range"


def _array_violations(
    value: list[Any], schema: Mapping[str, Any], spec: Mapping[str, Any], at: str
) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"{at}: {len(value)} items"
    for index, item in enumerate(value):
        yield from violations(item, schema["items"], spec, f"{at}[{index}]")


def _object_violations(
    value: Mapping[str, Any], schema: Mapping[str, Any], spec: Mapping[str, Any], at: str
) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in set(schema.get("required", [])) - set(value):
        yield f"{at}: {name} is missing"
    for name, item in value.items():
        if name in properties:
            yield from violations(item, properties[name], spec, f"{at}.{name}")
        elif schema.get("additionalProperties") is False:
            yield f"{at}: {name} is not documented"


def _has_type(value: Any, names: str | list[str]) -> bool:
    names = [names] if isinstance(names, str) else names
    if isinstance(value, bool):
        return not names or "boolean" in names
    return not names or any(isinstance(value, _TYPES[name]) for name in names)
