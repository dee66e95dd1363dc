from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from echo_server import EchoingModel
from fault_server import Body, FaultServer, Reply, mark_first_words
from models import gate, minilm, predictor, request
from serving import shared_scorer

import pipeline
from pipeline.errors import ConfigurationError, InvalidRequest, SimulatorError
from pipeline.examples import load_examples
from pipeline.records import Request
from pipeline.result import ScoreResult
from pipeline.settings import Settings
from pipeline.simulation import FloatArray, Simulation, Usage
from stages.cheap import CheapPredictor
from stages.embedding import MiniLM
from stages.encoding import TextEncoder
from stages.observation import Observer
from stages.reader import READER_PATH, Reader

CLASSIC, NEURON = load_examples()[:2]
FITS = NEURON.explanations[0]
STORY = [
    {"tokens": list(record.tokens), "values": record.values.tolist()}
    for record in request("x", "the quick fox*9 ran far", "a fox*8 met a dog", "he left").records
]


@pytest.fixture(autouse=True)
def _loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_default_scorer", shared_scorer)


class Oracle:
    """Knows the activations of the records; its strengths are those, scaled to 0-10."""

    per_text = 50

    def __init__(self, activations: Sequence[Mapping[str, Any]] = NEURON.activations) -> None:
        top = max(max(record["values"]) for record in activations)
        self.known: dict[tuple[str, ...], FloatArray] = {
            tuple(record["tokens"]): np.maximum(record["values"], 0) * 10 / top
            for record in activations
        }

    def simulate(self, explanation: str, texts: Sequence[Sequence[str]]) -> Simulation:
        values = tuple(self.known[tuple(tokens)] for tokens in texts)
        return Simulation(values, Usage(prompt_tokens=self.per_text * len(texts), calls=1))


class Broken:
    def simulate(self, explanation: str, texts: Sequence[Sequence[str]]) -> Simulation:
        raise SimulatorError("the endpoint is down", Usage(prompt_tokens=7, calls=1))


def score(
    explanation: str = FITS, activations: Any = NEURON.activations, **options: Any
) -> ScoreResult:
    result = pipeline.score(explanation, activations, **{"simulator": None, **options})
    json.dumps(result.to_dict(), allow_nan=False)
    return result


def expected(result: ScoreResult) -> list[list[float]]:
    return [list(one.simulation.expected_activations) for one in result.simulations]


def test_without_an_llm_the_score_is_the_cheap_one_and_says_so() -> None:
    result = score(simulator="auto")
    assert (result.route, result.status) == ("cheap", "ok")
    assert result.reason
    assert "OPENAI_API_KEY" in result.reason
    assert result.usage == Usage()
    assert result.score is not None
    assert result.raw_score is not None
    assert result.interval is not None
    assert result.interval[0] < result.raw_score <= result.interval[1]
    assert score(simulator=None).reason is None


def test_a_name_alone_is_no_endpoint() -> None:
    with pytest.raises(InvalidRequest, match="OPENAI_BASE_URL"):
        score(simulator="echo")


def test_a_simulator_can_be_named(fault_server: FaultServer) -> None:
    fault_server.otherwise = EchoingModel(lambda line: {"9": 0.5, "0": 0.5})
    settings = Settings(openai_base_url=fault_server.base_url, simulator_model=fault_server.model)
    with pipeline.Scorer(settings) as scorer:
        result = scorer.score("foxes", STORY, simulator="logprobs", tolerance=1e-9)
    assert (result.route, result.status) == ("full", "ok")
    wire = result.to_dict()["simulations"][0]["simulation"]
    assert wire["expected_activations"] == pytest.approx([5.0] * 5)
    assert wire["distribution_probabilities"][0][9] == pytest.approx(0.5)


def test_a_better_explanation_scores_higher() -> None:
    better, worse = score(FITS).score, score("names of rivers and lakes").score
    assert better is not None
    assert worse is not None
    assert better > worse + 0.3


def test_the_classic_example_scores_high() -> None:
    result = score(CLASSIC.explanations[0], CLASSIC.activations)
    assert result.score is not None
    assert result.score > 0.5


