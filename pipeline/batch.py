"""What the requests of a batch share: a budget, forward passes, and the time that an LLM takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from pipeline.budget import Allowance, Limit
from pipeline.errors import InvalidRequest
from pipeline.records import Limits, Request

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 8
"""Requests that are read before their turn, and embedded together."""


def batch_budget(max_llm_tokens: int | None, max_cost_usd: float | None) -> Allowance:
    """What the scores of a batch may take in all.

    Raises
    ------
    InvalidRequest : for numbers that are no budget.
    """
    limit = Limit(max_llm_tokens, max_cost_usd)
    limit.check("max_batch_")
    return Allowance(limit, "the batch's budget", patient=True)


def asked(raw: object) -> tuple[object, object]:
    """The explanation and the activations of a request."""
    if not isinstance(raw, Mapping):
        raise InvalidRequest(
            f"expected an object with 'explanation' and 'activations', found {type(raw).__name__}"
        )
    return raw.get("explanation"), raw.get("activations")


def parsed(index: int, raw: object, limits: Limits) -> Request | InvalidRequest:
    """A request of a batch, or what is wrong with it, to be said when its turn comes."""
    try:
        with naming(index):
            return Request.parse(*asked(raw), limits)
    except InvalidRequest as error:
        return error


@contextmanager
def naming(index: int) -> Iterator[None]:
    """Say which request of a batch an error is about."""
    try:
        yield
    except InvalidRequest as error:
        raise error.inside(f"requests[{index}]") from None


def prepared(
    items: Iterable[T], prepare: Callable[[Sequence[T]], object], ahead: int = AHEAD
) -> Iterator[T]:
    """The items, read some at a time so that they can be prepared together.

    Where reading fails, those read before come first.
    """
    window: list[T] = []
    try:
        for item in items:
            window.append(item)
            if len(window) == ahead:
                ready, window = window, []
                prepare(ready)
                yield from ready
    except Exception:
        yield from window
        raise
    prepare(window)
    yield from window


def in_order(work: Callable[[T], R], items: Iterable[T], at_once: int) -> Generator[R, None, None]:
    """What work makes of each item, in order, several under way at once.

    An error comes in its place, and is the end. What is under way when the iterator is closed is
    waited for, since it may be paid for; what has not begun is dropped.
    """
    if at_once == 1:
        yield from map(work, items)
        return
    source = iter(items)
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(at_once, "score") as pool:
        try:
            _top_up(waiting, source, pool, work, at_once + AHEAD)
            while waiting:
                yield waiting.popleft().result()
                _top_up(waiting, source, pool, work, at_once + AHEAD)
        finally:
            for future in waiting:
                future.cancel()


def _top_up(
    waiting: deque[Future[R]],
    source: Iterator[T],
    pool: ThreadPoolExecutor,
    work: Callable[[T], R],
    most: int,
) -> None:
    """Begin further items until as many wait as may."""
    while len(waiting) < most:
        try:
            item = next(source)
        except StopIteration:
            return
        except Exception as error:  # noqa: BLE001  its turn comes after those that were read
            failed: Future[R] = Future()
            failed.set_exception(error)
            waiting.append(failed)
            return
        waiting.append(pool.submit(work, item))
