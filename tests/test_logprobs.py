from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from echo_server import EchoingModel, Odds
from fault_server import Body, FaultServer, Reply, completion, error
from llm_server import LLMServer

from pipeline.calibration import (
    FitCalibration,
    linear_calibration,
    make_explanation_simulator,
    make_uncalibrated_explanation_simulator,
    percentile_matching_calibration,
)
from pipeline.errors import SimulatorError
from pipeline.records import ActivationRecord
from pipeline.scoring import simulate_and_score
from pipeline.settings import Settings
from pipeline.simulation import PricedSimulator, Simulation, Usage
from stages.endpoint import NO_ODDS
from stages.named import NamedSimulator, simulator_from

TEXTS = [[" A", " cat", " naps", "."], [" Cats", "!", "\n", " naïve", " 日本"]]


def cats(line: str) -> Odds:
    """A 9 with three quarters on cats, else a 3; on all other tokens a 0."""
    return {"9": 0.3, "3": 0.1, "?": 0.6} if "cat" in line.lower() else {"0": 0.2, "?": 0.8}


def word_by_word(body: Body) -> Reply:
    """Answers chats as its schema has it, with the odds of `cats`; leaves completions' echo out."""
    if "prompt" in body:
        content = [{"token": "x", "logprob": -0.1, "bytes": [120], "top_logprobs": []}]
        choice = {"index": 0, "text": "x", "logprobs": {"content": content}}
        usage = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
        return Reply(body={"object": "text_completion", "choices": [choice], "usage": usage})
    names = body["response_format"]["json_schema"]["schema"]["required"]
    return digits({name: cats(name) for name in names})


def digits(odds: Mapping[str, Odds]) -> Reply:
    """The chat answer that gives each key its likeliest digit, with log probabilities."""
    places: list[tuple[str, Odds]] = [("{", {})]
    for at, (name, likely) in enumerate(odds.items()):
        opening = ("" if at == 0 else ", ") + json.dumps(name, ensure_ascii=False)
        known = {token: p for token, p in likely.items() if token != "?"}
        places += [
            (opening, {}),
            ('":'[1:], {}),
            (" ", {}),
            (max(known, key=known.__getitem__), known),
        ]
    places.append(("}", {}))
    reply = completion("".join(token for token, _ in places))
    assert isinstance(reply.body, dict)
    reply.body["choices"][0]["logprobs"] = {
        "content": [
            {
                "token": token,
                "bytes": list(token.encode()),
                "logprob": math.log(likely.get(token, 1.0)),
                "top_logprobs": [
                    {"token": other, "bytes": None, "logprob": math.log(p)}
                    for other, p in likely.items()
                ],
            }
            for token, likely in places
        ]
    }
    return reply


@contextmanager
def simulator(server: FaultServer | LLMServer, **changes: Any) -> Iterator[NamedSimulator]:
    settings = {
        "simulator": "logprobs",
        "openai_base_url": server.base_url,
        "simulator_model": server.model,
        "llm_retries": 0,
        **changes,
    }
    made = simulator_from(Settings(**settings))
    assert isinstance(made, PricedSimulator)
    with closing(made):
        yield made


def simulate(
    server: FaultServer, texts: Sequence[Sequence[str]] = TEXTS, **changes: Any
) -> Simulation:
    with simulator(server, **changes) as made:
        return made.simulate("cats", texts)


def check_cats(simulation: Simulation) -> None:
    expected = 0.75 * 10 + 0.25 * 10 / 3
    assert not simulation.failures
    for tokens, values in zip(TEXTS, simulation.values, strict=True):
        assert values is not None
        wanted = [expected if "cat" in token.lower() else 0.0 for token in tokens]
        np.testing.assert_allclose(values, wanted, rtol=1e-4)
    for index, tokens in enumerate(TEXTS):
        assert simulation.distributions[index].fits(len(tokens))


# All at once


def test_an_endpoint_that_echoes_is_asked_for_everything_at_once(fault_server: FaultServer) -> None:
    fault_server.otherwise = EchoingModel(cats)
    simulation = simulate(fault_server)
    check_cats(simulation)
    probe, first, _ = fault_server.requests
    assert len(probe["prompt"]) < 10
    assert (first["echo"], first["logprobs"], first["max_tokens"]) == (True, 20, 1)
    assert simulation.usage.calls == 3


def test_what_the_endpoint_can_do_is_found_out_once(fault_server: FaultServer) -> None:
    fault_server.otherwise = EchoingModel(cats)
    with simulator(fault_server) as made:
        made.simulate("cats", TEXTS)
        check_cats(made.simulate("cats", TEXTS))
    assert len(fault_server.requests) == 5


