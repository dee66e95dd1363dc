"""The command `neuron-scorer`: a demo, scores from a file, the server, or a look into the cache."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import __version__, cli_batch, cli_cache
from pipeline.batch import batch_budget, naming
from pipeline.errors import ScorerError
from pipeline.examples import load_examples
from pipeline.forecast import Forecast
from pipeline.simulation import MAX_STRENGTH
from pipeline.wire import ScoreCall, read_requests

if TYPE_CHECKING:
    from pipeline.result import ScoreResult
    from pipeline.scorer import Scorer

_DEMO_TEXTS = 4
_OPTIONS = (
    "tolerance",
    "max_llm_tokens",
    "max_cost_usd",
    "on_budget",
    "adjust",
    "llm",
    "explain",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 for success, 2 for an error, which is one line on stderr.

    Examples
    --------
    ``neuron-scorer score request.json --no-llm`` prints the JSON that `POST /score` answers.
    """
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except (ScorerError, OSError) as error:
        print(f"neuron-scorer: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="neuron-scorer", description="Score explanations of neurons."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="score the built-in examples")
    demo.set_defaults(run=_demo)

    score = commands.add_parser("score", help="score requests, print one JSON answer a line")
    score.add_argument(
        "request",
        help="file with the JSON of POST /score, or - for stdin; an array of such requests, or one "
        "a line, is a batch",
    )
    score.add_argument(
        "--dry-run",
        action="store_true",
        help="print the expected and the worst cost in place of scores; nothing is sent",
    )
    score.add_argument("--tolerance", type=float, help="half-width of the interval that will do")
    score.add_argument("--max-llm-tokens", type=int, metavar="N", help="budget of each score")
    score.add_argument("--max-cost-usd", type=float, metavar="USD", help="budget of each score")
    score.add_argument(
        "--max-batch-llm-tokens", type=int, metavar="N", help="budget of all scores together"
    )
    score.add_argument(
        "--max-batch-cost-usd", type=float, metavar="USD", help="budget of all scores together"
    )
    score.add_argument("--on-budget", choices=("refuse", "degrade"), help="if the day's is gone")
    score.add_argument("--no-adjust", action="store_const", const=False, dest="adjust")
    score.add_argument(
        "--explain",
        action="store_const",
        const=True,
        help="with the evidence for the strongest tokens",
    )
    score.set_defaults(run=_score)
    for command in (demo, score):
        command.add_argument("--no-llm", action="store_const", const=False, dest="llm")

    batch = commands.add_parser("batch", help="have the LLM answer in batches, at half the price")
    cli_batch.add_arguments(batch)

    serve = commands.add_parser("serve", help="run the HTTP server, set up by the environment")
    serve.set_defaults(run=_serve)

    cache = commands.add_parser("cache", help="show, export or prune the LLM answers that are kept")
    cli_cache.add_commands(cache)
    return parser


def _score(args: argparse.Namespace) -> None:
    file = args.request
    bodies = read_requests(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())
    batch = batch_budget(args.max_batch_llm_tokens, args.max_batch_cost_usd)
    calls = []
    for index, body in enumerate(bodies):
        with _naming(index, len(bodies)):
            calls.append(ScoreCall.parse(_with_options(body, args)))
    with _scorer() as scorer:
        if args.dry_run:
            print(_forecast(calls, scorer))
            return
        for index, call in enumerate(calls):
            with _naming(index, len(calls)):
                result = call.run(scorer, [batch])
            # At once: who reads along has what is done, whatever becomes of the rest.
            print(json.dumps(result.to_dict(explain=call.explain), allow_nan=False), flush=True)


def _with_options(body: object, args: argparse.Namespace) -> object:
    if not isinstance(body, Mapping):
        return body
    given = {name: getattr(args, name) for name in _OPTIONS}
    return {**body, **{name: value for name, value in given.items() if value is not None}}


def _forecast(calls: Sequence[ScoreCall], scorer: Scorer) -> Forecast:
    total = Forecast()
    for index, call in enumerate(calls):
        with _naming(index, len(calls)):
            total += call.forecast(scorer)
    return total


def _naming(index: int, requests: int) -> AbstractContextManager[None]:
    return naming(index) if requests > 1 else nullcontext()


def _demo(args: argparse.Namespace) -> None:
    with _scorer() as scorer:
        for example in load_examples():
            print(f"{example.name}: {example.note}\n")
            for explanation in example.explanations:
                call = ScoreCall(explanation, example.activations, llm=args.llm is not False)
                result = call.run(scorer)
                print(f"  {explanation}\n{_summary(result)}\n")
                if explanation == example.explanations[0]:
                    print(_texts(result))


def _serve(_args: argparse.Namespace) -> None:
    import server

    logging.basicConfig(level=logging.INFO, format=server.LOG_FORMAT)
    server.serve()


def _scorer() -> Scorer:
    from pipeline.scorer import Scorer
    from pipeline.settings import Settings

    return Scorer(Settings.from_environment())


def _summary(result: ScoreResult) -> str:
    if result.score is None or result.interval is None:
        return f"    no score: {result.reason}"
    low, high = result.interval
    lines = [
        f"score {result.score:.2f} (before the adjustment {result.raw_score:.2f}, "
        f"90 % interval {low:.2f} to {high:.2f})",
        f"route {result.route}, {result.usage.total_tokens} LLM tokens, status {result.status}"
        + (f": {result.reason}" if result.reason else ""),
    ]
    if result.adjustment:
        lines.append(f"taken off {result.adjustment.taken_off:.2f}: {result.adjustment.reason}")
    return "\n".join(f"    {line}" for line in lines)


def _texts(result: ScoreResult) -> str:
    """The first texts; behind each token that fires [true|predicted], both on 0-10."""
    largest = max(max(one.true_activations) for one in result.simulations)
    lines = ["    texts, with [true|predicted] strength 0-10 behind what fires:"]
    for one in result.simulations[:_DEMO_TEXTS]:
        true = one.true_activations * (MAX_STRENGTH / largest)
        triples = zip(one.simulation.tokens, true, one.simulation.expected_activations, strict=True)
        lines.append(
            "    | "
            + "".join(
                _visible(token) + (f"[{t:.0f}|{p:.0f}]" if max(t, p) >= 1 else "")
                for token, t, p in triples
            )
        )
    return "\n".join(lines) + "\n"


def _visible(token: str) -> str:
    return "".join(char if char.isprintable() else " " for char in token)
