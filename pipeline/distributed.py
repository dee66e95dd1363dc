"""Scores on a Ray cluster: workers that hold the models, and one desk that asks the LLM.

Ray places, restarts and retries; here is only how requests are cut into tasks, how many are under
way at once, and in which order their results are given.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from pipeline.batch import batch_budget
from pipeline.budget import Limit, limited
from pipeline.desk import Desk, Purse, RemoteBudget, RemoteSimulator
from pipeline.errors import ConfigurationError, InvalidRequest, ScorerError
from pipeline.result import ScoreResult
from pipeline.scorer import Scorer
from pipeline.settings import Settings
from pipeline.wire import ScoreCall

_log = logging.getLogger(__name__)

# Explanations of one neuron follow one another, and share what its worker knows of its records.
_CALLS_A_TASK = 10
# While a worker waits for the LLM, it can do without it for others.
_TASKS_AT_ONCE = 4
_RETRIES = 3


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where to score.

    Attributes
    ----------
    address : "local" for this machine alone, "auto" for the cluster that it is part of, or
        ``ray://host:port``. Where Ray runs in this process already, it is used as it is.
    workers : None: as many as there are CPUs for.
    threads : CPUs of each worker.
    """

    address: str = "local"
    workers: int | None = None
    threads: int = 1


def score_many(
    requests: Iterable[Mapping[str, Any]],
    *,
    cluster: Cluster | None = None,
    settings: Settings | None = None,
    max_batch_llm_tokens: int | None = None,
    max_batch_cost_usd: float | None = None,
    **options: Any,
) -> Generator[ScoreResult, None, None]:
    """Score requests on a cluster and give the results in order, as `pipeline.score_many` does.

    Memory stays flat: no more requests are read than can be worked on.

    Parameters
    ----------
    settings : from the environment if not given; the same on all machines.
    options : fields of every request, such as `tolerance`, as for `POST /score`.

    Raises
    ------
    ConfigurationError : without the extra `ray`.
    InvalidRequest : naming the request, the field and the remedy.
    ScorerError : if workers die again and again on the same requests.
    """
    batch = batch_budget(max_batch_llm_tokens, max_batch_cost_usd)

    settings = settings or Settings.from_environment()
    calls = (ScoreCall.parse({**request, **options}) for request in requests)
    given = 0
    try:
        for result in answer(calls, settings, cluster, batch.limit):
            yield result
            given += 1
    except InvalidRequest as error:
        raise error.inside(f"requests[{given}]") from None


def answer(
    calls: Iterator[ScoreCall],
    settings: Settings,
    cluster: Cluster | None = None,
    limit: Limit | None = None,
) -> Generator[ScoreResult, None, None]:
    """Answer calls in their order; `limit` is what all of them together may take."""
    cluster = cluster or Cluster()
    with _connected(cluster) as ray, _slots(ray, settings, cluster, limit or Limit()) as slots:
        # A result that has to wait for an earlier one must not hold its worker up.
        most_waiting = 4 * len(slots)
        under_way: dict[Any, tuple[int, Any]] = {}
        done: dict[int, Sequence[ScoreResult | ScorerError]] = {}
        tasks = enumerate(_tasks(calls))
        given = 0
        while True:
            while slots and len(under_way) + len(done) < most_waiting:
                number, task = next(tasks, (0, None))
                if task is None:
                    break
                if isinstance(task, ScorerError):
                    done[number] = [task]
                    break
                worker = slots.pop()
                under_way[worker.score.remote(task)] = number, worker
            if under_way:
                (ready, *_), _ = ray.wait(list(under_way), num_returns=1)
                number, worker = under_way.pop(ready)
                slots.insert(0, worker)
                done[number] = _result(ray, ready, number)
            elif not done:
                return
            while given in done:
                for result in done.pop(given):
                    if isinstance(result, ScorerError):
                        raise result
                    yield result
                given += 1


