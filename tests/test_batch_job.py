from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import batch_server
import pytest
from batch_server import ANSWERED, BatchServer
from fault_server import Body, Reply, completion, error, mark_first_words
from serving import shared_scorer
from test_logprobs import word_by_word

from pipeline import cli
from pipeline.archive import export
from pipeline.batch_job import BatchJob, Terms
from pipeline.budget import Limit
from pipeline.errors import ConfigurationError, OverBudget, SimulatorError
from pipeline.ledger import DailyBudget
from pipeline.scorer import Scorer
from pipeline.settings import Settings
from pipeline.wire import ScoreCall
from stages.named import Simulators

REQUESTS = 4
TEXTS = ["the quick brown fox", "a spotted leopard sprints", "she drank her tea"]


def call(number: int) -> ScoreCall:
    activations = [
        {"tokens": text.split(), "values": [0, 3, 0, 1][: len(text.split())]} for text in TEXTS
    ]
    return ScoreCall(f"fast animals, kind {number}", activations, tolerance=1e-6)


def calls() -> list[tuple[int, ScoreCall]]:
    return [(number, call(number)) for number in range(REQUESTS)]


@pytest.fixture
def provider() -> Iterator[BatchServer]:
    with batch_server.serve() as server:
        yield server


@pytest.fixture(autouse=True)
def loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that are loaded once for all tests."""
    monkeypatch.setattr(BatchJob, "_scorer", lambda self: nullcontext(shared_scorer()))


class Desk:
    """Makes jobs in one folder, as processes do that follow one another."""

    def __init__(self, provider: BatchServer, folder: Path) -> None:
        self.provider = provider
        self.folder = folder
        prices = folder / "prices.json"
        prices.write_text('{"models": {"scripted": {"input": 1.0, "output": 2.0}}}')
        self.settings: dict[str, Any] = {
            "openai_base_url": provider.base_url,
            "simulator_model": provider.model,
            "cache_path": str(folder / "cache.sqlite"),
            "prices_path": str(prices),
        }
        self.told: list[str] = []

    def job(self, **terms: Any) -> BatchJob:
        return BatchJob(
            self.folder / "job",
            Settings(**self.settings),
            calls,
            {"requests": "these"},
            Terms(**terms),
            self.told.append,
        )

    def run(self, **terms: Any) -> BatchJob:
        """Go on in as many processes as it takes."""
        for _ in range(30):
            with self.job(**terms) as job:
                if job.go_on():
                    return job
        raise AssertionError(self.told)

    def scores(self, budget: int | None = 0) -> list[tuple[str, int, int]]:
        """What a run that may pay nothing makes of it: route, calls and kept answers of each."""
        scorer = Scorer(Settings(**self.settings))
        models = replace(
            shared_scorer()._models.load(), simulators=Simulators(scorer.settings), day=None
        )
        scorer._models._loaded = models
        done = [replace(one, max_llm_tokens=budget).run(scorer) for _, one in calls()]
        scorer.close()
        return [(one.route, one.usage.calls, one.usage.cached_calls) for one in done]


@pytest.fixture
def desk(provider: BatchServer, tmp_path: Path) -> Desk:
    return Desk(provider, tmp_path)


def test_a_run_after_the_job_finds_all_answers_and_pays_nothing(
    desk: Desk, provider: BatchServer
) -> None:
    job = desk.run()
    assert len(provider.batches) == 1
    # The first request is the trial; no score asks twice.
    assert len(provider.at_once) == 1
    assert set(provider.answered.values()) == {1}
    assert len(provider.answered) == REQUESTS - 1
    bodies = [line["body"] for line in provider.lines(0)]
    assert all(body.keys() == provider.at_once[0].keys() for body in bodies)
    assert desk.scores() == [("full", 0, 1)] * REQUESTS
    assert len(provider.at_once) == 1
    answers = list(export(Path(desk.settings["cache_path"])))
    full, half = (100 * 1.0 + 10 * 2.0) / 1e6, (100 * 0.5 + 10 * 1.0) / 1e6
    assert sorted(answer["cost_usd"] for answer in answers) == [half] * (REQUESTS - 1) + [full]
    assert job.progress.job.spent.cost_usd == pytest.approx(full + (REQUESTS - 1) * half)
    assert job.progress.job.spent.total_tokens == REQUESTS * 110


def test_the_forecast_is_at_half_price_and_sends_nothing(desk: Desk, provider: BatchServer) -> None:
    with desk.job() as job:
        forecast = job.forecast()
    assert provider.seen == []
    usage = forecast.worst
    assert usage.cost_usd == pytest.approx(
        (usage.prompt_tokens * 0.5 + usage.completion_tokens * 1.0) / 1e6
    )


def test_files_hold_no_more_than_they_may(desk: Desk, provider: BatchServer) -> None:
    desk.run(most_requests=2)
    assert [len(provider.lines(batch)) for batch in range(2)] == [2, 1]


def test_what_expired_is_asked_again_and_nothing_else(desk: Desk, provider: BatchServer) -> None:
    provider.fates = ["expired"]
    provider.fate_of = lambda place: "left" if len(provider.batches) == 1 and place else ANSWERED
    desk.run()
    assert [len(provider.lines(batch)) for batch in range(2)] == [3, 2]
    assert set(provider.answered.values()) == {1}
    assert desk.scores() == [("full", 0, 1)] * REQUESTS


def test_a_cancelled_batch_stops_the_run_and_the_next_one_asks_for_the_rest(
    desk: Desk, provider: BatchServer
) -> None:
    provider.fates = ["cancelled"]
    provider.fate_of = lambda place: "left" if len(provider.batches) == 1 and place else ANSWERED
    with pytest.raises(SimulatorError, match=r"cancelled: batch_1; .* are kept"):
        desk.run()
    assert len(provider.answered) == 1
    desk.run()
    assert set(provider.answered.values()) == {1}
    assert len(provider.answered) == REQUESTS - 1


def test_what_the_provider_will_never_answer_is_not_asked_again(
    desk: Desk, provider: BatchServer
) -> None:
    provider.fate_of = lambda place: 400 if place == 1 else ANSWERED
    desk.run()
    assert len(provider.batches) == 1
    assert "1 LLM requests will have no answer: HTTP 400: no such thing" in desk.told


def test_what_fails_for_now_is_asked_again_in_so_many_rounds(
    desk: Desk, provider: BatchServer
) -> None:
    provider.fate_of = lambda place: 500 if place == 0 else ANSWERED
    desk.run(rounds=2)
    assert [len(provider.lines(batch)) for batch in range(2)] == [3, 1]
    assert "1 LLM requests will have no answer: no answer after 2 rounds" in desk.told


def test_answers_of_no_use_are_asked_about_again_with_the_reason(
    desk: Desk, provider: BatchServer
) -> None:
    def grumble(body: Body) -> Reply:
        if "kind 2" in body["messages"][-1]["content"]:
            return completion("no idea")
        return mark_first_words(body)

    provider.otherwise = grumble
    desk.run()
    second = [line["body"]["messages"][-1]["content"] for line in provider.lines(1)]
    assert len(second) == 1
    first = [line["body"]["messages"][-1]["content"] for line in provider.lines(0)]
    assert "kind 2" in second[0]
    assert second[0] not in first
    assert set(provider.answered.values()) == {1}


def test_lines_that_are_no_answers_are_left_out(
    desk: Desk, provider: BatchServer, caplog: pytest.LogCaptureFixture
) -> None:
    def garble(request: str) -> None:
        if request == "GET /files/file-2/content":
            provider.files["file-2"] = (
                b'{"custom_id": "xyz"}\nnot JSON\n' + provider.files["file-2"]
            )

    provider.before = garble
    desk.run()
    assert len(provider.batches) == 1
    assert caplog.text.count("is no answer") >= 2


def test_a_batch_refused_for_a_full_queue_waits_for_the_others(
    desk: Desk, provider: BatchServer
) -> None:
    provider.fates = ["completed", "failed"]
    provider.failure = "token_limit_exceeded"
    desk.run(most_requests=2)
    assert [batch["status"] for batch in provider.batches.values()] == [
        "completed",
        "failed",
        "completed",
    ]
    assert set(provider.answered.values()) == {1}


def test_a_refused_batch_is_an_error_and_can_be_gone_on_with(
    desk: Desk, provider: BatchServer
) -> None:
    provider.fates = ["failed"]
    provider.failure = "billing_hard_limit_reached"
    with pytest.raises(SimulatorError, match=r"refused round-1-part-1 \(billing_hard_limit"):
        desk.run()
    desk.run()
    assert set(provider.answered.values()) == {1}


@pytest.mark.parametrize("status", [500, 429])
def test_a_batch_whose_start_got_no_answer_is_not_started_again(
    desk: Desk, provider: BatchServer, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    lost = [Reply(status, "lost")]

    def lose(request: str) -> Reply | None:
        return lost.pop() if lost and request == "POST /batches" else None

    provider.after = lose
    desk.run()
    assert provider.seen.count("POST /batches") == 1
    assert len(provider.batches) == 1


def test_a_trial_that_fails_stops_the_job_before_anything_is_written(
    desk: Desk, provider: BatchServer
) -> None:
    provider.otherwise = lambda body: error(401, "who are you")
    with pytest.raises(ConfigurationError, match=r"trial .* failed: .* refused the API key"):
        desk.run()
    assert provider.batches == {}


def test_the_trial_finds_out_which_form_the_endpoint_takes(
    desk: Desk, provider: BatchServer
) -> None:
    def picky(body: Body) -> Reply:
        if "max_tokens" in body:
            return error(400, "Unsupported parameter: 'max_tokens'")
        return mark_first_words(body)

    provider.otherwise = picky
    desk.run()
    assert all("max_completion_tokens" in line["body"] for line in provider.lines(0))


def test_the_job_s_budget_is_kept(desk: Desk, provider: BatchServer) -> None:
    with desk.job() as job:
        one = job.forecast().worst.total_tokens // REQUESTS // 2
    desk.run(limit=Limit(tokens=2 * one))
    assert len(provider.at_once) + len(provider.answered) < REQUESTS
    assert any("what is left of the job's budget of" in line for line in desk.told)


def test_the_day_s_budget_holds_back_a_file_and_is_settled(
    desk: Desk, provider: BatchServer
) -> None:
    desk.settings["daily_llm_tokens"] = 1_000_000
    desk.run()
    left = DailyBudget(Path(desk.settings["cache_path"]), Limit(1_000_000)).left().tokens
    # The test may run over midnight.
    assert left in {1_000_000 - REQUESTS * 110, 1_000_000}


def test_a_file_that_the_day_s_budget_does_not_cover_is_not_started(
    desk: Desk, provider: BatchServer
) -> None:
    with desk.job() as job:
        one = job.forecast().worst.total_tokens // REQUESTS // 2
    desk.settings["daily_llm_tokens"] = 2 * one
    with pytest.raises(OverBudget):
        desk.run()
    assert provider.batches == {}
    desk.settings["daily_llm_tokens"] = 20 * one
    desk.run()
    assert len(provider.answered) == REQUESTS - 1


def test_log_probabilities_come_in_batches_of_chats(desk: Desk, provider: BatchServer) -> None:
    desk.settings["simulator"] = "logprobs"
    provider.otherwise = word_by_word
    desk.run()
    assert all(line["body"]["logprobs"] is True for line in provider.lines(0))
    # One text a request, and the trial.
    assert len(provider.lines(0)) == REQUESTS * len(TEXTS) - 1
    # The first one learns from the cache, too, that the endpoint repeats no prompts.
    first, rest = ("full", 0, len(TEXTS) + 1), ("full", 0, len(TEXTS))
    assert desk.scores() == [first] + [rest] * (REQUESTS - 1)


def test_log_probabilities_that_do_not_come_stop_the_job(desk: Desk, provider: BatchServer) -> None:
    desk.settings["simulator"] = "logprobs"
    provider.otherwise = lambda body: completion("{}")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="sends no log probabilities"):
            desk.run()
    assert len(provider.at_once) == 1
    assert provider.batches == {}


def test_answers_that_are_fetched_twice_are_kept_once(desk: Desk, provider: BatchServer) -> None:
    with desk.job() as job:
        for _ in range(2):
            assert not job.go_on()
    state = desk.folder / "job" / "job.json"
    before = state.read_bytes()
    desk.run()
    kept = len(list(export(Path(desk.settings["cache_path"]))))
    # As a kill between the cache and the note of it would leave the job.
    state.write_bytes(before)
    desk.run()
    assert len(list(export(Path(desk.settings["cache_path"])))) == kept == REQUESTS


def test_a_job_is_not_gone_on_with_by_other_requests_or_models(
    desk: Desk, provider: BatchServer
) -> None:
    with desk.job() as job:
        job.go_on()
    desk.settings["simulator_model"] = "another"
    with pytest.raises(ConfigurationError, match="begun with model scripted, now it is another"):
        desk.job()


def test_two_processes_cannot_work_on_one_job(desk: Desk) -> None:
    with (
        desk.job(),
        pytest.raises(ConfigurationError, match="another process"),
        desk.job(),
    ):
        pass


def test_without_a_cache_or_an_llm_there_is_no_job(desk: Desk) -> None:
    desk.settings["cache_path"] = ""
    with pytest.raises(ConfigurationError, match="needs CACHE_PATH"):
        desk.job()
    desk.settings["openai_base_url"] = ""
    with pytest.raises(ConfigurationError, match="no LLM is configured"):
        desk.job()


@pytest.mark.parametrize(
    ("settings", "limit"), [({"daily_cost_usd": 1.0}, Limit()), ({}, Limit(cost_usd=1.0))]
)
def test_a_budget_in_usd_needs_a_price(
    desk: Desk, settings: dict[str, float], limit: Limit
) -> None:
    desk.settings |= {"prices_path": "", **settings}
    with pytest.raises(ConfigurationError, match="the price of 'scripted' at this endpoint"):
        desk.job(limit=limit)


def test_the_command_goes_on_from_where_the_job_is(
    desk: Desk,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in desk.settings.items():
        monkeypatch.setenv(name.upper(), value)
    file = tmp_path / "in.jsonl"
    body = {"explanation": "fast animals", "activations": call(0).activations}
    bodies = [{**body, "explanation": f"fast animals {n}"} for n in range(3)]
    file.write_text("\n".join(json.dumps(one) for one in [*bodies, {**body, "explanation": ""}]))
    command = ["batch", str(file), "--tolerance", "1e-6"]
    assert cli.main([*command, "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("requests: 3,")
    assert cli.main(command) == 0
    captured = capsys.readouterr()
    assert captured.out == "not done yet: run the same command again\n"
    assert "round 1: 2 LLM requests in 1 file, at most" in captured.err
    assert cli.main([*command, "--wait", "0.01"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("done: ")
    assert "2 of 2 requests are answered: 220 tokens" in captured.err
    assert cli.main([*command[:2], "--tolerance", "0.5"]) == 2
    assert "begun with tolerance 1e-06, now it is 0.5" in capsys.readouterr().err
