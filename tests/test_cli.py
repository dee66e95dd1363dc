from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from fault_server import Body, FaultServer, Reply, mark_first_words
from serving import shared_scorer

from pipeline import __version__, cli
from pipeline.examples import load_examples
from pipeline.scorer import Scorer
from pipeline.settings import Settings
from stages.named import Simulators

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


def test_score_prints_what_the_server_would_answer(
    scorer: Scorer, request_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["score", str(request_file)]) == 0
    answer = json.loads(capsys.readouterr().out)
    expected = scorer.score(REQUEST["explanation"], REQUEST["activations"]).to_dict()
    assert {**answer, **json.loads(json.dumps(expected))} == answer
    assert set(answer) - set(expected) == {"index", "line", "id", "explanation", "digest"}


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


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch, fault_server: FaultServer, tmp_path: Path) -> Scorer:
    """A scorer that asks a scripted LLM and keeps its answers."""
    loaded = shared_scorer()._models.load()
    fault_server.otherwise = _paid
    made = Scorer(
        Settings(
            openai_base_url=fault_server.base_url,
            simulator_model=fault_server.model,
            cache_path=str(tmp_path / "answers.sqlite"),
        )
    )
    simulators = Simulators(made.settings)
    monkeypatch.setattr(made._models, "load", lambda: replace(loaded, simulators=simulators))
    monkeypatch.setattr(cli, "_scorer", lambda: made)
    return made


def _paid(body: Body) -> Reply:
    reply = mark_first_words(body)
    assert isinstance(reply.body, dict)
    reply.body["usage"]["prompt_tokens"] = 490
    return reply


def batch_file(tmp_path: Path, requests: int) -> str:
    file = tmp_path / "batch.jsonl"
    asked = [{**REQUEST, "explanation": f"fast animals {n}"} for n in range(requests)]
    file.write_text("\n".join(json.dumps(one) for one in asked))
    return str(file)


def test_a_batch_is_answered_line_by_line_within_its_budget(
    asking: Scorer, fault_server: FaultServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = batch_file(tmp_path, 3)
    assert cli.main(["score", file, "--dry-run", "--tolerance", "1e-6"]) == 0
    shown = capsys.readouterr().out
    assert fault_server.requests == []
    assert shown.startswith("requests: 3, with 6 records; the LLM is expected to be asked about 6")
    found = re.search(r"worst: +([\d,]+) tokens", shown)
    assert found
    one = int(found[1].replace(",", "")) // 3
    options = ["--tolerance", "1e-6", "--max-batch-llm-tokens", str(one + 500)]
    assert cli.main(["score", file, *options]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    # Several are under way at once, so any of them may be the one that comes too late.
    assert sorted(answer["status"] for answer in answers) == ["degraded", "ok", "ok"]
    assert len(fault_server.requests) == 2
    assert cli.main(["score", file, "--dry-run", "--tolerance", "1e-6"]) == 0
    # What was paid for is no longer part of what the batch would take.
    assert f"worst:    {one:,} tokens" in capsys.readouterr().out


def test_a_dry_run_without_an_llm_costs_nothing(
    asking: Scorer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["score", batch_file(tmp_path, 2), "--dry-run", "--no-llm"]) == 0
    assert "worst:    0 tokens (0 in, 0 out), 0.0000 USD" in capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_a_bad_request_of_a_batch_is_named(
    asking: Scorer, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    file = tmp_path / "batch.json"
    file.write_text(json.dumps([{**REQUEST, "llm": False}, {**REQUEST, "explanation": ""}]))
    assert cli.main(["score", str(file), *options]) == 2
    captured = capsys.readouterr()
    assert "requests[1].explanation: is empty" in captured.err
    assert captured.out.count("\n") == (0 if options else 1)