def test_records_are_answered_in_the_order_given() -> None:
    result = score()
    for one, record in zip(result.simulations, NEURON.activations, strict=True):
        assert list(one.simulation.tokens) == record["tokens"]
        assert list(one.true_activations) == record["values"]
    strengths = predictor().predict(Request.parse(FITS, NEURON.activations)).strengths
    for got, want in zip(expected(result), strengths, strict=True):
        assert got == pytest.approx(want.tolist(), abs=0.05)


@pytest.mark.parametrize("explanation", NEURON.explanations)
def test_the_score_is_the_raw_score_less_the_adjustment(explanation: str) -> None:
    result = score(explanation)
    assert result.score is not None
    assert result.raw_score is not None
    assert result.adjustment is not None
    assert result.raw_score - result.adjustment.taken_off == result.score
    assert -1 <= result.score <= result.raw_score <= 1


def test_without_adjustment_the_score_is_the_raw_one() -> None:
    result = score(NEURON.explanations[1], adjust=False)
    assert result.adjustment is None
    assert result.score == result.raw_score


def test_a_simulator_that_knows_the_neuron_gives_a_full_score_of_1() -> None:
    oracle = Oracle()
    result = score(simulator=oracle, tolerance=1e-9)
    assert (result.route, result.status, result.reason) == ("full", "ok", None)
    assert result.raw_score == pytest.approx(1.0)
    assert result.interval == pytest.approx((1.0, 1.0))
    assert result.usage == Usage(prompt_tokens=1000, calls=1)
    for got, want in zip(expected(result), oracle.known.values(), strict=True):
        assert got == pytest.approx(want.tolist())


def test_some_records_are_simulated_where_that_is_enough() -> None:
    prior = gate().estimate(predictor().predict(Request.parse(FITS, NEURON.activations)))
    oracle = Oracle()
    result = score(simulator=oracle, tolerance=gate().expected_error(prior, 7, 20) + 1e-6)
    assert (result.route, result.status) == ("partial", "ok")
    assert result.usage.prompt_tokens == 7 * 50
    known = [values.tolist() for values in oracle.known.values()]
    same = [got == pytest.approx(want) for got, want in zip(expected(result), known, strict=True)]
    assert sum(same) == 7
    assert result.raw_score is not None
    assert result.raw_score > prior.score


def test_a_tolerance_that_the_cheap_stage_keeps_asks_nothing() -> None:
    result = score(simulator=Broken(), tolerance=1.0)
    assert (result.route, result.status, result.usage.calls) == ("cheap", "ok", 0)


def test_an_llm_that_fails_leaves_the_cheap_estimate() -> None:
    result, plain = score(simulator=Broken(), tolerance=1e-9), score()
    assert (result.route, result.status) == ("cheap", "degraded")
    assert result.reason == "the LLM failed: the endpoint is down"
    assert result.usage == Usage(prompt_tokens=7, calls=1)
    assert (result.score, result.raw_score, result.interval) == (
        plain.score,
        plain.raw_score,
        plain.interval,
    )


def test_a_budget_that_ends_leaves_the_best_estimate_so_far() -> None:
    result = score(simulator=Oracle(), tolerance=1e-9, max_llm_tokens=0)
    assert (result.route, result.status) == ("cheap", "degraded")
    assert "budget of 0 LLM tokens" in (result.reason or "")
    dear = Oracle()
    dear.per_text = 350
    some = score(simulator=dear, tolerance=1e-9, max_llm_tokens=4000)
    assert (some.route, some.status) == ("partial", "degraded")
    assert 350 < some.usage.total_tokens <= 4000


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["a fox ran", "a dog"], "the same on every token"),
        (["a*2 fox*2"], "the same on every token"),
        (["fox*1"], "the same on every token"),
    ],
)
def test_a_constant_activation_has_no_score(texts: list[str], why: str) -> None:
    result = score("foxes", request("foxes", *texts).records, simulator=Broken(), tolerance=1e-9)
    assert result.status == "undefined"
    assert [result.score, result.raw_score, result.interval, result.adjustment] == [None] * 4
    assert why in (result.reason or "")
    assert why in result.explain()
    assert len(result.simulations) == len(texts)


