"""The built-in examples that the demo, the web page and the tests score."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Example:
    """Explanations of one neuron and the records to score them on.

    Attributes
    ----------
    name : "classic", or the feature that the records come from.
    note : where the records come from.
    explanations : the one that fits best first.
    activations : records as `pipeline.score` takes them.
    """

    name: str
    note: str
    explanations: tuple[str, ...]
    activations: tuple[Mapping[str, Any], ...]


@cache
def load_examples() -> tuple[Example, ...]:
    """Read the examples that ship with the package, the smallest first.

    Examples
    --------
    >>> load_examples()[0].explanations
    ('fast animals',)
    """
    raw = json.loads((Path(__file__).parent / "web" / "examples.json").read_text("utf-8"))
    return tuple(
        Example(
            entry["name"], entry["note"], tuple(entry["explanations"]), tuple(entry["activations"])
        )
        for entry in raw
    )
