"""Writes `docs/http.md` from the OpenAPI description: `python -m benchmarks.http_reference`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.render import WEB

OUT = Path(__file__).parent.parent / "docs" / "http.md"

_INTRO = """\
# HTTP reference

Written from [openapi.json](../pipeline/web/openapi.json) by `python -m benchmarks.http_reference`.
`make serve` starts a server, which has the description at `/openapi.json`.

```sh
curl -X POST http://localhost:5000/score -H "Content-Type: application/json" -d '
{
  "explanation": "fast animals",
  "secret": "",
  "activations": [
    {"tokens": ["the ", " quick", " brown", " fox"], "values": [0, 2, 0, 2.5]},
    {"tokens": ["spotted ", " leopard", " sprints", " at"], "values": [0.5, 2.5, 1.5, 0]}
  ]
}'
```
"""

_LIMITS = {
    "minimum": "≥ {:g}",
    "exclusiveMinimum": "> {:g}",
    "maximum": "≤ {:g}",
    "minItems": "{:,} at least",
    "maxItems": "{:,} at most",
    "maxLength": "{:,} characters at most",
}


def main() -> None:
    """Write the page."""
    spec = json.loads((WEB / "openapi.json").read_text("utf-8"))
    OUT.write_text(reference(spec), encoding="utf-8")


def reference(spec: Mapping[str, Any]) -> str:
    """The page's text."""
    parts = [_INTRO, "## Requests\n"]
    for path, methods in spec["paths"].items():
        parts += [_operation(spec, f"{m.upper()} {path}", one) for m, one in methods.items()]
    parts.append("## Shapes\n")
    parts += [_shape(name, schema) for name, schema in spec["components"]["schemas"].items()]
    return "\n".join(parts)


def _operation(spec: Mapping[str, Any], title: str, operation: Mapping[str, Any]) -> str:
    about = [operation["summary"], operation.get("description", "")]
    asked = [f"`?{p['name']}=`: {p['description']}" for p in operation.get("parameters", ())]
    lines = [f"### {title}\n", " ".join([*filter(None, about), *asked]), ""]
    lines += ["| status | |", "|---|---|"]
    for status, raw in operation["responses"].items():
        response = raw
        if "$ref" in raw:
            response = spec["components"]["responses"][raw["$ref"].rsplit("/", 1)[-1]]
        content = next(iter(response["content"].values()))["schema"]
        shape = _type(content) if "$ref" in content else ""
        lines.append(f"| {status} | {response['description']} {shape}".rstrip() + " |")
    return "\n".join(lines) + "\n"


def _shape(name: str, schema: Mapping[str, Any]) -> str:
    lines = [f"### {name}\n"]
    lines += [schema["description"], ""] if "description" in schema else []
    lines += ["| field | type | |", "|---|---|---|"]
    for field, found in schema["properties"].items():
        needed = (
            "" if field in schema.get("required", ()) or name == "ScoreResult" else "optional; "
        )
        default = f" Default: `{json.dumps(found['default'])}`." if "default" in found else ""
        text = f"{needed}{found.get('description', '')}{default}".rstrip()
        lines.append(f"| `{field}` | {_type(found)}{_range(found)} | {text} |")
    return "\n".join(lines) + "\n"


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "oneOf" in schema:
        return " or ".join(map(_type, schema["oneOf"]))
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " or ".join(_kind(kind, schema) for kind in kinds)


def _kind(kind: str, schema: Mapping[str, Any]) -> str:
    return f"array of {_type(schema['items'])}" if kind == "array" and "items" in schema else kind


def _range(schema: Mapping[str, Any]) -> str:
    return "".join(f", {t.format(schema[key])}" for key, t in _LIMITS.items() if key in schema)


if __name__ == "__main__":
    main()
