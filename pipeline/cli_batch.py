"""The command `neuron-scorer batch`: the LLM's part of a large run, in a provider's batches."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

from pipeline.batch import batch_budget
from pipeline.cli_score import add_input, add_score_options, items_of
from pipeline.errors import InvalidRequest
from pipeline.run import Faults, checked
from pipeline.settings import Settings
from pipeline.wire import ScoreCall

# What decides which questions a score asks.
_OPTIONS = ("tolerance", "max_llm_tokens", "max_cost_usd", "llm", "explanation", "explanations")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Give the command `batch` its arguments."""
    add_input(command)
    command.add_argument(
        "--job", type=Path, metavar="DIR", help="where the job is kept; default: INPUT.batch"
    )
    command.add_argument(
        "--wait",
        type=float,
        nargs="?",
        const=60.0,
        metavar="SECONDS",
        help="stay until all is done, and look every so often (60); default: do what can be done",
    )
    command.add_argument("--dry-run", action="store_true", help="print the cost; nothing is sent")
    add_score_options(command)
    command.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="how often what has no answer is sent"
    )
    command.add_argument(
        "--requests-per-file", type=int, default=50_000, metavar="N", help="at most"
    )
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    from pipeline.batch_job import BatchJob, Terms

    limit = batch_budget(args.max_batch_llm_tokens, args.max_batch_cost_usd).limit
    for name in ("rounds", "requests_per_file"):
        if getattr(args, name) < 1:
            raise InvalidRequest("expected at least 1", name)
    if args.input == "-":
        raise InvalidRequest("the requests are read once a round, so name a file", "input")
    settings = Settings.from_environment()
    file = Path(args.input)
    folder: Path = args.job or file.with_name(f"{file.name}.batch")
    about = {name: str(getattr(args, name)) for name in _OPTIONS}
    with file.open("rb") as opened:
        about["requests"] = hashlib.file_digest(opened, "sha256").hexdigest()

    def calls() -> Iterator[tuple[int, ScoreCall]]:
        faults = Faults(folder / "left-out.jsonl")
        for item, call in checked(items_of(args), settings.limits, faults):
            yield item.index, call
        faults.close()
        if faults.count:
            tell(str(faults))

    def tell(line: str) -> None:
        print(f"neuron-scorer: {line}", file=sys.stderr, flush=True)

    terms = Terms(args.rounds, args.requests_per_file, limit)
    with BatchJob(folder, settings, calls, about, terms, tell) as job:
        if args.dry_run:
            print(job.forecast())
        elif job.go_on(args.wait):
            print("done: with the same CACHE_PATH and options, `neuron-scorer score` finds it all")
        else:
            print("not done yet: run the same command again")