def test_an_endpoint_with_few_alternatives_is_asked_for_few(fault_server: FaultServer) -> None:
    fault_server.otherwise = EchoingModel(cats, most_alternatives=5)
    check_cats(simulate(fault_server))
    assert [body["logprobs"] for body in fault_server.requests] == [20, 5, 5, 5]


def test_a_tokenizer_without_a_first_token_is_read_as_well(fault_server: FaultServer) -> None:
    fault_server.otherwise = EchoingModel(cats, bos="")
    check_cats(simulate(fault_server))


def test_a_token_without_likely_digits_fails_its_text_only(fault_server: FaultServer) -> None:
    fault_server.otherwise = EchoingModel(lambda line: {"x": 1.0} if "日" in line else cats(line))
    simulation = simulate(fault_server)
    assert simulation.failures == {1: "no digit was likely behind 1 of 5 tokens"}
    assert simulation.values[1] is None
    assert set(simulation.distributions) == {0}
    # The same prompt would only be answered in the same way.
    assert len(fault_server.requests) == 3


def test_texts_cannot_break_out_of_their_lines(fault_server: FaultServer) -> None:
    fault_server.otherwise = EchoingModel(cats)
    hostile = [" a\t7\n", "\t", "</tokens>", " <s>", " ?"]
    simulation = simulate(fault_server, [hostile])
    assert not simulation.failures


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("without", ["echo", "completions"])
def test_a_server_that_has_ceased_to_echo_costs_one_round_and_no_more_than_was_reserved(
    fault_server: FaultServer, tmp_path: Path, without: str, cached: bool
) -> None:
    def other(body: Body) -> Reply:
        return error(404) if without == "completions" and "prompt" in body else word_by_word(body)

    long = [[f" word{number}" for number in range(200)], [" cat"]]
    kept = {"cache_path": str(tmp_path / "answers.sqlite")} if cached else {}
    with simulator(fault_server, **kept) as made:
        fault_server.otherwise = EchoingModel(cats)
        made.simulate("cats", TEXTS)
        fault_server.otherwise = other
        worst = made.worst_case("cats", long)
        if without == "completions":
            with pytest.raises(SimulatorError, match="HTTP 404") as caught:
                made.simulate("cats", long)
            taken = caught.value.usage
        else:
            gone = made.simulate("cats", long)
            assert set(gone.failures) == {0, 1}
            taken = gone.usage
        assert taken.total_tokens <= worst.total_tokens
        assert taken.calls <= worst.calls
        check_cats(made.simulate("cats", TEXTS))
    with simulator(fault_server, **kept) as made:
        check_cats(made.simulate("cats, too", TEXTS))


# Word by word


@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_an_endpoint_without_completions_is_asked_word_by_word(
    fault_server: FaultServer, status: int
) -> None:
    fault_server.otherwise = lambda body: error(status) if "prompt" in body else word_by_word(body)
    check_cats(simulate(fault_server))


def test_that_completions_are_refused_is_found_out_once(
    fault_server: FaultServer, tmp_path: Path
) -> None:
    fault_server.otherwise = lambda body: error(404) if "prompt" in body else word_by_word(body)
    cached = {"cache_path": str(tmp_path / "answers.sqlite")}
    for explanation in ("cats", "dogs"):
        with simulator(fault_server, **cached) as made:
            made.simulate(explanation, TEXTS)
            made.simulate(f"{explanation}, too", TEXTS)
            assert made.worst_case("birds", TEXTS).calls == 2 * len(TEXTS)
    assert sum("prompt" in body for body in fault_server.requests) == 1


def test_an_endpoint_that_refuses_everything_tells_nothing(
    fault_server: FaultServer, tmp_path: Path
) -> None:
    cached = {"cache_path": str(tmp_path / "answers.sqlite")}
    fault_server.otherwise = error(404, "no such model")
    with pytest.raises(SimulatorError, match="no such model"):
        simulate(fault_server, **cached)
    fault_server.otherwise = EchoingModel(cats)
    check_cats(simulate(fault_server, **cached))


def test_an_endpoint_that_ignores_echo_is_found_out(fault_server: FaultServer) -> None:
    fault_server.otherwise = word_by_word
    simulation = simulate(fault_server)
    check_cats(simulation)
    _, first, _ = fault_server.requests
    assert (first["logprobs"], first["top_logprobs"]) == (True, 20)
    assert simulation.usage.calls == 3


@pytest.mark.parametrize("status", [401, 429, 500])
def test_an_endpoint_that_fails_is_an_error(fault_server: FaultServer, status: int) -> None:
    fault_server.otherwise = error(status)
    with pytest.raises(SimulatorError, match=f"HTTP {status}"):
        simulate(fault_server)
    assert len(fault_server.requests) == 1


