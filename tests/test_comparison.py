from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from features import NEURONPEDIA, OURS
from scipy.stats import t as student
from serving import shared_scorer

import pipeline
from pipeline import cli
from pipeline.comparison import Comparison, _quantile, compare_results
from pipeline.errors import InvalidRequest
from pipeline.records import ActivationRecord
from pipeline.result import ScoreResult
from pipeline.scoring import correlation_score, score_records
from pipeline.simulation import FloatArray

TOKENS = 12


def result(
    true: list[FloatArray], guesses: list[FloatArray], half: float = 0.0, off: float = 0.0
) -> ScoreResult:
    """What a scorer makes of these strengths; `half` is the half-width of its interval."""
    records = [ActivationRecord(("a",) * len(values), values) for values in true]
    raw = correlation_score(np.concatenate(true), np.concatenate(guesses))
    simulations = score_records(records, guesses)
    interval = (max(raw - half, -1.0), min(raw + half, 1.0))
    return ScoreResult(raw - off, raw, interval, "full", "ok", simulations)


def neuron(
    rng: np.random.Generator, records: int, *noise: float
) -> tuple[list[FloatArray], list[list[FloatArray]]]:
    """Activations, and guesses of them with so much noise, which changes from text to text."""
    true = [rng.gamma(0.5, 2.0, TOKENS) for _ in range(records)]
    guesses = [
        [np.clip(values + rng.normal(0, s * rng.exponential(), TOKENS), 0, 10) for values in true]
        for s in noise
    ]
    return true, guesses


def compared(*results: ScoreResult) -> Comparison:
    return compare_results([f"explanation {n}" for n in range(len(results))], results)


def test_a_large_difference_on_many_texts_is_shown() -> None:
    true, (good, bad) = neuron(np.random.default_rng(0), 20, 0.5, 6.0)
    found = compared(result(true, bad), result(true, good))
    assert found.ranking == (1, 0)
    assert found.best == (1,)
    (difference,) = found.differences
    assert (difference.better, difference.worse, difference.shown) == (1, 0, True)
    low, high = difference.interval or (0.0, 0.0)
    assert 0 < low < difference.difference < high


def test_the_same_difference_is_not_shown_by_scores_that_are_uncertain() -> None:
    true, (good, bad) = neuron(np.random.default_rng(0), 20, 0.5, 6.0)
    found = compared(result(true, good, half=0.6), result(true, bad, half=0.6))
    assert found.ranking == (0, 1)
    assert found.best == (0, 1)


def test_an_interval_that_is_cut_at_1_counts_as_wide_as_it_was() -> None:
    true, (good, bad) = neuron(np.random.default_rng(0), 20, 0.1, 6.0)
    sure, cut = (compared(result(true, good, half), result(true, bad)) for half in (0.0, 0.3))
    (narrow,), (wide,) = sure.differences, cut.differences
    assert narrow.interval is not None
    assert wide.interval is not None
    widths = [np.ptp(narrow.interval) / 2, np.ptp(wide.interval) / 2]
    assert widths[1] == pytest.approx(np.hypot(widths[0], 0.3 * _quantile(1, 20) / 1.645), rel=1e-3)


def test_equal_guesses_differ_by_nothing() -> None:
    true, (one,) = neuron(np.random.default_rng(1), 10, 1.0)
    found = compared(result(true, one), result(true, one))
    assert found.differences[0].interval == (0.0, 0.0)
    assert not found.differences[0].shown


def test_what_is_hard_for_both_cancels() -> None:
    rng = np.random.default_rng(2)
    true, (base,) = neuron(rng, 20, 3.0)
    near = [values + rng.normal(0, 0.05, TOKENS) for values in base]
    _, (other,) = neuron(rng, 20, 3.0)
    close, far = (compared(result(true, base), result(true, x)) for x in (near, other))
    assert close.differences[0].interval is not None
    assert far.differences[0].interval is not None
    assert np.ptp(close.differences[0].interval) < np.ptp(far.differences[0].interval) / 5


def test_on_few_texts_nothing_is_shown() -> None:
    true, (good, bad) = neuron(np.random.default_rng(0), 4, 0.1, 9.0)
    found = compared(result(true, good), result(true, bad))
    assert found.differences[0].interval is None
    assert len(found.best) == 2


