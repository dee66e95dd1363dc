"""The command `neuron-scorer score`."""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import __version__, cli_ray
from pipeline.batch import batch_budget
from pipeline.errors import ConfigurationError
from pipeline.forecast import Forecast
from pipeline.formats import Explanations
from pipeline.inputs import load_explanations, read_entries
from pipeline.items import Item, read_items
from pipeline.outputs import open_output
from pipeline.run import Faults, Run, Tally, checked
from pipeline.wire import ScoreCall

if TYPE_CHECKING:
    from types import FrameType

    from pipeline.budget import Allowance
    from pipeline.result import ScoreResult
    from pipeline.scorer import Scorer

BAD_REQUESTS, INTERRUPTED = 1, 130
_OPTIONS = ("tolerance", "max_llm_tokens", "max_cost_usd", "on_budget", "adjust", "llm", "explain")


def add_input(command: argparse.ArgumentParser) -> None:
    """Give a command what names its input."""
    command.add_argument(
        "input",
        help="file with requests as for POST /score, features of Neuronpedia, NeuronRecords or "
        "latents of delphi, as JSON Lines, JSON or Parquet, gzip or not; - for stdin",
    )
    given = command.add_mutually_exclusive_group()
    given.add_argument("--explanation", metavar="TEXT", help="in place of those in the file")
    given.add_argument(
        "--explanations", metavar="FILE", help="explanations by feature, in place of those there"
    )


def add_score_options(command: argparse.ArgumentParser) -> None:
    """Give a command the options of a score, which win over those of a request."""
    command.add_argument("--tolerance", type=float, help="expected error of the score that will do")
    command.add_argument("--max-llm-tokens", type=int, metavar="N", help="budget of each score")
    command.add_argument("--max-cost-usd", type=float, metavar="USD", help="budget of each score")
    command.add_argument(
        "--max-batch-llm-tokens", type=int, metavar="N", help="budget of all scores together"
    )
    command.add_argument(
        "--max-batch-cost-usd", type=float, metavar="USD", help="budget of all scores together"
    )
    command.add_argument("--on-budget", choices=("refuse", "degrade"), help="if the day's is gone")
    command.add_argument("--no-adjust", action="store_const", const=False, dest="adjust")
    command.add_argument("--no-llm", action="store_const", const=False, dest="llm")


def add_command(score: argparse.ArgumentParser, make_scorer: Callable[[], Scorer]) -> None:
    """Fill in the command `score`."""
    add_input(score)
    score.add_argument(
        "--out", type=Path, metavar="FILE", help=".jsonl, .jsonl.gz or .parquet; default: stdout"
    )
    score.add_argument(
        "--resume", action="store_true", help="go on with what is in --out, if it is there"
    )
    score.add_argument(
        "--errors",
        type=Path,
        metavar="FILE",
        help="for what cannot be scored; default: OUT.errors.jsonl, and without --out the first "
        "such request ends the run",
    )
    score.add_argument("--brief", action="store_true", help="answers without the simulations")
    score.add_argument(
        "--dry-run",
        action="store_true",
        help="print the expected and the worst cost in place of scores; nothing is sent",
    )
    add_score_options(score)
    cli_ray.add_options(score)
    score.add_argument(
        "--explain",
        action="store_const",
        const=True,
        help="with the evidence for the strongest tokens",
    )
    score.set_defaults(run=_score, make_scorer=make_scorer)


def items_of(args: argparse.Namespace) -> Iterator[Item]:
    """The requests of a command's input."""
    return read_items(read_entries(args.input), _given(args), _explanations(args))


