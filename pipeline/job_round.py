"""One round of a batch job: what the scores would ask an LLM, written into files."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import InvalidRequest
from pipeline.job import replace_file
from pipeline.scorer import Scorer
from pipeline.wire import ScoreCall
from stages.deferred import Deferred, Waiting

_log = logging.getLogger(__name__)

Calls = Callable[[], Iterable[ScoreCall | InvalidRequest]]
"""Gives the requests anew each time, an error in place of one that cannot be read."""


@dataclass(frozen=True, slots=True)
class Round:
    """The requests of a job that still wait for answers, by their places in the input."""

    folder: Path
    number: int
    calls: Calls

    def write(self, scorer: Scorer, simulator: Deferred) -> None:
        """Go as far with every score as the answers at hand allow, and post what it asks then.

        Those that ask nothing more are left out of the next round.
        """
        before = self._waiting()
        waiting = []
        for place, call in enumerate(self.calls()):
            if before is not None and place not in before:
                continue
            try:
                if isinstance(call, InvalidRequest):
                    raise call
                # The adjustment asks nothing.
                replace(call, adjust=False).run(scorer, simulator=simulator)
            except Waiting:
                waiting.append(place)
            except InvalidRequest as error:
                _log.warning("request %d is left out: %s", place, error)
        replace_file(self._file(self.number), json.dumps(waiting).encode())

    def _waiting(self) -> frozenset[int] | None:
        """The places that the round before left waiting; None: it is the first."""
        if self.number == 1:
            return None
        return frozenset(json.loads(self._file(self.number - 1).read_text("utf-8")))

    def _file(self, number: int) -> Path:
        return self.folder / f"round-{number}-waiting.json"
