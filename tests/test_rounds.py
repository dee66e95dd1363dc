from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from models import PLAIN_GATE

from pipeline.budget import Allowance, Budget, Limit, Reservation
from pipeline.errors import SimulatorError
from pipeline.forecast import Forecast
from pipeline.records import Request
from pipeline.simulation import Distribution, Simulation, Usage
from stages.gate import Estimate
from stages.rounds import Simulated, forecast_rounds, simulate_rounds

RECORDS = 12
UNSURE, SURE = Estimate(0.5, 0.3), Estimate(0.5, 0.02)
Texts = Sequence[Sequence[str]]


def asked(records: int = RECORDS, explanation: str = "foxes") -> Request:
    """Records of different length, each with its index in its tokens."""
    return Request.parse(
        explanation,
        [
            {"tokens": [f" {i}", *[" fox"] * (1 + i % 3)], "values": [1.0] + [0.0] * (1 + i % 3)}
            for i in range(records)
        ],
    )


class Echo:
    """Gives each text its own index as strength on every token; notes what it was asked."""

    per_text = 100

    def __init__(self, answer: Callable[[int, Texts], Any] | None = None) -> None:
        self.answer = answer
        self.batches: list[list[int]] = []

    def simulate(self, explanation: str, texts: Texts) -> Simulation:
        self.batches.append([int(tokens[0]) for tokens in texts])
        usage = Usage(prompt_tokens=self.per_text * len(texts), calls=1)
        if self.answer:
            answer = self.answer(len(self.batches), texts)
            return answer if isinstance(answer, Simulation) else Simulation(tuple(answer), usage)
        return Simulation(tuple(marks(texts)), usage)


class BudgetedEcho(Echo):
    """One that tells its tokens, but no price: `per_text` a text, after 30 for the call."""

    def worst_case(self, explanation: str, texts: Texts) -> Usage:
        return Usage(30 + self.per_text * len(texts), calls=1, cost_usd=None)

    def typical_case(self, explanation: str, texts: Texts) -> Usage:
        return self.worst_case(explanation, texts)


def marks(texts: Texts) -> list[Any]:
    return [np.full(len(tokens), float(tokens[0]) / 2) for tokens in texts]


def simulate(
    simulator: Any,
    tolerance: float = 1e-6,
    budget: int | None = None,
    request: Request | None = None,
    prior: Estimate = UNSURE,
    budgets: Sequence[Budget] = (),
) -> Simulated:
    if budget is not None:
        budgets = [Allowance(Limit(budget))]
    return simulate_rounds(request or asked(), PLAIN_GATE, prior, simulator, tolerance, budgets)


@pytest.mark.parametrize("tolerance", [0.25, 0.1, 0.05, 1e-6])
def test_it_stops_as_soon_as_the_expected_error_is_within_tolerance(tolerance: float) -> None:
    echo = Echo()
    done = simulate(echo, tolerance)
    assert done.trouble is None
    assert PLAIN_GATE.expected_error(UNSURE, len(done.values), RECORDS) <= tolerance
    assert PLAIN_GATE.expected_error(UNSURE, len(done.values) - 1, RECORDS) > tolerance
    assert len(echo.batches) == 1
    assert done.usage == Usage(prompt_tokens=100 * len(done.values), calls=1)


def test_a_sure_request_asks_nothing() -> None:
    echo = Echo()
    assert simulate(echo, 0.05, prior=SURE) == Simulated()
    assert echo.batches == []


def test_every_answer_belongs_to_its_record() -> None:
    done = simulate(Echo())
    assert sorted(done.values) == list(range(RECORDS))
    for index, values in done.values.items():
        assert values.tolist() == [index / 2] * (2 + index % 3)