def test_texts_without_a_word_have_no_score() -> None:
    result = score("foxes", [{"tokens": [" ", "\n"], "values": [1, 0]}])
    assert result.status == "undefined"
    assert result.reason
    assert result.reason.startswith("no text holds a word")
    assert expected(result) == [[0, 0]]


@pytest.mark.parametrize(
    "texts",
    [
        ["the*-1 fox*-5", "a*-2"],
        ["the*-1e100 fox*1e100 ran", "a*1e100 fox"],
        ["the fox*1e-300 ran", "a fox*1e-300"],
        ["中文*1 狐狸", "😀 \u200b*2"],
        ["a fox*1 ran"] * 30,
    ],
)
@pytest.mark.parametrize("explanation", ["the word 'fox'", "。", "слово, not 'fox'"])
@pytest.mark.parametrize("tolerance", [1.0, 1e-9])
def test_strange_requests_get_a_score(texts: list[str], explanation: str, tolerance: float) -> None:
    records = request(explanation, *texts).records
    known = [{"tokens": record.tokens, "values": record.values} for record in records]
    result = score(explanation, records, simulator=Oracle(known), tolerance=tolerance)
    assert result.score is not None
    assert result.raw_score is not None
    assert -1 <= result.raw_score <= 1
    assert result.score <= result.raw_score


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerance": -0.1}, "tolerance"),
        ({"tolerance": 1.5}, "tolerance"),
        ({"tolerance": float("nan")}, "tolerance"),
        ({"tolerance": "0.05"}, "tolerance"),
        ({"tolerance": None}, "tolerance"),
        ({"max_llm_tokens": -1}, "max_llm_tokens"),
    ],
)
def test_options_of_the_wrong_kind_are_refused(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        score(**options)
    assert caught.value.field == field


def test_it_works_inside_a_running_event_loop() -> None:
    async def notebook() -> ScoreResult:
        return score("foxes", STORY, simulator=Oracle(STORY), tolerance=1e-9)

    assert asyncio.run(notebook()).raw_score == pytest.approx(1.0)


def test_threads_may_share_a_scorer() -> None:
    explanations = ["the word 'fox'", "the word 'dog'", "animals", "verbs of motion"]
    alone = [score(explanation, STORY).to_dict() for explanation in explanations]
    found: dict[int, list[dict[str, Any]]] = {}

    def work(name: int) -> None:
        order = explanations if name else explanations[::-1]
        results = [score(explanation, STORY).to_dict() for explanation in order]
        found[name] = results if name else results[::-1]

    threads = [threading.Thread(target=work, args=(name,)) for name in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for results in found.values():
        # Threads share the cores otherwise, and sums are rounded otherwise.
        assert _numbers(results) == pytest.approx(_numbers(alone), abs=1e-6)


def _numbers(value: Any) -> list[float]:
    """All numbers in nested lists and objects, in order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [number for part in value for number in _numbers(part)]
    return [float(value)] if isinstance(value, int | float) else []


def test_many_requests_are_scored_in_order_and_none_before_it_is_asked_for() -> None:
    asked: list[str] = []

    def requests() -> Any:
        for explanation in ("the word 'fox'", "the word 'dog'"):
            asked.append(explanation)
            yield {"explanation": explanation, "activations": STORY}

    results = pipeline.score_many(requests(), simulator=None)
    assert asked == []
    fox = next(results)
    assert fox.to_dict() == score("the word 'fox'", STORY).to_dict()
    assert [result.to_dict() for result in results] == [score("the word 'dog'", STORY).to_dict()]


def test_a_request_that_is_none_is_named() -> None:
    results = pipeline.score_many(
        [{"explanation": "foxes", "activations": STORY}, "foxes"],  # type: ignore[list-item]
        simulator=None,
    )
    assert next(results).score is not None
    with pytest.raises(InvalidRequest) as caught:
        next(results)
    assert caught.value.field == "requests[1]"


def test_many_at_once_get_what_each_gets_alone(fault_server: FaultServer) -> None:
    def slow(body: Body) -> Reply:
        time.sleep(0.5)
        return mark_first_words(body)

    fault_server.otherwise = slow
    asked = [
        {"explanation": f"the word '{word}'", "activations": STORY}
        for word in ("fox", "dog", "man")
    ]
    settings = Settings(
        openai_base_url=fault_server.base_url,
        simulator_model=fault_server.model,
        encoder_precision="float32",
        llm_concurrency=2,
    )
    with pipeline.Scorer(settings) as scorer:
        many = [result.to_dict() for result in scorer.score_many(asked, tolerance=1e-6)]
        alone = [scorer.score(*one.values(), tolerance=1e-6).to_dict() for one in asked]
    assert many == alone
    assert fault_server.most_at_once == 2


def test_a_bar_shows_rate_cost_and_share_of_cheap_decisions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = [{"explanation": "foxes", "activations": STORY}] * 2
    assert len(list(pipeline.score_many(asked, simulator=None, progress=True))) == 2
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "0.0000 USD, 100% cheap" in shown
    list(pipeline.score_many(asked, simulator=None))
    assert capsys.readouterr().err == ""


def test_bfloat16_moves_scores_by_next_to_nothing() -> None:
    encoder = MiniLM(bfloat16=True)
    fast = CheapPredictor(
        Observer(TextEncoder(encoder)), predictor().head, Reader.load(READER_PATH, encoder)
    )
    for explanation in NEURON.explanations[:2]:
        asked = Request.parse(explanation, NEURON.activations)
        quick, exact = (gate().estimate(one.predict(asked)) for one in (fast, predictor()))
        assert quick.score == pytest.approx(exact.score, abs=0.02)


def test_a_scorer_loads_its_models_once_and_not_before_they_are_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []
    loaded = minilm()

    def encoder(source: str, _sha256: str, **_: bool) -> MiniLM:
        made.append(source)
        time.sleep(0.05)
        return loaded

    monkeypatch.setattr("pipeline.models.MiniLM", encoder)
    with pipeline.Scorer(Settings(encoder="here")) as scorer:
        assert made == []
        threads = [threading.Thread(target=scorer.load) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert scorer.score("foxes", STORY, simulator=None).score is not None
    assert made == ["here"]


def test_a_wrong_encoder_shows_when_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[{")
    scorer = pipeline.Scorer(Settings(encoder=str(tmp_path)))
    with pytest.raises(ConfigurationError, match="ENCODER"):
        scorer.load()
    scorer.close()


def python(code: str, *arguments: str, seed: str = "0") -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_results_do_not_depend_on_the_process() -> None:
    code = (
        "import json, sys; import pipeline; asked = json.loads(sys.argv[1]);"
        "results = pipeline.score_many(asked, simulator=None);"
        "print(json.dumps([result.to_dict() for result in results]))"
    )
    tale = request("x", *[f"{who} once upon a time*9 , far away" for who in ("he", "she", "we")])
    activations = [
        {"tokens": record.tokens, "values": record.values.tolist()} for record in tale.records
    ]
    explanations = ("the word 'time'", "'time' after 'once upon a', in years or tales")
    asked = json.dumps([{"explanation": e, "activations": activations} for e in explanations])
    first, second = (python(code, asked, seed=seed) for seed in ("1", "2"))
    answers = [run.communicate(timeout=120)[0] for run in (first, second)]
    assert json.loads(answers[0])[0]["adjustment"]["taken_off"] > 0
    assert answers[0] == answers[1]


def test_the_import_is_light() -> None:
    code = (
        "import sys, pipeline; heavy = {'torch', 'sentence_transformers', 'transformers', 'openai',"
        "'sklearn', 'scipy'}; print(sorted(heavy & set(sys.modules)))"
    )
    assert python(code).communicate(timeout=60)[0].strip() == "[]"
