from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from serving import shared_scorer

from pipeline import __version__, cli
from pipeline.examples import load_examples
from pipeline.scorer import Scorer

CLASSIC = load_examples()[0]
REQUEST = {"explanation": CLASSIC.explanations[0], "activations": list(CLASSIC.activations)}


@pytest.fixture
def scorer(monkeypatch: pytest.MonkeyPatch) -> Scorer:
    """What the commands use in place of one that they would load."""
    monkeypatch.setattr(cli, "_scorer", shared_scorer)
    return shared_scorer()


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(REQUEST))
    return file


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"neuron-scorer {__version__}\n"


def test_the_examples_are_the_classic_one_and_a_real_feature() -> None:
    feature = load_examples()[1]
    assert CLASSIC.explanations == ("fast animals",)
    assert [record["values"] for record in CLASSIC.activations] == [
        [0, 2, 0, 2.5],
        [0.5, 2.5, 1.5, 0],
    ]
    assert (len(feature.explanations), len(feature.activations)) == (4, 20)


def test_demo_shows_every_example(scorer: Scorer, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--no-llm"]) == 0
    shown = capsys.readouterr().out
    for example in load_examples():
        assert all(explanation in shown for explanation in example.explanations)
    assert shown.count("90 % interval") == 5
    assert " fox[10|" in shown
    assert shown.replace("\n", "").isprintable()


def test_score_prints_what_the_server_would_answer(
    scorer: Scorer, request_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["score", str(request_file)]) == 0
    answer = json.loads(capsys.readouterr().out)
    expected = scorer.score(REQUEST["explanation"], REQUEST["activations"]).to_dict()
    assert answer == json.loads(json.dumps(expected))


def test_score_reads_stdin_and_options_win_over_the_request(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    body = json.dumps({**REQUEST, "tolerance": "ignored", "llm": True, "adjust": True})
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(body.encode())))
    options = ["--tolerance", "0.2", "--max-llm-tokens", "0", "--no-adjust", "--no-llm"]
    assert cli.main(["score", "-", *options]) == 0
    assert json.loads(capsys.readouterr().out)["adjustment"] is None


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("{", [], "not JSON"),
        ("[]", [], "expected a JSON object"),
        (json.dumps({**REQUEST, "explanation": ""}), [], "explanation: is empty"),
        (json.dumps(REQUEST), ["--tolerance", "2"], "tolerance: expected a number"),
        (json.dumps(REQUEST), ["--tolerance", "nan"], "tolerance: expected a number"),
        (json.dumps(REQUEST), ["--max-llm-tokens", "-1"], "max_llm_tokens: expected"),
    ],
)
def test_a_bad_request_is_one_line_and_status_2(
    scorer: Scorer,
    request_file: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    options: list[str],
    message: str,
) -> None:
    request_file.write_text(content)
    assert cli.main(["score", str(request_file), *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("neuron-scorer: ")
    assert message in captured.err


def test_a_missing_file_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["score", str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err


def test_serve_refuses_what_the_server_refuses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOST", "0.0.0.0")
    monkeypatch.delenv("SERVER_KEY", raising=False)
    assert cli.main(["serve"]) == 2
    assert "SERVER_KEY" in capsys.readouterr().err


def test_starting_imports_nothing_heavy() -> None:
    code = (
        "import sys, pipeline.cli;"
        "print({'torch', 'sentence_transformers', 'openai', 'flask'} & set(sys.modules))"
    )
    root = Path(cli.__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert run.stdout == "set()\n"
