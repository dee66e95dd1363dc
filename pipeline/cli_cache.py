"""The commands `neuron-scorer cache show`, `export` and `prune`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.archive import export, holdings, prune
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.archive import Holding


def add_commands(cache: argparse.ArgumentParser) -> None:
    """Give the command `cache` its own commands."""
    commands = cache.add_subparsers(required=True, metavar="COMMAND")
    show = commands.add_parser("show", help="print answers, tokens and cost by model")
    show.set_defaults(run=_show)
    exported = commands.add_parser("export", help="print every raw answer, one JSON object a line")
    exported.set_defaults(run=_export)
    pruned = commands.add_parser("prune", help="remove answers, print how many")
    pruned.add_argument("--older-than", type=_days, metavar="DAYS", help="received before that")
    pruned.add_argument("--model", metavar="NAME", help="of this model")
    pruned.set_defaults(run=_prune)
    for command in (show, exported, pruned):
        command.add_argument("--file", type=Path, help="the SQLite file; default: CACHE_PATH")


def _days(raw: str) -> float:
    days = float(raw)
    if not 0 <= days < 1e6:
        raise ValueError(raw)
    return days


def _show(args: argparse.Namespace) -> None:
    found = holdings(_file(args))
    if not found:
        print("no answers")
    for holding in found:
        print(_line(holding))


def _export(args: argparse.Namespace) -> None:
    for answer in export(_file(args)):
        print(json.dumps(answer))


def _prune(args: argparse.Namespace) -> None:
    if args.older_than is None and args.model is None:
        raise ConfigurationError("prune: say which answers, with --older-than or --model or both")
    removed = prune(_file(args), args.older_than, args.model)
    print(f"{removed:,} answers removed")


def _file(args: argparse.Namespace) -> Path:
    path = args.file or Settings.from_environment().cache_path
    if not path:
        raise ConfigurationError("CACHE_PATH is not set; name the file with --file")
    return Path(path)


def _line(holding: Holding) -> str:
    known = "cost not known" if holding.cost_usd is None else f"{holding.cost_usd:.4f} USD"
    if holding.unpriced and holding.cost_usd is not None:
        known += f" and {holding.unpriced:,} answers of unknown cost"
    return (
        f"{holding.model or 'model not noted'} at {holding.endpoint or 'endpoint not noted'}: "
        f"{holding.answers:,} answers ({holding.rejected:,} of no use) about {holding.texts:,} "
        f"texts, {holding.prompt_tokens:,} tokens in, {holding.completion_tokens:,} out, {known}"
    )