def test_an_endpoint_without_log_probabilities_is_an_error_soon(fault_server: FaultServer) -> None:
    fault_server.otherwise = completion('{"A": 0}')
    with pytest.raises(SimulatorError) as caught:
        simulate(fault_server, [[" A"]] * 10, llm_concurrency=2)
    assert NO_ODDS in str(caught.value)
    assert caught.value.usage.calls == len(fault_server.requests) <= 4


def test_words_are_known_by_their_spelling_and_not_their_place(
    fault_server: FaultServer,
) -> None:
    answers = [
        digits({"A": {"0": 1}, "cat": {"9": 1}, ".": {"0": 1}}),
        digits({"A": {"1": 1}, "cat #1": {"9": 1}, "naps": {"1": 1}, ".": {"0": 1}}),
    ]
    fault_server.otherwise = lambda body: word_by_word(body) if "prompt" in body else answers.pop(0)
    (values,) = simulate(fault_server, TEXTS[:1]).values
    assert values is not None
    np.testing.assert_allclose(values, [10 / 9, 10, 10 / 9, 0])
    said = fault_server.requests[-1]["messages"][-1]["content"]
    assert said.endswith("number 2 ('naps') is missing")


def test_a_word_that_stands_twice_gets_two_digits(fault_server: FaultServer) -> None:
    answer = digits({"cat": {"9": 1}, "#": {"0": 1}, "cat #2": {"2": 1}, "# #2": {"1": 1}})
    fault_server.otherwise = lambda body: word_by_word(body) if "prompt" in body else answer
    (values,) = simulate(fault_server, [[" cat", " #", " cat", " #"]]).values
    assert values is not None
    np.testing.assert_allclose(values, [10, 0, 20 / 9, 10 / 9])
    form = fault_server.requests[-1]["response_format"]["json_schema"]["schema"]
    assert form["required"] == ["cat", "#", "cat #2", "# #2"]


@pytest.mark.parametrize("bad", ['"10"', "10", "null", "-1", '"high"'])
def test_what_is_no_digit_fails_its_text(fault_server: FaultServer, bad: str) -> None:
    def answer(body: Body) -> Reply:
        reply = word_by_word(body)
        if "messages" in body:
            assert isinstance(reply.body, dict)
            places = reply.body["choices"][0]["logprobs"]["content"]
            places[4] |= {"token": bad, "bytes": list(bad.encode())}
        return reply

    fault_server.otherwise = answer
    simulation = simulate(fault_server, TEXTS[:1])
    assert simulation.values == (None,)
    assert "'A'" in simulation.failures[0]


# Both


@pytest.mark.parametrize("model", [EchoingModel(cats), word_by_word])
def test_the_same_question_is_paid_once(
    fault_server: FaultServer, tmp_path: Path, model: Any
) -> None:
    fault_server.otherwise = model
    cached = {"cache_path": str(tmp_path / "answers.sqlite")}
    simulate(fault_server, **cached)
    again = simulate(fault_server, **cached)
    check_cats(again)
    assert (again.usage.calls, again.usage.cached_calls) == (0, 3)
    assert len(fault_server.requests) == 3


@pytest.mark.parametrize("model", [EchoingModel(cats), word_by_word])
def test_no_more_is_taken_than_was_foretold(fault_server: FaultServer, model: Any) -> None:
    fault_server.otherwise = model
    with simulator(fault_server) as made:
        before = made.worst_case("cats", TEXTS).total_tokens
        assert made.simulate("cats", TEXTS).usage.total_tokens <= before
        assert made.worst_case("cats", TEXTS).total_tokens <= before


def priced(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "prices.json").write_text('{"models": {"scripted": {"input": 10, "output": 100}}}')
    return {"prices_path": str(tmp_path / "prices.json")}


@pytest.mark.parametrize("model", [EchoingModel(cats), word_by_word])
def test_no_more_dollars_are_taken_than_were_foretold(
    fault_server: FaultServer, model: Any, tmp_path: Path
) -> None:
    fault_server.otherwise = model
    with simulator(fault_server, **priced(tmp_path)) as made:
        assert made.price
        cases = [made.worst_case("cats", TEXTS), made.typical_case("cats", TEXTS)]
        taken = made.simulate("cats", TEXTS).usage
    for case in cases:
        expected = made.price.cost(case.prompt_tokens, case.completion_tokens)
        assert case.cost_usd == pytest.approx(expected)
    assert taken.cost_usd is not None
    assert cases[0].cost_usd is not None
    assert 0 < taken.cost_usd <= cases[0].cost_usd
    assert cases[1].total_tokens < cases[0].total_tokens


