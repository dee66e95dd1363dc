from __future__ import annotations

import io

import pytest
from rich.console import Console
from serving import shared_scorer

from pipeline import cli_demo
from pipeline.examples import load_examples


def test_the_demo_shows_every_explanation_and_one_heatmap(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = load_examples()[:2]
    monkeypatch.setattr(cli_demo, "load_examples", lambda: examples)
    out = io.StringIO()
    cli_demo.show(shared_scorer(), llm=False, console=Console(file=out, width=240))
    shown = out.getvalue()
    for example in examples:
        assert example.title in shown
        assert all(explanation in shown for explanation in example.explanations)
    assert shown.count("●") == sum(len(example.explanations) for example in examples)
    assert shown.count("[true|predicted]") == 1
    assert " more[" in shown
    assert shown.replace("\n", "").isprintable()
