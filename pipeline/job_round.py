"""One round of a batch job: what the scores would ask an LLM, written into files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.job import replace_file
from pipeline.scorer import Scorer
from pipeline.wire import ScoreCall
from stages.deferred import Deferred, Waiting

Calls = Callable[[], Iterable[tuple[int, ScoreCall]]]
"""Gives the requests that can be scored, anew each time, and their numbers in the input."""


@dataclass(frozen=True, slots=True)
class Round:
    """The requests of a job that still wait for answers, by their numbers in the input."""

    folder: Path
    number: int
    calls: Calls

    def write(self, scorer: Scorer, simulator: Deferred) -> None:
        """Go as far with every score as the answers at hand allow, and post what it asks then.

        Those that ask nothing more are left out of the next round.
        """
        before = self._waiting()
        waiting = []
        for number, call in self.calls():
            if before is not None and number not in before:
                continue
            try:
                # The adjustment asks nothing.
                replace(call, adjust=False).run(scorer, simulator=simulator)
            except Waiting:
                waiting.append(number)
        replace_file(self._file(self.number), json.dumps(waiting).encode())

    def _waiting(self) -> frozenset[int] | None:
        """The requests that the round before left waiting; None: it is the first."""
        if self.number == 1:
            return None
        return frozenset(json.loads(self._file(self.number - 1).read_text("utf-8")))

    def _file(self, number: int) -> Path:
        return self.folder / f"round-{number}-waiting.json"
