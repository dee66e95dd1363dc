"""Writes the built-in examples, `pipeline/web/examples.json`, from the recorded features.

`python -m benchmarks.examples` rebuilds the file; what it holds is chosen here.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from benchmarks.dataset import DATA, KINDS

OUT = Path(__file__).parent.parent / "pipeline" / "web" / "examples.json"

CLASSIC = {
    "name": "classic",
    "title": "Fast animals",
    "note": "The request with which the classic scoring server is usually tried.",
    "explanations": ["fast animals"],
    "activations": [
        {"tokens": ["the ", " quick", " brown", " fox"], "values": [0, 2, 0, 2.5]},
        {"tokens": ["spotted ", " leopard", " sprints", " at"], "values": [0.5, 2.5, 1.5, 0]},
    ],
}

SHOWN = {
    "mlp14/+222": (
        "“more” where nothing surpasses",
        "One context: 3 in 100 of the texts with “more” fire, after “never” or “nothing”.",
    ),
    "mlp5/-1065": (
        "The piece “autom”",
        "A word piece taken for a word: it fires inside “automatic” and “automobile” alike.",
    ),
    "mlp5/+420": (
        "Promising technology",
        "A broad topic: many different words fire, from hydrogen to stem cells.",
    ),
    "mlp2/+255": (
        "Any “loan”",
        "The bare word: it fires wherever “loan” stands, so that the context must not count.",
    ),
    "mlp14/-1176": (
        "“may” after “however”",
        "One context: 5 in 100 of the texts with “may” fire, after “however curious” and the like.",
    ),
    "mlp8/-1475": (
        "“float” as a type",
        "One sense of a word: it fires on the type of numbers, not on what floats on water.",
    ),
}
"""Feature → title and what its case is."""

_SOURCES = {
    "sotu": "State of the Union addresses (public domain)",
    "moby-dick": "Moby-Dick (public domain)",
    "fortunes": "the Debian package fortunes",
    "python-docs": "the Python documentation (PSF licence)",
}


def main() -> None:
    """Write the file, one record a line, so that a difference can be read."""
    with gzip.open(DATA, "rt", encoding="utf-8") as lines:
        features = {feature["feature"]: feature for feature in map(json.loads, lines)}
    examples = [CLASSIC]
    for name, (title, case) in SHOWN.items():
        examples.append(_example(features[f"smollm2-135m/{name}"], title, case))
    OUT.write_text("[\n" + ",\n".join(map(_text, examples)) + "\n]\n", encoding="utf-8")


def _example(feature: dict[str, Any], title: str, case: str) -> dict[str, Any]:
    top = [record for record in feature["records"] if record["kind"] == "top"]
    named = {explanation["kind"]: explanation["text"] for explanation in feature["explanations"]}
    sources = [text for source, text in _SOURCES.items() if source in {r["source"] for r in top}]
    return {
        "name": feature["feature"],
        "title": title,
        "note": f"{case} The {len(top)} strongest texts of an MLP neuron of SmolLM2-135M-Instruct, "
        f"from {', '.join(sources)}.",
        "explanations": [named[kind] for kind in KINDS],
        "activations": [{"tokens": r["tokens"], "values": r["values"]} for r in top],
    }


def _text(example: dict[str, Any]) -> str:
    head = {key: value for key, value in example.items() if key != "activations"}
    records = ",\n".join(json.dumps(r, ensure_ascii=False) for r in example["activations"])
    opened = json.dumps(head, ensure_ascii=False, indent=1).removesuffix("\n}")
    return f'{opened},\n "activations": [\n{records}\n]}}'


if __name__ == "__main__":
    main()
