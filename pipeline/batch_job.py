"""Has the LLM's part of a large run answered in a provider's batches, at half the price.

Each round, what the scores would ask next is written into files. The provider's answers go into
the cache, where the next round finds them, and at last the run that scores. Requests that expired
or failed are asked again by themselves: they still have no answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from pipeline.budget import Allowance, Limit
from pipeline.errors import ConfigurationError
from pipeline.forecast import Forecast, in_words
from pipeline.job import Progress
from pipeline.job_files import MOST_REQUESTS, RequestFiles, read_answers
from pipeline.job_round import Calls, Round
from pipeline.ledger import DailyBudget
from pipeline.scorer import Scorer
from pipeline.settings import Settings
from pipeline.shipping import Shipping
from pipeline.simulation import Usage
from stages.asker import Postponed
from stages.deferred import Deferred, Postbox, PostRound, Trial
from stages.dialect import Dialect
from stages.named import Simulators
from stages.prices import price_of
from stages.provider import CHATS, Provider
from stages.question import Chat

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """How a job is done.

    Attributes
    ----------
    rounds : how often files are written, at most.
    most_requests : in a file.
    limit : what all rounds together may take.
    """

    rounds: int = 3
    most_requests: int = MOST_REQUESTS
    limit: Limit = field(default_factory=Limit)


class BatchJob:
    """A job in a folder of its own. To be entered; one process at a time may work on it.

    Parameters
    ----------
    folder : made if it is missing.
    about : what tells these requests and options from others; the job can only be gone on with by
        the same.
    tell : told what is done.

    Raises
    ------
    ConfigurationError : without an LLM or a cache, or for the folder of another job.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        calls: Calls,
        about: Mapping[str, str],
        terms: Terms | None = None,
        tell: Callable[[str], None] = _log.info,
    ) -> None:
        if not settings.has_llm:
            raise ConfigurationError("no LLM is configured; set OPENAI_API_KEY or OPENAI_BASE_URL")
        if not settings.cache_path:
            raise ConfigurationError("a batch job needs CACHE_PATH: the answers are kept there")
        self._folder = folder
        self._settings = settings
        self._calls = calls
        self._terms = terms or Terms()
        self._tell = tell
        model, url = settings.simulator_model, settings.openai_base_url
        self._price = price_of(model, url, settings.prices_path)
        in_usd = self._terms.limit.cost_usd is not None or settings.daily_cost_usd
        if in_usd and self._price is None:
            raise ConfigurationError(
                f"a budget in USD cannot be kept: the price of {model!r} at this endpoint is not "
                "known; name it in the file PRICES_PATH"
            )
        self._postbox = Postbox()
        simulators = Simulators(settings, self._postbox)
        self._asker = self._postbox.asker = simulators.asker
        assert simulators.default is not None
        self._simulator = Deferred(simulators.default, self._postbox)
        about = {**about, "endpoint": self._asker.endpoint.url, "model": model}
        self.progress = Progress(folder, {**about, "simulator": settings.simulator})
        self._day = DailyBudget.of(settings)
        provider = Provider(self._asker.endpoint)
        self._shipping = Shipping(self.progress, provider, self._asker, self._day, tell)
        self._held = ExitStack()

    def __enter__(self) -> Self:
        from filelock import FileLock, Timeout

        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._held.enter_context(FileLock(self._folder / "lock", timeout=0))
        except Timeout:
            raise ConfigurationError(f"{self._folder}: another process works on this job") from None
        self._held.callback(self._asker.endpoint.close)
        self.progress.load()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def forecast(self) -> Forecast:
        """What the first round would take, by the prices of batches; nothing is sent."""
        total = Forecast()
        with self._scorer() as scorer:
            for _, call in self._calls():
                total += call.forecast(scorer, self._simulator)
        return total

    def go_on(self, wait: float | None = None) -> bool:
        """Do what can be done now; whether all answers are in the cache.

        Parameters
        ----------
        wait : seconds between two looks at batches that are under way; None: look once.

        Raises
        ------
        SimulatorError : if the provider fails, or refused or cancelled a batch. What was fetched is
            kept, and the job can be gone on with.
        OverBudget : if the day's budget does not cover the next file.
        """
        while not self.progress.job.finished:
            if not self.progress.job.open:
                self._write()
                continue
            self._shipping.submit()
            self._shipping.collect()
            if self.progress.job.open:
                shown = (
                    f"{part.name} {part.status or part.step}" for part in self.progress.job.open
                )
                self._tell(f"under way: {', '.join(shown)}")
                if wait is None:
                    return False
                time.sleep(wait)
        return True

    def _scorer(self) -> Scorer:
        # The day's budget holds back what the files take, not each score.
        return Scorer(replace(self._settings, daily_llm_tokens=0, daily_cost_usd=0.0))

    def _write(self) -> None:
        number = self.progress.job.round + 1
        files = RequestFiles(self._folder, f"round-{number}", CHATS, self._terms.most_requests)
        self._open_postbox(files)
        with self._scorer() as scorer:
            Round(self._folder, number, self._calls).write(scorer, self._simulator)
        parts = files.close()
        for reason, questions in self._postbox.given_up.items():
            self._tell(f"{questions:,} LLM requests will have no answer: {reason}")
        job = replace(
            self.progress.job,
            round=number,
            parts=self.progress.job.parts + parts,
            finished=not parts,
        )
        self.progress.save(job)
        if parts:
            worst = sum((part.worst for part in parts), Usage())
            requests = sum(part.requests for part in parts)
            files_ = "file" if len(parts) == 1 else "files"
            self._tell(
                f"round {number}: {requests:,} LLM requests in {len(parts):,} {files_}, "
                f"at most {in_words(worst)}"
            )
        else:
            self._tell(f"all answers that will come are in the cache: {in_words(job.spent)}")

    def _open_postbox(self, files: RequestFiles) -> None:
        endpoint, job, terms = self._asker.endpoint, self.progress.job, self._terms

        def send(postponed: Postponed, question: Chat, worst: Usage) -> None:
            body = endpoint.body(question)
            files.add(postponed.key, body, postponed.version, question.odds, worst)

        limit = terms.limit.less(job.spent.total_tokens, job.spent.cost_usd or 0.0)
        closed = f"no answer after {terms.rounds} rounds" if job.round >= terms.rounds else None
        budget = Allowance(limit, "what is left of the job's budget")
        trial = None
        if job.dialect is None:
            trial = Trial(self._price, self._day, self._tried)
        else:
            endpoint.dialect = _dialect(job.dialect)
        self._postbox.open(PostRound(send, budget, self._refused(), closed), trial)

    def _refused(self) -> dict[str, str]:
        """The requests that the provider will never answer, and why."""
        return {
            line.key: line.problem
            for part in self.progress.job.parts
            for path in (part.answers(self._folder), part.errors(self._folder))
            if path.exists()
            for line in read_answers(path)
            if line.final
        }

    def _tried(self, usage: Usage) -> None:
        """Remember what the trial found out, so that there is but one in a job."""
        self._tell(f"one request was sent at once as a trial: {in_words(usage)}")
        dialect = asdict(self._asker.endpoint.dialect)
        self.progress.save(
            replace(self.progress.job, spent=self.progress.job.spent + usage, dialect=dialect)
        )


def _dialect(raw: Mapping[str, Any]) -> Dialect:
    # JSON has no tuples.
    parts: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
    return Dialect(**parts)
