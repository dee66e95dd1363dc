"""Scores on a real Ray of two workers, which is started once: that takes long."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fault_server import Body, FaultServer, Reply, mark_first_words
from serving import shared_scorer

from pipeline import cli, distributed
from pipeline.budget import Limit
from pipeline.distributed import Cluster, score_many
from pipeline.errors import ConfigurationError, InvalidRequest
from pipeline.result import ScoreResult
from pipeline.settings import Settings
from pipeline.wire import ScoreCall

ray = pytest.importorskip("ray")

ONE, TWO = Cluster(workers=1), Cluster(workers=2)
MARK = f"NEURON_SCORER_TEST={uuid4()}"


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    name, _, value = MARK.partition("=")
    os.environ[name] = value
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100_000_000,
    )
    yield
    ray.shutdown()


def requests(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        activations = [
            {"tokens": ["the", " quick", " fox", f" {number}"], "values": [0, 1, 3, 0]},
            {"tokens": ["a", " spotted", " leopard"], "values": [0, 0, 2]},
        ]
        yield {"explanation": f"fast animals {number}", "activations": activations}


def workers() -> list[int]:
    """The processes of this cluster that score."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            named = (folder / "cmdline").read_bytes().startswith(b"ray::Worker")
            ours = MARK.encode() in (folder / "environ").read_bytes()
        except OSError:
            continue
        if named and ours:
            found.append(int(folder.name))
    return found


def settings(server: FaultServer, tmp_path: Path, **changes: Any) -> Settings:
    made = {
        "openai_base_url": server.base_url,
        "simulator_model": server.model,
        "cache_path": str(tmp_path / "cache.sqlite"),
        "llm_concurrency": 2,
        **changes,
    }
    return Settings(**made)


def test_a_cluster_scores_as_one_process_does_and_reads_no_more_than_it_can_work_on() -> None:
    read = []

    def endless() -> Iterator[dict[str, Any]]:
        for number, request in enumerate(requests(100_000)):
            read.append(number)
            yield request if number != 12 else {"explanation": "", "activations": []}

    found = score_many(endless(), cluster=TWO, settings=Settings())
    results = [next(found) for _ in range(12)]
    with pytest.raises(InvalidRequest, match=r"requests\[12\].explanation: is empty"):
        next(found)
    # Ten requests a task: one task is given, and sixteen may wait, however late the next one is.
    assert len(read) <= 10 * (1 + 16)
    alone = list(shared_scorer().score_many(requests(12)))
    # With other numbers of threads and other batches, other roundings, in bfloat16 coarse ones.
    assert [one.score for one in results] == pytest.approx([one.score for one in alone], abs=0.01)
    assert results[3].reason == alone[3].reason
    assert results[3].route == "cheap"


def test_a_worker_that_is_killed_loses_nothing_and_pays_for_nothing_twice(
    fault_server: FaultServer, tmp_path: Path
) -> None:
    killed = []

    def kill_one(body: Body) -> Reply:
        if len(fault_server.requests) == 5:
            killed.extend(workers()[:1])
            os.kill(killed[0], signal.SIGKILL)
        return mark_first_words(body)

    fault_server.otherwise = kill_one
    made = settings(fault_server, tmp_path)
    found = list(score_many(requests(24), cluster=TWO, settings=made, tolerance=1e-6))
    assert len(killed) == 1
    assert [one.route for one in found] == ["full"] * 24
    # One request a score, and none of them a second time.
    assert set(Counter(json.dumps(body) for body in fault_server.requests).values()) == {1}
    assert len(fault_server.requests) == 24


def test_workers_share_one_rate_and_one_budget(fault_server: FaultServer, tmp_path: Path) -> None:
    def slowly(body: Body) -> Reply:
        time.sleep(0.05)
        reply = mark_first_words(body)
        assert isinstance(reply.body, dict)
        reply.body["usage"]["prompt_tokens"] = 490
        return reply

    fault_server.otherwise = slowly
    made = settings(fault_server, tmp_path, llm_concurrency=1)
    budget = 5_000
    asked = requests(24)
    found = list(
        score_many(asked, cluster=TWO, settings=made, max_batch_llm_tokens=budget, tolerance=1e-6)
    )
    assert fault_server.most_at_once == 1
    assert 500 <= sum(one.usage.total_tokens for one in found) <= budget
    degraded = [one.reason for one in found if one.status == "degraded"]
    assert degraded
    assert all(reason and "the batch's budget of 5,000" in reason for reason in degraded)


def test_more_workers_than_there_is_room_for_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="3 workers of 1 CPUs each: the cluster has 2"):
        next(score_many(requests(1), cluster=Cluster(workers=3), settings=Settings()))


def test_the_command_scores_on_the_cluster_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def answer(calls: Iterator[ScoreCall], *about: Any) -> Iterator[ScoreResult]:
        asked.append(about[1:])
        return (call.run(shared_scorer()) for call in calls)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(distributed, "answer", answer)
    Path("in.jsonl").write_text("\n".join(json.dumps(one) for one in requests(2)))
    command = ["score", "in.jsonl", "--out", "out.jsonl", "--brief", "--no-llm"]
    cluster = ["--ray", "ray://head:1", "--workers", "3", "--max-batch-llm-tokens", "7"]
    assert cli.main([*command, *cluster]) == 0
    assert asked == [(Cluster("ray://head:1", 3), Limit(tokens=7))]
    assert len(Path("out.jsonl").read_text().splitlines()) == 2
    assert cli.main([*command, "--resume", "--ray", "--workers", "0"]) == 2
