"""The command `neuron-scorer batch`: the LLM's part of a large run, in a provider's batches."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.budget import Limit
from pipeline.errors import InvalidRequest
from pipeline.settings import Settings
from pipeline.wire import ScoreCall, read_requests

_OPTIONS = ("tolerance", "max_llm_tokens", "max_cost_usd")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Give the command `batch` its arguments."""
    command.add_argument("requests", type=Path, help="file of requests, as for the command score")
    command.add_argument(
        "--job", type=Path, metavar="DIR", help="where the job is kept; default: REQUESTS.batch"
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
    command.add_argument("--tolerance", type=float, help="half-width of the interval that will do")
    command.add_argument("--max-llm-tokens", type=int, metavar="N", help="budget of each score")
    command.add_argument("--max-cost-usd", type=float, metavar="USD", help="budget of each score")
    command.add_argument("--max-batch-llm-tokens", type=int, metavar="N", help="budget of the job")
    command.add_argument("--max-batch-cost-usd", type=float, metavar="USD", help="... in USD")
    command.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="how often what has no answer is sent"
    )
    command.add_argument(
        "--requests-per-file", type=int, default=50_000, metavar="N", help="at most"
    )
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    from pipeline.batch_job import BatchJob, Terms

    limit = Limit(args.max_batch_llm_tokens, args.max_batch_cost_usd)
    limit.check("max_batch_")
    for name in ("rounds", "requests_per_file"):
        if getattr(args, name) < 1:
            raise InvalidRequest("expected at least 1", name)
    options = {name: getattr(args, name) for name in _OPTIONS}
    options = {name: value for name, value in options.items() if value is not None}
    file: Path = args.requests
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    about = {"requests": digest, **{name: str(value) for name, value in options.items()}}
    folder = args.job or file.with_name(f"{file.name}.batch")
    job = BatchJob(
        folder,
        Settings.from_environment(),
        lambda: _calls(file, options),
        about,
        Terms(args.rounds, args.requests_per_file, limit),
        lambda line: print(line, file=sys.stderr, flush=True),
    )
    with job:
        if args.dry_run:
            print(job.forecast())
        elif job.go_on(args.wait):
            print(f"done; score now, with the same CACHE_PATH: neuron-scorer score {file}")
        else:
            print("not done yet; run the same command again")


def _calls(file: Path, options: Mapping[str, object]) -> Iterator[ScoreCall | InvalidRequest]:
    for body in read_requests(file.read_bytes()):
        try:
            yield ScoreCall.parse({**body, **options} if isinstance(body, Mapping) else body)
        except InvalidRequest as error:
            yield error
