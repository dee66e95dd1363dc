"""Brings the files of a batch job to the provider, and their answers into the cache.

Every step is written down before the next one, so that it is not done twice after a kill. Where
that cannot be (a batch is started, and its number not yet written down) the provider is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.budget import Reservation
from pipeline.errors import SimulatorError
from pipeline.forecast import in_words
from pipeline.job import Part, Progress
from pipeline.job_answers import keep_answers
from pipeline.ledger import DailyBudget
from pipeline.simulation import Usage
from stages.asker import Asker
from stages.provider import Provider

if TYPE_CHECKING:
    from openai.types import Batch

_OVER = ("completed", "expired", "cancelled")
# The organisation has too many tokens in its queue: there is room once others are done.
_QUEUE_FULL = "token_limit_exceeded"


class Shipping:
    """Moves files on; `tell` is told what is done.

    `submit` and `collect` raise `SimulatorError` if the provider fails.

    Parameters
    ----------
    day : holds back what a file may take from its start on; None: there is no such limit.
    """

    def __init__(
        self,
        progress: Progress,
        provider: Provider,
        asker: Asker,
        day: DailyBudget | None,
        tell: Callable[[str], None],
    ) -> None:
        self._progress = progress
        self._folder = progress.folder
        self._provider = provider
        self._asker = asker
        self._day = day
        self._tell = tell

    def submit(self) -> None:
        """Upload and start what is written."""
        for part in self._progress.job.at("written"):
            file = self._provider.upload(self._folder / f"{part.name}.jsonl")
            part = replace(part, step="uploaded", file_id=file.id, uploaded_at=file.created_at)
            self._progress.save(self._progress.job.having(part))
        for part in self._progress.job.at("uploaded"):
            if part.status == "failed" and self._progress.job.at("started"):
                continue
            part = self._reserved(part)
            batch = self._provider.start(part.file_id, part.uploaded_at)
            part = replace(part, step="started", batch_id=batch.id, status=batch.status)
            self._progress.save(self._progress.job.having(part))
            self._tell(f"{part.name}: started as {batch.id}")

    def _reserved(self, part: Part) -> Part:
        """The file with its worst case held back in a day's budget, if there is one."""
        if self._day is None or part.day:
            return part
        reservation = self._day.reserve(part.worst)
        if reservation is None:
            raise self._day.refusal()
        part = replace(part, day=reservation.day)
        self._progress.save(self._progress.job.having(part))
        return part

    def collect(self) -> None:
        """Look at every batch that was started, and fetch those that are over.

        Raises
        ------
        SimulatorError : if one was refused or cancelled; it is noted how far all are.
        """
        cancelled = []
        for part in self._progress.job.at("started"):
            batch = self._provider.look(part.batch_id)
            if batch.status == "failed":
                self._take_back(part, batch)
            elif batch.status in _OVER:
                self._fetch(part, batch)
                cancelled += [batch.id] if batch.status == "cancelled" else []
            else:
                self._progress.save(self._progress.job.having(replace(part, status=_status(batch))))
        if cancelled:
            raise SimulatorError(
                f"cancelled: {', '.join(cancelled)}; the answers that came before are kept, and "
                "the next run asks for the others"
            )

    def _take_back(self, part: Part, batch: Batch) -> None:
        """Make a batch that the provider refused ready to be started again."""
        problems = (batch.errors and batch.errors.data) or []
        self._progress.save(
            self._progress.job.having(replace(part, step="uploaded", status="failed"))
        )
        if self._progress.job.at("started") and any(one.code == _QUEUE_FULL for one in problems):
            self._tell(f"{part.name}: has to wait for the others ({_QUEUE_FULL})")
            return
        why = "; ".join(f"{one.code}: {one.message}" for one in problems[:3])
        raise SimulatorError(
            f"the provider refused {part.name} ({why[:500]}); nothing was paid for it, and the "
            "next run tries it again"
        )

    def _fetch(self, part: Part, batch: Batch) -> None:
        usage = Usage()
        if batch.output_file_id:
            self._provider.download(batch.output_file_id, part.answers(self._folder))
            usage = keep_answers(self._asker, part, part.answers(self._folder))
        if batch.error_file_id:
            self._provider.download(batch.error_file_id, part.errors(self._folder))
        fetched = self._progress.job.having(replace(part, step="fetched", status=batch.status))
        self._progress.save(replace(fetched, spent=self._progress.job.spent + usage))
        if self._day and part.day:
            self._day.settle(Reservation(part.worst, part.day), usage)
        self._tell(
            f"{part.name}: {batch.status}, {usage.calls:,} of {part.requests:,} requests are "
            f"answered: {in_words(usage)}"
        )


def _status(batch: Batch) -> str:
    counts = batch.request_counts
    if not counts or not counts.total:
        return batch.status
    return f"{batch.status} ({counts.completed + counts.failed:,} of {counts.total:,})"
