from __future__ import annotations

import pytest

from pipeline.errors import SimulatorError
from stages.breaker import Breaker


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(10.0, clock)


def admits(breaker: Breaker) -> bool:
    try:
        breaker.admit()
    except SimulatorError:
        return False
    return True


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.admit()
        breaker.failed("it is down")


def test_one_failure_is_forgiven_and_forgotten(breaker: Breaker) -> None:
    for _ in range(3):
        fail(breaker, 1)
        breaker.admit()
        breaker.succeeded()
    assert admits(breaker)


def test_after_two_in_a_row_the_endpoint_is_left_alone_and_the_reason_told(
    breaker: Breaker, clock: Clock
) -> None:
    fail(breaker, 2)
    clock.now += 2.5
    with pytest.raises(SimulatorError, match="it is down; it is left alone for another 8 s"):
        breaker.admit()


def test_then_one_call_tries_whether_it_is_back(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 2)
    clock.now += 10
    assert [admits(breaker) for _ in range(3)] == [True, False, False]
    breaker.succeeded()
    assert all(admits(breaker) for _ in range(3))


def test_pauses_double_up_to_sixteen_times(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 2)
    for pause in (10, 20, 40, 80, 160, 160):
        clock.now += pause - 1
        assert not admits(breaker)
        clock.now += 1
        fail(breaker, 1)


def test_a_try_that_our_side_gives_up_lets_another_one_in(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 2)
    clock.now += 10
    breaker.admit()
    breaker.ended()
    assert [admits(breaker) for _ in range(2)] == [True, False]


def test_calls_from_before_the_pause_do_not_make_it_longer(breaker: Breaker, clock: Clock) -> None:
    for _ in range(6):
        breaker.admit()
    for _ in range(6):
        breaker.failed("it is down")
    clock.now += 10
    assert admits(breaker)


def test_one_of_them_that_succeeds_ends_it(breaker: Breaker) -> None:
    breaker.admit()
    fail(breaker, 2)
    breaker.succeeded()
    assert admits(breaker)


def test_an_endpoint_that_says_when_is_left_alone_until_then(
    breaker: Breaker, clock: Clock
) -> None:
    breaker.admit()
    breaker.failed("HTTP 429", at_least=30)
    clock.now += 29
    assert not admits(breaker)
    clock.now += 1
    assert [admits(breaker) for _ in range(3)] == [True] * 3


def test_nor_is_it_left_alone_for_ever(breaker: Breaker, clock: Clock) -> None:
    breaker.admit()
    breaker.failed("HTTP 429", at_least=1e9)
    clock.now += 160
    assert admits(breaker)
