"""Scores a file of requests so that it can be interrupted and gone on with at any point."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pipeline.budget import Allowance
from pipeline.errors import ConfigurationError, InvalidRequest
from pipeline.items import Item
from pipeline.outputs import Output
from pipeline.records import Limits
from pipeline.result import ScoreResult
from pipeline.simulation import Usage
from pipeline.wire import ScoreCall

Answering = Callable[[Iterator[ScoreCall]], Iterator[ScoreResult]]
"""Answers calls in their order; may take some more of them before it answers one."""


class Faults:
    """The side file for what cannot be scored, one JSON object a line.

    Parameters
    ----------
    path : None: the first such request ends the run.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self.count = 0
        if path:
            # Those of an earlier run are found again: all of the input is read again.
            path.unlink(missing_ok=True)

    def add(self, item: Item, error: InvalidRequest) -> None:
        """Note a request, or raise the error where there is no side file."""
        self.count += 1
        if not self._path:
            raise error.inside(f"requests[{item.index}]") if item.index else error
        self._file = self._file or self._path.open("w", encoding="utf-8")
        found = {"line": item.line, "index": item.index, "id": item.id}
        about = {**found, "error": error.message, "field": error.field, "code": error.code}
        self._file.write(json.dumps(about) + "\n")
        self._file.flush()

    def close(self) -> None:
        if self._file:
            self._file.close()

    def __str__(self) -> str:
        place = f", see {self._path}" if self.count else ""
        return f"{self.count:,} could not be scored{place}"


def checked(
    items: Iterable[Item], limits: Limits, faults: Faults
) -> Iterator[tuple[Item, ScoreCall]]:
    """The items that can be scored; the others go to the side file.

    Raises
    ------
    InvalidRequest : for one that cannot be scored, where there is no side file.
    """
    for item in items:
        try:
            call = item.call(limits)
        except InvalidRequest as error:
            faults.add(item, error)
        else:
            yield item, call


@dataclass(slots=True)
class Tally:
    """What a run came to; `kept` were there from an earlier one. `usage` is of this run."""

    scored: int = 0
    kept: int = 0
    usage: Usage = field(default_factory=Usage)
    interrupted: bool = False


class Run:
    """One pass over the input.

    Parameters
    ----------
    output : what it holds already is neither scored nor paid for again.
    spent : the batch's budget, which what was spent earlier is charged to.
    stopping : asked before each request; True: take no more of them.
    brief : answers without the simulations.
    """

    def __init__(
        self,
        output: Output,
        faults: Faults,
        limits: Limits,
        spent: Allowance,
        stopping: Callable[[], bool],
        *,
        brief: bool = False,
    ) -> None:
        self.tally = Tally()
        self._output = output
        self._faults = faults
        self._limits = limits
        self._spent = spent
        self._stopping = stopping
        self._brief = brief
        self._under_way: deque[tuple[Item, ScoreCall]] = deque()

    def score(self, items: Iterable[Item], answering: Answering) -> Tally:
        """Score what has no answer yet.

        Raises
        ------
        ConfigurationError : if answers from an earlier run are of other requests.
        InvalidRequest : for a request that cannot be scored, where no side file takes it.
        """
        for result in answering(self._calls(items)):
            item, call = self._under_way.popleft()
            self._output.write(self._row(item, call, result))
            self.tally.scored += 1
            self.tally.usage += result.usage
        return self.tally

    def _calls(self, items: Iterable[Item]) -> Iterator[ScoreCall]:
        for item, call in checked(self._without_answer(items), self._limits, self._faults):
            self._under_way.append((item, call))
            yield call

    def _without_answer(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items that no row answers; rows and items are in the same order."""
        rows = self._output.rows()
        row = next(rows, None)
        for item in items:
            if row is None:
                if self._stopping():
                    self.tally.interrupted = True
                    return
                yield item
            elif row.get("index") != item.index:
                # Answers go on behind it, so it must be one that had none.
                if any(checked([item], self._limits, self._faults)):
                    raise _changed(item.line)
            elif row.get("digest") != item.digest:
                raise _changed(item.line)
            else:
                if nothing := self._spent.reserve(Usage()):
                    self._spent.settle(nothing, _usage(row))
                self.tally.kept += 1
                row = next(rows, None)
        if row is not None:
            raise _changed(row.get("line"))

    def _row(self, item: Item, call: ScoreCall, result: ScoreResult) -> dict[str, Any]:
        answer = result.to_dict(explain=call.explain)
        if self._brief:
            del answer["simulations"]
        about = {"index": item.index, "line": item.line, "id": item.id}
        return {**about, "explanation": call.explanation, **answer, "digest": item.digest}


def _usage(row: Mapping[str, Any]) -> Usage:
    usage = row["usage"]
    return Usage(usage["prompt_tokens"], usage["completion_tokens"], cost_usd=usage.get("cost_usd"))


def _changed(line: object) -> ConfigurationError:
    return ConfigurationError(
        f"the input has changed since the run that is to be gone on with (line {line}); "
        "take that input, or name another output"
    )
