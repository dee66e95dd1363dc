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
    title : what the neuron fires on, in a few words.
    note : what the case shows, and where the records come from.
    explanations : the one that fits best first; of a feature, then one that names the token alone,
        one that is true but too broad, and one that is wrong.
    activations : records as `pipeline.score` takes them.
    """

    name: str
    title: str
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
            name=entry["name"],
            title=entry["title"],
            note=entry["note"],
            explanations=tuple(entry["explanations"]),
            activations=tuple(entry["activations"]),
        )
        for entry in raw
    )