@pytest.mark.parametrize("budget", [0, 29, 129, 130, 500, 1229, 1230, 5000])
def test_the_budget_is_never_exceeded(budget: int) -> None:
    done = simulate(BudgetedEcho(), budget=budget)
    affordable = min(max((budget - 30) // 100, 0), RECORDS)
    assert len(done.values) == affordable
    assert done.usage.total_tokens <= budget
    if affordable == RECORDS:
        assert done.trouble is None
    else:
        assert done.trouble == (
            f"the budget of {budget:,} LLM tokens ended after {affordable} records"
        )


def test_a_call_that_takes_less_than_feared_leaves_the_rest_of_the_budget() -> None:
    class Frugal(BudgetedEcho):
        def worst_case(self, explanation: str, texts: Texts) -> Usage:
            return Usage(250 * len(texts), calls=1, cost_usd=None)

    frugal = Frugal()
    done = simulate(frugal, budget=1300)
    assert [len(batch) for batch in frugal.batches] == [5, 3, 2, 1]
    assert done.usage.total_tokens == 1100


def test_a_simulator_that_names_no_price_is_held_to_a_careful_guess() -> None:
    assert simulate(Echo(), budget=1000).values == {}
    assert len(simulate(Echo(), budget=100_000).values) == RECORDS


def test_no_budget_is_needed_where_nothing_is_asked() -> None:
    assert simulate(BudgetedEcho(), 0.05, budget=0, prior=SURE).trouble is None


def failing_once(index: int, failed: Any, why: str = "") -> Echo:
    """The text `index` gets `failed` for an answer."""

    def answer(call: int, texts: Texts) -> Simulation:
        values = marks(texts)
        failures = {}
        for at, tokens in enumerate(texts):
            if int(tokens[0]) == index:
                values[at] = failed
                failures = {at: why} if why else {}
        return Simulation(tuple(values), Usage(calls=1), failures)

    return Echo(answer)


@pytest.mark.parametrize(
    ("failed", "why", "reported"),
    [
        (None, "no excerpt was found", "no excerpt was found"),
        (None, "", "no reason given"),
        (np.zeros(9), "", "9 strengths for 3 tokens"),
        (np.zeros((3, 1)), "", "3 strengths for 3 tokens"),
        (np.zeros(0), "", "0 strengths for 3 tokens"),
        (3.0, "", "1 strengths for 3 tokens"),
        (np.array([0, np.nan, 1]), "", "strengths outside 0-10"),
        (np.array([0, np.inf, 1]), "", "strengths outside 0-10"),
        (np.array([0, -0.5, 1]), "", "strengths outside 0-10"),
        (np.array([0, 10.5, 1]), "", "strengths outside 0-10"),
        (["a", "b", "c"], "", "strengths that are not numbers"),
        ([[1], [1, 2], 3], "", "strengths that are not numbers"),
    ],
)
def test_a_failed_text_is_left_out_and_reported(failed: Any, why: str, reported: str) -> None:
    done = simulate(failing_once(7, failed, why))
    assert set(done.values) == set(range(RECORDS)) - {7}
    assert done.trouble == f"1 of 12 records could not be simulated: {reported}"


def test_another_record_takes_the_place_of_a_failed_one() -> None:
    first = Echo()
    simulate(first, 0.1)
    echo = failing_once(first.batches[0][0], None)
    done = simulate(echo, 0.1)
    assert [len(batch) for batch in echo.batches] == [len(first.batches[0]), 1]
    assert done.trouble is None
    assert PLAIN_GATE.expected_error(UNSURE, len(done.values), RECORDS) <= 0.1


@pytest.mark.parametrize("surplus", [-1, 1])
def test_an_answer_of_another_number_of_texts_is_not_used(surplus: int) -> None:
    echo = Echo(lambda call, texts: [*marks(texts), np.zeros(1)][: len(texts) + surplus])
    done = simulate(echo)
    assert done.values == {}
    assert done.trouble
    assert done.trouble.endswith(f"the simulator answered {RECORDS + surplus} of 12 texts")
    assert done.usage.calls == 1


def test_plain_numbers_are_taken_as_strengths() -> None:
    done = simulate(Echo(lambda call, texts: [[1] * len(tokens) for tokens in texts]))
    assert done.trouble is None
    assert {values.dtype for values in done.values.values()} == {np.dtype(np.float64)}


def test_an_error_keeps_what_came_before_and_what_it_took() -> None:
    def answer(call: int, texts: Texts) -> list[Any]:
        if call == 2:
            raise SimulatorError("the endpoint went away", Usage(prompt_tokens=7, calls=1))
        return [None, *marks(texts)[1:]]

    done = simulate(Echo(answer), 0.05)
    assert len(done.values) > 1
    assert done.trouble == "the LLM failed: the endpoint went away"
    assert done.usage.calls == 2
    assert done.usage.prompt_tokens == 100 * (len(done.values) + 1) + 7


def test_reasons_are_given_once_and_in_short() -> None:
    done = simulate(Echo(lambda call, texts: [None] * len(texts)))
    assert done.trouble == "12 of 12 records could not be simulated: no reason given"
    many = Simulation((None,) * RECORDS, failures={i: f"{i}" * 100 for i in range(RECORDS)})
    assert len(simulate(Echo(lambda call, texts: many)).trouble or "") < 600


def order(explanation: str = "foxes") -> list[int]:
    echo = Echo()
    simulate(echo, request=asked(40, explanation))
    return echo.batches[0]


def test_the_order_is_shuffled_by_content_and_repeatable() -> None:
    assert order() == order()
    assert sorted(order()) == list(range(40)) != order()
    assert order() != order("dogs")


def test_the_order_does_not_depend_on_the_process() -> None:
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; import test_rounds; print(test_rounds.order())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "1"},
    )
    assert run.stdout.strip() == str(order())


