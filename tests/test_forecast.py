from __future__ import annotations

from pipeline.forecast import Forecast
from pipeline.simulation import Usage


def test_forecasts_sum_up() -> None:
    one = Forecast(1, 20, 5, Usage(100, 10, 1, cost_usd=0.5), Usage(900, 90, 2, cost_usd=1.0))
    other = Forecast(1, 10, 0, Usage(), Usage(400, 40, 2, cost_usd=None))
    assert one + other == Forecast(
        2, 30, 5, Usage(100, 10, 1, cost_usd=0.5), Usage(1300, 130, 4, cost_usd=None)
    )
    assert Forecast() + one == one


def test_it_reads_as_text() -> None:
    shown = str(
        Forecast(2, 1000, 5, Usage(1000, 10, 1, cost_usd=0.00125), Usage(1, 1, 2, cost_usd=None))
    )
    assert shown.splitlines() == [
        "requests: 2, with 1,000 records; the LLM is expected to be asked about 5",
        "expected: 1,010 tokens (1,000 in, 10 out), 0.0013 USD",
        "worst:    2 tokens (1 in, 1 out), USD not known",
    ]
