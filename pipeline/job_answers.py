"""Puts what a provider answered in a batch into the cache of raw answers."""

from __future__ import annotations

import logging
from pathlib import Path

from pipeline.cache import RawAnswer
from pipeline.errors import ConfigurationError, SimulatorError
from pipeline.job import Part
from pipeline.job_files import Answered, read_answers
from pipeline.simulation import Usage
from stages.asker import Asker

_log = logging.getLogger(__name__)

_ANSWERS_AT_ONCE = 1000


def keep_answers(asker: Asker, part: Part, path: Path) -> Usage:
    """Put a file of answers into the cache, unread; what they took.

    It does no harm to do so twice, as after a kill.

    Raises
    ------
    ConfigurationError : if the cache cannot be written.
    """
    total = Usage()
    batch: dict[str, tuple[RawAnswer, float | None]] = {}
    for line in read_answers(path):
        if (answer := _read(asker, part, line)) is None:
            continue
        usage = _usage(asker, part, answer)
        total += usage
        batch[line.key] = (answer, usage.cost_usd)
        if len(batch) >= _ANSWERS_AT_ONCE:
            _put(asker, part, batch)
            batch = {}
    _put(asker, part, batch)
    return total


def _read(asker: Asker, part: Part, line: Answered) -> RawAnswer | None:
    from openai.types.chat import ChatCompletion

    if line.completion is None:
        return None
    try:
        completion = ChatCompletion.construct(**dict(line.completion))
        return asker.endpoint.read(completion, odds=part.odds)
    except SimulatorError as error:
        _log.warning("%s: %s: %s", part.name, line.key, error)
        return None


def _usage(asker: Asker, part: Part, answer: RawAnswer) -> Usage:
    # A provider that reports nothing must not slip through the budget.
    asked = answer.prompt_tokens or part.worst.prompt_tokens // part.requests
    said = answer.completion_tokens or part.worst.completion_tokens // part.requests
    return asker.priced(asked, said, calls=1)


def _put(asker: Asker, part: Part, answers: dict[str, tuple[RawAnswer, float | None]]) -> None:
    assert asker.cache is not None
    if not asker.cache.put_new(answers, asker.source(part.version)):
        raise ConfigurationError(
            "CACHE_PATH: the file cannot be written; the answers are in the job's folder, and the "
            "next run reads them again"
        )
