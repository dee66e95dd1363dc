from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from serving import ROOT, shared_scorer

NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


def kept() -> Any:
    return nbformat.reads(NOTEBOOK.read_text("utf-8"), as_version=4)  # type: ignore[no-untyped-call]


# Jupyter's own: it tells of a move of its directories, and leaves sockets to the collector.
@pytest.mark.filterwarnings("default")
def test_the_quickstart_runs_from_top_to_bottom_without_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("OPENAI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parent.parent))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = kept()
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    kinds = {kind for out in outputs for kind in out.get("data", ())}
    assert {"text/html", "image/png"} <= kinds


def test_the_kept_notebook_holds_no_outputs() -> None:
    notebook = kept()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


def test_the_readme_says_what_its_request_is_answered() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    asked = re.search(r"curl .*? -d '(.*?)'\n", readme, re.DOTALL)
    assert asked
    body = json.loads(asked[1])
    result = shared_scorer().score(body["explanation"], body["activations"])
    said = re.search(r'"score": ([-.\d]+),.*?"interval": \[([-.\d]+), ([-.\d]+)\]', readme)
    assert said
    assert result.score is not None
    assert result.interval
    assert [float(of) for of in said.groups()] == [
        round(of, 2) for of in (result.score, *result.interval)
    ]