def _score(args: argparse.Namespace) -> int:
    _check(args)
    batch = batch_budget(args.max_batch_llm_tokens, args.max_batch_cost_usd)
    with args.make_scorer() as scorer:
        if args.dry_run:
            return _forecast(args, scorer)
        items = items_of(args)
        output = open_output(args.out, _made_with(args, scorer), resume=args.resume)
        faults = Faults(
            args.errors or (args.out and args.out.with_name(args.out.name + ".errors.jsonl"))
        )
        done = False
        try:
            with _stopping_gently() as stopping:
                run = Run(output, faults, scorer.settings.limits, batch, stopping, brief=args.brief)
                tally = run.score(
                    items,
                    lambda calls: (
                        cli_ray.answer(args, scorer.settings, batch, calls)
                        if args.ray
                        else _answer(args, scorer, batch, calls)
                    ),
                )
                done = not tally.interrupted
        finally:
            output.close(complete=done)
            faults.close()
    if args.out or faults.count or not done:
        print(_summary(tally, faults), file=sys.stderr)
    return BAD_REQUESTS if done and faults.count else 0 if done else INTERRUPTED


def _answer(
    args: argparse.Namespace, scorer: Scorer, batch: Allowance, calls: Iterator[ScoreCall]
) -> Iterator[ScoreResult]:
    """Score several at once, except those of a pipe: who writes it may wait for each answer."""
    if args.input == "-":
        yield from (call.run(scorer, [batch]) for call in calls)
        return
    for options, alike in groupby(calls, key=lambda call: call.options([batch])):
        bodies = ({"explanation": c.explanation, "activations": c.activations} for c in alike)
        yield from scorer.score_many(bodies, **options)


def _forecast(args: argparse.Namespace, scorer: Scorer) -> int:
    faults = Faults(args.errors)
    total = Forecast()
    for _, call in checked(items_of(args), scorer.settings.limits, faults):
        total += call.forecast(scorer)
    print(total)
    faults.close()
    if faults.count:
        print(f"neuron-scorer: {faults}", file=sys.stderr)
    return BAD_REQUESTS if faults.count else 0


def _summary(tally: Tally, faults: Faults) -> str:
    cost = "USD not known" if tally.usage.cost_usd is None else f"{tally.usage.cost_usd:.4f} USD"
    parts = [f"{tally.scored:,} scored ({tally.usage.total_tokens:,} LLM tokens, {cost})"]
    if tally.kept:
        parts.append(f"{tally.kept:,} kept from before")
    parts.append(str(faults))
    if tally.interrupted:
        parts.append("interrupted; --resume goes on")
    return f"neuron-scorer: {'; '.join(parts)}"


def _check(args: argparse.Namespace) -> None:
    if args.resume and not args.out:
        raise ConfigurationError("--resume needs --out: there is nothing to go on with")
    used = [Path(args.input), *(path for path in (args.out, args.errors) if path)]
    if len({path.resolve() for path in used}) < len(used):
        raise ConfigurationError("the input, --out and --errors must be different files")
    # The options are checked with every request, but one that is wrong is no request's fault.
    ScoreCall.parse(_given(args))


def _given(args: argparse.Namespace) -> dict[str, object]:
    given = {name: getattr(args, name, None) for name in _OPTIONS}
    return {name: value for name, value in given.items() if value is not None}


def _explanations(args: argparse.Namespace) -> Explanations:
    if args.explanations:
        return load_explanations(args.explanations)
    return Explanations((args.explanation,) if args.explanation else ())


def _made_with(args: argparse.Namespace, scorer: Scorer) -> Mapping[str, Any]:
    """What answers hang on besides the input. Budgets of the batch and the day may change."""
    settings = scorer.settings
    given = {name: value for name, value in _given(args).items() if name != "on_budget"}
    llm = settings.has_llm and args.llm is not False
    return {
        "version": __version__,
        "options": given,
        "brief": args.brief,
        "explanation": args.explanation,
        "explanations": args.explanations and _content_digest(args.explanations),
        "llm": f"{settings.simulator} {settings.simulator_model}" if llm else None,
        "encoder": settings.encoder,
    }


def _content_digest(file: str) -> str:
    with Path(file).open("rb") as content:
        return hashlib.file_digest(content, "blake2b").hexdigest()[:16]


@contextmanager
def _stopping_gently() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C or SIGTERM finish what is under way, as it is paid for."""
    asked = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        restore()
        os.write(2, b"neuron-scorer: ending with the requests under way; once more ends at once\n")

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        restore()