class Worker:
    """Holds the models, and scores; the key of the LLM never gets here.

    Parameters
    ----------
    desk : the actor that asks the LLM; None: there is none.
    """

    def __init__(self, settings: Settings, desk: Any, threads: int) -> None:
        import ray
        import torch

        torch.set_num_threads(threads)
        self._desk = desk
        self._limits: Mapping[Purse, tuple[Limit, str]] = {}
        if desk is not None:
            self._limits = ray.get(desk.limits.remote())
        self._scorer = Scorer(settings)
        self._scorer.load()

    def score(self, calls: Sequence[ScoreCall]) -> list[ScoreResult | ScorerError]:
        """A result for each call, or an error in the place of the last one."""
        results: list[ScoreResult | ScorerError] = []
        for call in calls:
            try:
                results.append(self._score(call))
            except ScorerError as error:
                return [*results, error]
        return results

    def _score(self, call: ScoreCall) -> ScoreResult:
        if self._desk is None:
            return call.run(self._scorer)
        budgets = {
            purse: RemoteBudget(self._desk, purse, limit, name)
            for purse, (limit, name) in self._limits.items()
        }
        simulator = RemoteSimulator(self._desk)
        result = call.run(self._scorer, limited(*budgets.values()), simulator)
        day = budgets.get("day")
        ended = day is not None and day.refused and not result.usage.calls
        on_budget = call.on_budget or self._scorer.settings.on_budget
        if ended and on_budget == "refuse":
            import ray

            raise ray.get(self._desk.refusal.remote())
        return result


def _tasks(calls: Iterator[ScoreCall]) -> Iterator[list[ScoreCall] | ScorerError]:
    """The calls in pieces, and as the last one the error that ended them."""
    while True:
        task: list[ScoreCall] = []
        try:
            task.extend(islice(calls, _CALLS_A_TASK))
        except ScorerError as error:
            yield task
            yield error
            return
        if not task:
            return
        yield task


@contextmanager
def _slots(ray: Any, settings: Settings, cluster: Cluster, limit: Limit) -> Iterator[list[Any]]:
    """Every worker as often as it may have tasks, one that it waits with included."""
    at_once = _TASKS_AT_ONCE if settings.has_llm else 1
    cpus = int(ray.cluster_resources().get("CPU", 1))
    count = cluster.workers or max(1, cpus // cluster.threads)
    if count * cluster.threads > cpus:
        # Ray would wait for more machines without a word.
        raise ConfigurationError(
            f"{count} workers of {cluster.threads} CPUs each: the cluster has {cpus} CPUs"
        )
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    # It is not restarted: it would have forgotten what the batch has spent.
    desk = (
        ray.remote(Desk)
        .options(num_cpus=0, max_concurrency=count * at_once + 4, scheduling_strategy=here)
        .remote(settings, limit)
    )
    actor = ray.remote(Worker).options(
        num_cpus=cluster.threads,
        max_concurrency=at_once,
        max_restarts=-1,
        max_task_retries=_RETRIES,
    )
    asks = desk if settings.has_llm else None
    workers = [actor.remote(_without_llm(settings), asks, cluster.threads) for _ in range(count)]
    try:
        yield workers * (at_once + 1)
    finally:
        # Else they would hold their CPUs until Python lets go of the last reference. The desk may
        # end by itself, once what was asked is answered and kept.
        for worker in workers:
            ray.kill(worker)


def _result(ray: Any, reference: Any, number: int) -> Sequence[ScoreResult | ScorerError]:
    try:
        results: Sequence[ScoreResult | ScorerError] = ray.get(reference)
    except ray.exceptions.RayError as error:
        first = number * _CALLS_A_TASK
        reason = str(error).strip().splitlines()[-1:]
        raise ScorerError(
            f"requests {first} to {first + _CALLS_A_TASK - 1} of this run could not be scored by "
            f"any worker: {type(error).__name__}: {' '.join(reason)[:300]}"
        ) from None
    return results


def _without_llm(settings: Settings) -> Settings:
    return replace(
        settings,
        openai_api_key="",
        openai_base_url="",
        cache_path="",
        daily_llm_tokens=0,
        daily_cost_usd=0.0,
    )


@contextmanager
def _connected(cluster: Cluster) -> Iterator[Any]:
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise ConfigurationError("Ray is not installed: pip install neuron-scorer[ray]") from None
    if ray.is_initialized():
        yield ray
        return
    dashboard = False if cluster.address == "local" else None
    try:
        ray.init(
            cluster.address,
            include_dashboard=dashboard,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    except (ConnectionError, ValueError) as error:
        raise ConfigurationError(f"no Ray cluster at {cluster.address!r}: {error}") from None
    try:
        yield ray
    finally:
        ray.shutdown()
