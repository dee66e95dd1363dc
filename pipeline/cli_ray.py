"""The option `--ray` of `neuron-scorer score`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.errors import InvalidRequest

if TYPE_CHECKING:
    from pipeline.budget import Allowance
    from pipeline.result import ScoreResult
    from pipeline.settings import Settings
    from pipeline.wire import ScoreCall


def add_options(command: argparse.ArgumentParser) -> None:
    """Give the command `score` the options of a cluster."""
    command.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="score on a Ray cluster: auto, or ray://host:port; without an address on all CPUs "
        "of this machine",
    )
    command.add_argument("--workers", type=int, metavar="N", help="default: one for each CPU")


def answer(
    args: argparse.Namespace, settings: Settings, batch: Allowance, calls: Iterator[ScoreCall]
) -> Iterator[ScoreResult]:
    """Answer calls on the cluster that was asked for; what an earlier run spent is taken off."""
    from itertools import chain

    from pipeline import distributed

    if args.workers is not None and args.workers < 1:
        raise InvalidRequest("expected at least 1", "workers")
    first = next(calls, None)
    if first is None:
        return
    # Reading on has charged the batch with all that was spent before.
    limit = batch.left()
    cluster = distributed.Cluster(args.ray, args.workers)
    yield from distributed.answer(chain((first,), calls), settings, cluster, limit)
