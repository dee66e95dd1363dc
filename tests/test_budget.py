from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.budget import Allowance, Budget, Held, Limit, hold, limited
from pipeline.errors import InvalidRequest
from pipeline.simulation import Usage


def took(tokens: int, cost_usd: float | None = 0.0) -> Usage:
    return Usage(
        prompt_tokens=tokens - tokens // 4, completion_tokens=tokens // 4, cost_usd=cost_usd
    )


@pytest.mark.parametrize(
    ("limit", "worst", "covered"),
    [
        (Limit(), took(10**9, None), True),
        (Limit(tokens=10), took(10, None), True),
        (Limit(tokens=10), took(11), False),
        (Limit(cost_usd=0.5), took(10**9, 0.5), True),
        (Limit(cost_usd=0.5), took(1, 0.51), False),
        (Limit(cost_usd=0.5), took(1, None), False),
        (Limit(10, 0.5), took(11, 0.1), False),
        (Limit(10, 0.5), took(9, 0.6), False),
        (Limit(0, 0.0), Usage(), True),
    ],
)
def test_a_limit_covers_what_is_within_both_its_numbers(
    limit: Limit, worst: Usage, covered: bool
) -> None:
    assert limit.covers(worst) is covered
    assert (Allowance(limit).reserve(worst) is not None) is covered


def test_what_is_reserved_is_out_of_reach_until_it_is_settled() -> None:
    budget = Allowance(Limit(tokens=100, cost_usd=1.0))
    first = budget.reserve(took(80, 0.8))
    assert first
    assert budget.reserve(took(30, 0.1)) is None
    assert budget.reserve(took(10, 0.3)) is None
    budget.settle(first, took(20, 0.1))
    assert budget.reserve(took(80, 0.9))
    assert not budget.covers(took(1, 0.0))


def test_what_takes_nothing_is_covered_even_by_an_overdrawn_budget() -> None:
    budget = Allowance(Limit(tokens=10))
    reserved = budget.reserve(took(10))
    assert reserved
    budget.settle(reserved, took(25))
    assert not budget.covers(took(1))
    assert budget.reserve(Usage())


def test_all_budgets_hold_the_same_or_none_does() -> None:
    large, small = Allowance(Limit(tokens=100)), Allowance(Limit(tokens=10), "the batch's budget")
    assert hold([large, small], took(50)) is small
    assert large.covers(took(100))
    held = hold([large, small], took(10))
    assert isinstance(held, Held)
    assert not large.covers(took(91))
    held.settle(took(4))
    assert large.covers(took(96))
    assert small.covers(took(6))
    assert not small.covers(took(7))


def test_threads_cannot_spend_the_same_remainder() -> None:
    budget: Budget = Allowance(Limit(tokens=100))
    start = threading.Barrier(8)

    def spend(_: int) -> int:
        start.wait(10)
        return sum(budget.reserve(took(1)) is not None for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(spend, range(8))) == 100


def test_a_budget_says_what_it_is() -> None:
    assert str(Allowance(Limit(1000, 0.5))) == "the budget of 1,000 LLM tokens and 0.5 USD"
    assert str(Allowance(Limit(cost_usd=2), "the batch's budget")) == "the batch's budget of 2 USD"


@pytest.mark.parametrize(
    ("limit", "field"),
    [
        (Limit(tokens=-1), "max_batch_llm_tokens"),
        (Limit(tokens="many"), "max_batch_llm_tokens"),  # type: ignore[arg-type]
        (Limit(cost_usd="1"), "max_batch_cost_usd"),  # type: ignore[arg-type]
        (Limit(cost_usd=-0.1), "max_batch_cost_usd"),
        (Limit(cost_usd=float("nan")), "max_batch_cost_usd"),
        (Limit(cost_usd=float("inf")), "max_batch_cost_usd"),
    ],
)
def test_numbers_that_are_no_budget_are_refused_by_name(limit: Limit, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        limit.check("max_batch_")
    assert caught.value.field == field


def test_what_sets_no_limit_is_no_budget_to_keep() -> None:
    tokens, cost = Allowance(Limit(tokens=0)), Allowance(Limit(cost_usd=0.0))
    assert limited(tokens, None, Allowance(Limit()), cost) == [tokens, cost]