@pytest.mark.parametrize("records", [6, 20])
def test_explanations_that_are_equally_good_are_seldom_told_apart(records: int) -> None:
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(200):
        true, guesses = neuron(rng, records, 2.0, 2.0, 2.0)
        wrong += len(compared(*(result(true, guess) for guess in guesses)).best) < 3
    # A tenth is allowed; the test's own standard error is 0.02.
    assert wrong / 200 <= 0.14


def test_better_ones_are_found_more_often_with_more_texts() -> None:
    rng = np.random.default_rng(4)
    shown = []
    for records in (6, 40):
        hits = 0
        for _ in range(40):
            true, guesses = neuron(rng, records, 1.5, 3.0)
            hits += compared(*(result(true, guess) for guess in guesses)).best == (0,)
        shown.append(hits)
    assert shown[0] < shown[1]
    assert shown[1] > 20


@pytest.mark.parametrize("pairs", [1, 6, 45])
@pytest.mark.parametrize("records", [5, 20, 200])
def test_the_quantile_is_student_s(pairs: int, records: int) -> None:
    exact = student.ppf(1 - 0.05 / pairs, records - 1)
    assert _quantile(pairs, records) == pytest.approx(exact, rel=0.1 if records == 5 else 0.01)


def test_what_the_adjustment_takes_off_counts() -> None:
    true, (one, two) = neuron(np.random.default_rng(5), 20, 1.0, 1.1)
    assert compared(result(true, one), result(true, two)).ranking == (0, 1)
    assert compared(result(true, one, off=0.5), result(true, two)).ranking == (1, 0)


def test_undefined_scores_are_ranked_by_nothing() -> None:
    records = [{"tokens": [" fox", " ran"], "values": [1, 1]}]
    results = [shared_scorer().score(text, records) for text in ("foxes", "cats")]
    found = compared(*results)
    assert (found.ranking, found.differences) == ((0, 1), ())
    assert "the activation is the same" in str(found)
    json.dumps(found.to_dict(), allow_nan=False)


def test_one_explanation_cannot_be_compared() -> None:
    with pytest.raises(InvalidRequest, match="at least two"):
        pipeline.compare(["fast animals"], OURS["activations"], simulator=None)


def test_a_lone_text_is_not_read_as_a_list_of_explanations() -> None:
    with pytest.raises(InvalidRequest, match="a list of explanations"):
        pipeline.compare("ab", OURS["activations"], simulator=None)


def test_explanations_of_a_feature_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_default", [shared_scorer()])
    records = OURS["activations"] * 3
    found = pipeline.compare(["colours", "fast animals"], records, simulator=None, adjust=False)
    assert found.ranking == (1, 0)
    assert [d.interval is None for d in found.differences] == [False]
    lines = str(found).splitlines()
    assert lines[1].endswith("fast animals")
    assert len(lines) == 3


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setattr(cli, "_scorer", shared_scorer)
    lines: list[Any] = [
        NEURONPEDIA,
        OURS,
        {**OURS, "explanation": "colours"},
        {**OURS, "activations": OURS["activations"][:1]},
        {**OURS, "explanations": ["cats", ""]},
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


def test_the_command_prints_a_table_for_each_feature(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = tmp_path / "bad.jsonl"
    assert cli.main(["compare", file, "--errors", str(faults)]) == 1
    shown = capsys.readouterr()
    tables = [table.splitlines() for table in shown.out.strip().split("\n\n")]
    assert [table[0] for table in tables] == ["gemma-2-2b/20-gemmascope-res-16k/10956", "7"]
    for table in tables:
        assert [line.split("  ")[-1] for line in table[2:]] == ["fast animals", "colours"]
    found = [json.loads(line) for line in faults.read_text().splitlines()]
    assert [fault["line"] for fault in found] == [4, 5, 5]
    assert found[0]["error"].startswith("the only sound explanation")
    assert shown.err.startswith("neuron-scorer: 3 could not be scored")


def test_the_command_prints_json(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", file, "--json"]) == 2
    shown = capsys.readouterr()
    first, second = (json.loads(line) for line in shown.out.splitlines())
    assert (first["line"], second["line"], second["id"]) == (1, 2, "7")
    assert first["ranking"] == [0, 1]
    assert [one["explanation"] for one in first["explanations"]] == ["fast animals", "colours"]
    for better, worse in combinations(first["ranking"], 2):
        (pair,) = first["differences"]
        assert (pair["better"], pair["worse"], pair["interval"]) == (better, worse, None)
    assert "the only sound explanation" in shown.err
