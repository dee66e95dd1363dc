"""The command `neuron-scorer`: a demo, scores from a file, the server, or a look into the cache."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline import __version__, cli_batch, cli_cache, cli_compare, cli_demo, cli_score
from pipeline.cores import share_cores
from pipeline.errors import ScorerError

if TYPE_CHECKING:
    from pipeline.scorer import Scorer


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns
    -------
    int : 0 for success; 1 if some requests could not be scored; 2 for an error, which is one line
        on stderr; 130 after Ctrl-C.

    Examples
    --------
    ``neuron-scorer score request.json --no-llm`` prints the JSON that `POST /score` answers.
    """
    args = _parser().parse_args(argv)
    share_cores()
    try:
        return args.run(args) or 0
    except (ScorerError, OSError) as error:
        print(f"neuron-scorer: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("neuron-scorer: interrupted", file=sys.stderr)
        return cli_score.INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="neuron-scorer", description="Score explanations of neurons."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="score the built-in examples")
    demo.add_argument("--no-llm", action="store_const", const=False, dest="llm")
    demo.set_defaults(run=_demo)

    score = commands.add_parser("score", help="score requests, one JSON answer a line")
    cli_score.add_command(score, lambda: _scorer())

    compare = commands.add_parser("compare", help="rank the explanations of each feature")
    cli_compare.add_command(compare, lambda: _scorer())
    batch = commands.add_parser("batch", help="have the LLM answer in batches, at half the price")
    cli_batch.add_arguments(batch)

    serve = commands.add_parser("serve", help="run the HTTP server, set up by the environment")
    serve.set_defaults(run=_serve)

    cache = commands.add_parser("cache", help="show, export or prune the LLM answers that are kept")
    cli_cache.add_commands(cache)
    return parser


def _demo(args: argparse.Namespace) -> None:
    with _scorer() as scorer:
        cli_demo.show(scorer, llm=args.llm is not False)


def _serve(_args: argparse.Namespace) -> None:
    import server

    logging.basicConfig(level=logging.INFO, format=server.LOG_FORMAT)
    server.serve()


def _scorer() -> Scorer:
    from pipeline.scorer import Scorer
    from pipeline.settings import Settings

    return Scorer(Settings.from_environment())


if __name__ == "__main__":
    sys.exit(main())
