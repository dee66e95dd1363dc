from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from pipeline.batch import AHEAD, in_order, prepared
from pipeline.budget import Allowance, Limit
from pipeline.simulation import Usage


def double(number: int) -> int:
    time.sleep(0.001 * (7 - number % 7))
    return 2 * number


@pytest.mark.parametrize("at_once", [1, 3])
def test_results_come_in_the_order_of_the_items(at_once: int) -> None:
    assert list(in_order(double, range(40), at_once)) == [2 * number for number in range(40)]


def test_so_many_are_under_way_at_once_and_no_more() -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def work(number: int) -> int:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.01)
        with lock:
            inside -= 1
        return number

    assert len(list(in_order(work, range(20), 4))) == 20
    assert most == 4


def test_an_endless_source_is_read_only_a_little_ahead() -> None:
    read: list[int] = []

    def source() -> Iterator[int]:
        while True:
            read.append(len(read))
            yield read[-1]

    windows: list[list[int]] = []
    results = in_order(double, prepared(source(), lambda some: windows.append(list(some))), 2)
    assert [next(results) for _ in range(100)] == [2 * number for number in range(100)]
    assert len(read) <= 100 + 2 + 2 * AHEAD
    assert windows[0] == list(range(AHEAD))
    before = threading.active_count()
    results.close()
    assert threading.active_count() == before - 2


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_source_that_fails_fails_after_what_it_gave(at_once: int) -> None:
    def source() -> Iterator[int]:
        yield from range(AHEAD + 2)
        raise OSError("the disk is gone")

    results = in_order(double, prepared(source(), len), at_once)
    assert [next(results) for _ in range(AHEAD + 2)] == [2 * n for n in range(AHEAD + 2)]
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)


def test_an_error_comes_in_its_place_and_drops_what_has_not_begun() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.01)
        if number == 2:
            raise ValueError("two")
        return number

    results = in_order(work, range(1000), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
    assert len(begun) < 10


def test_a_patient_budget_waits_for_what_others_hold_back() -> None:
    budget = Allowance(Limit(tokens=100), patient=True)
    first = budget.reserve(Usage(prompt_tokens=80))
    assert first is not None
    assert budget.reserve(Usage(prompt_tokens=101)) is None
    got: list[object] = []
    other = threading.Thread(target=lambda: got.append(budget.reserve(Usage(prompt_tokens=80))))
    other.start()
    time.sleep(0.05)
    assert got == []
    budget.settle(first, Usage(prompt_tokens=15))
    other.join(10)
    assert got[0] is not None
