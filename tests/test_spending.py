"""What is truly charged where many threads of many processes share one day's budget."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import fault_server
import spend_batch
from forked import Forked
from paid_model import PaidModel

from pipeline.archive import export


@dataclass(frozen=True)
class Spent:
    """`lost` answers arrived but are not kept; `twice` arrived more than once."""

    charged: int
    answers: int
    lost: int
    twice: int
    refused: int


def spend(folder: Path, processes: int, budget: int, faulty: float) -> Spent:
    """Let processes at once spend what they can get at an endpoint that loses answers."""
    cache = folder / "answers.sqlite"
    model = PaidModel(faulty=faulty, seconds=0.02)
    with fault_server.serve() as server:
        server.otherwise = model
        running = []
        for number in range(processes):
            own = folder / f"process {number}"
            own.mkdir()
            arguments = (server.base_url, str(cache), budget, own.name)
            running.append(Forked(spend_batch.main, *arguments, folder=own))
        assert [process.wait(300) for process in running] == [0] * processes
        refused = [int(process.out.read_text()) for process in running]
    answers = sum(model.delivered.values())
    return Spent(
        charged=model.tokens,
        answers=answers,
        lost=answers - sum(1 for _ in export(cache)),
        twice=sum(times > 1 for times in model.delivered.values()),
        refused=sum(refused),
    )


def test_no_more_is_charged_than_the_budget_and_every_answer_is_kept(tmp_path: Path) -> None:
    budget = 30_000
    spent = spend(tmp_path, processes=2, budget=budget, faulty=0.2)
    assert spent.charged <= budget
    assert (spent.lost, spent.twice) == (0, 0)
    # The budget was what ended it, and it was not left unused, though what is lost stays reserved.
    assert spent.refused > 0
    assert spent.charged >= 0.25 * budget
