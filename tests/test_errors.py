from __future__ import annotations

import copy

import pytest

from pipeline.errors import Busy, InvalidRequest, OverBudget, RequestTooLarge


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("is empty", "explanation"),
        RequestTooLarge("has 9 texts", "activations"),
        Busy("all slots are taken", 7),
        OverBudget("the day's budget is gone", 60),
    ],
)
def test_errors_survive_the_way_to_another_process(error: Exception) -> None:
    arrived = copy.copy(error)  # By what pickle takes, too.
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)