class Dear(Echo):
    """One whose text costs a cent, and twice that at worst; a call of no texts costs nothing."""

    def __init__(self, price: float | None = 0.01, answer: Any = None) -> None:
        super().__init__(answer)
        self.price = price

    def worst_case(self, explanation: str, texts: Texts) -> Usage:
        return self._usage(2 * len(texts))

    def typical_case(self, explanation: str, texts: Texts) -> Usage:
        return self._usage(len(texts))

    def simulate(self, explanation: str, texts: Texts) -> Simulation:
        values = super().simulate(explanation, texts).values
        return Simulation(values, self._usage(len(texts)))

    def _usage(self, texts: int) -> Usage:
        cost = None if self.price is None else texts * self.price
        return Usage(self.per_text * texts, 10 * texts, 1, cost_usd=cost)


@pytest.mark.parametrize("cost", [0.0, 0.019, 0.02, 0.1, 0.5])
def test_a_budget_in_dollars_is_never_exceeded(cost: float) -> None:
    done = simulate(Dear(), budgets=[Allowance(Limit(cost_usd=cost))])
    assert done.usage.cost_usd is not None
    assert done.usage.cost_usd <= cost
    if len(done.values) < RECORDS:
        assert done.trouble == f"the budget of {cost:g} USD ended after {len(done.values)} records"
        assert cost - done.usage.cost_usd < 0.02


@pytest.mark.parametrize("simulator", [Dear(price=None), BudgetedEcho(), Echo()])
def test_without_a_price_a_budget_in_dollars_buys_nothing(simulator: Echo) -> None:
    done = simulate(simulator, budgets=[Allowance(Limit(cost_usd=9.0))])
    assert simulator.batches == []
    assert done.trouble
    assert "the price of the LLM is not known; set PRICES_PATH" in done.trouble


def test_the_smallest_of_several_budgets_ends_it_and_all_are_charged() -> None:
    own, batch = (
        Allowance(Limit(tokens=10_000)),
        Allowance(Limit(tokens=1100), "the batch's budget"),
    )
    done = simulate(Dear(), budgets=[own, batch])
    assert done.ended is batch
    assert len(done.values) == 9
    assert done.trouble == "the batch's budget of 1,100 LLM tokens ended after 9 records"
    for budget, left in ((own, 10_000 - 990), (batch, 1100 - 990)):
        assert budget.covers(Usage(prompt_tokens=left))
        assert not budget.covers(Usage(prompt_tokens=left + 1))