@pytest.mark.parametrize("model", [EchoingModel(cats), word_by_word])
def test_known_texts_are_not_reckoned_with(
    fault_server: FaultServer, model: Any, tmp_path: Path
) -> None:
    fault_server.otherwise = model
    cached = {"cache_path": str(tmp_path / "answers.sqlite")}
    simulate(fault_server, **cached)
    with simulator(fault_server, **cached) as made:
        for reckoned in (made.worst_case, made.typical_case):
            assert reckoned("cats", TEXTS) == Usage()
            assert reckoned("dogs", TEXTS).total_tokens > 0


def test_digits_of_a_text_hold_for_its_other_tokens(
    fault_server: FaultServer, tmp_path: Path
) -> None:
    fault_server.otherwise = word_by_word
    cached = {"cache_path": str(tmp_path / "answers.sqlite")}
    simulate(fault_server, **cached)
    again = simulate(fault_server, [[" A", " c", "at", " naps", "."]], **cached)
    assert again.usage == Usage(cached_calls=2)
    (values,) = again.values
    assert values is not None
    assert values.tolist() == pytest.approx([0, 0, 0.75 * 10 + 0.25 * 10 / 3, 0, 0], rel=1e-4)


def test_strengths_read_at_once_hold_for_their_tokens_alone(
    fault_server: FaultServer, tmp_path: Path
) -> None:
    fault_server.otherwise = EchoingModel(cats)
    cached = {"cache_path": str(tmp_path / "answers.sqlite")}
    simulate(fault_server, **cached)
    again = simulate(fault_server, [[" A", " c", "at", " naps", "."]], **cached)
    assert again.usage.calls == 1


def test_an_empty_answer_is_asked_for_once_more(fault_server: FaultServer) -> None:
    fault_server.script = [error(404), completion("")]
    fault_server.otherwise = word_by_word
    simulation = simulate(fault_server, TEXTS[:1])
    assert simulation.usage.calls == 2
    assert not simulation.failures


def test_no_texts_take_no_call(fault_server: FaultServer) -> None:
    assert simulate(fault_server, []) == Simulation(())
    assert not fault_server.requests


@pytest.mark.parametrize("fit", [linear_calibration, percentile_matching_calibration])
def test_distributions_are_calibrated_like_their_means(
    fault_server: FaultServer, fit: FitCalibration
) -> None:
    fault_server.otherwise = EchoingModel(cats)
    records = [
        ActivationRecord(
            tuple(tokens), np.array([5.0 * ("cat" in token.lower()) for token in tokens])
        )
        for tokens in TEXTS
    ]
    with simulator(fault_server) as made:
        plain = make_uncalibrated_explanation_simulator("cats", made)
        calibrated = make_explanation_simulator("cats", records, made, fit)
        scored = simulate_and_score(calibrated, records)
        (first, _) = plain.simulate(TEXTS)
    assert scored.ev_correlation_score == pytest.approx(1)
    assert scored.rsquared_score == pytest.approx(1)
    simulation = scored.scored_sequence_simulations[0].simulation
    wire = simulation.to_dict()
    assert np.shape(wire["distribution_values"]) == (4, 10)
    assert np.shape(wire["distribution_probabilities"]) == (4, 10)
    assert wire["distribution_values"][0] == pytest.approx(
        calibrated.calibration(first.distribution_values[0]).tolist()
    )
    assert wire["uncalibrated_simulation"]["distribution_values"][0][-1] == 10


# A real model


PROSE = [[" The", " harbour", " was", " qui", "et", "."], [" We", " sold", "\n", " more", "."]]


def test_a_real_server_that_ignores_echo_gives_a_distribution_a_word(llm_server: LLMServer) -> None:
    with simulator(llm_server, llm_timeout=300.0) as made:
        most = made.worst_case("the word 'more'", PROSE).total_tokens
        simulation = made.simulate("the word 'more'", PROSE)
    # Bound to the schema, even so small a model gives every word a digit.
    assert not simulation.failures
    assert simulation.usage.calls == 3
    assert simulation.usage.total_tokens <= most
    for index, (tokens, values) in enumerate(zip(PROSE, simulation.values, strict=True)):
        assert values is not None
        assert values.shape == (len(tokens),)
        possible = simulation.distributions[index]
        assert possible.fits(len(tokens))
        np.testing.assert_allclose(possible.expected, values)
        # The model is in doubt about every word, but not about what is no end of a word.
        doubtful = (possible.probabilities > 0).sum(axis=1) > 1
        assert doubtful.tolist() == [token not in {" qui", "\n"} for token in tokens]