def test_a_failed_call_is_settled_with_what_it_took() -> None:
    def fail(call: int, texts: Texts) -> list[Any]:
        raise SimulatorError("down", Usage(prompt_tokens=70, calls=1))

    budget = Allowance(Limit(tokens=5000))
    done = simulate(Dear(answer=fail), budgets=[budget])
    assert done.usage.total_tokens == 70
    assert budget.covers(Usage(prompt_tokens=4930))
    assert not budget.covers(Usage(prompt_tokens=4931))


def test_a_record_of_spending_that_breaks_degrades_the_score() -> None:
    class Broken(Allowance):
        def reserve(self, worst: Usage) -> Reservation | None:
            raise SimulatorError("the record is gone")

    dear = Dear()
    done = simulate(dear, budgets=[Broken(Limit(tokens=9))])
    assert (done.values, dear.batches) == ({}, [])
    assert done.trouble == "the LLM failed: the record is gone"


def test_others_may_spend_between_a_look_and_a_reservation() -> None:
    class Shared(Allowance):
        """Somebody else reserves all but 250 tokens as soon as this process has looked."""

        taken = False

        def covers(self, worst: Usage) -> bool:
            found = super().covers(worst)
            if not self.taken:
                self.taken = True
                assert super().reserve(Usage(prompt_tokens=750))
            return found

        def reserve(self, worst: Usage) -> Reservation | None:
            return super().reserve(worst) if super().covers(worst) else None

    dear = Dear()
    done = simulate(dear, budgets=[Shared(Limit(tokens=1000))])
    assert [len(batch) for batch in dear.batches] == [1]
    assert done.trouble == "the budget of 1,000 LLM tokens ended after 1 records"


def forecast(tolerance: float, simulator: Any, prior: Estimate = UNSURE) -> Forecast:
    return forecast_rounds(asked(), PLAIN_GATE, prior, simulator, tolerance)


@pytest.mark.parametrize("tolerance", [0.25, 0.1, 1e-6])
def test_a_forecast_expects_what_the_rounds_take(tolerance: float) -> None:
    done = simulate(Dear(), tolerance)
    found = forecast(tolerance, Dear())
    assert (found.requests, found.records, found.asked) == (1, RECORDS, len(done.values))
    assert found.expected == done.usage
    assert found.worst == Dear().worst_case("foxes", [[]] * RECORDS)


def test_a_forecast_asks_nothing() -> None:
    dear = Dear()
    assert forecast(1e-6, dear).asked == RECORDS
    assert forecast(0.05, dear, SURE).expected == Usage()
    assert dear.batches == []


def test_a_forecast_for_a_simulator_that_names_no_price_is_the_careful_guess() -> None:
    found = forecast(1e-6, Echo())
    assert found.expected == found.worst
    assert found.worst.total_tokens > 1000
    assert found.worst.cost_usd is None


def certain(texts: Texts) -> list[Distribution]:
    """All probability on what `marks` gives."""
    return [
        Distribution(np.array([0.0, values[0]]), np.tile([0.0, 1.0], (len(values), 1)))
        for values in marks(texts)
    ]


def test_distributions_come_back_with_their_records() -> None:
    def answer(call: int, texts: Texts) -> Simulation:
        return Simulation(tuple(marks(texts)), distributions=dict(enumerate(certain(texts))))

    done = simulate(Echo(answer))
    assert set(done.distributions) == set(done.values) == set(range(RECORDS))
    for index, distribution in done.distributions.items():
        np.testing.assert_allclose(distribution.expected, done.values[index])


def test_a_record_whose_distribution_is_none_is_failed() -> None:
    def answer(call: int, texts: Texts) -> Simulation:
        unsound = [Distribution(one.values, one.probabilities * 2) for one in certain(texts)]
        return Simulation(tuple(marks(texts)), distributions=dict(enumerate(unsound)))

    done = simulate(Echo(answer))
    assert not done.values
    assert not done.distributions
    assert done.trouble is not None
    assert "a distribution that is none" in done.trouble
