"""The command `neuron-scorer compare`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.batch import batch_budget
from pipeline.cli_score import BAD_REQUESTS, add_input, add_score_options, items_of
from pipeline.errors import InvalidRequest
from pipeline.items import Item
from pipeline.run import Faults, checked

if TYPE_CHECKING:
    from pipeline.scorer import Scorer

_ALONE = InvalidRequest(
    "the only sound explanation on its texts; send several as 'explanations', or requests with the "
    "same activations one after another",
    "explanations",
)


def add_command(compare: argparse.ArgumentParser, make_scorer: Callable[[], Scorer]) -> None:
    """Fill in the command `compare`."""
    add_input(compare)
    compare.add_argument(
        "--json", action="store_true", help="one JSON object a feature in place of tables"
    )
    compare.add_argument(
        "--errors",
        type=Path,
        metavar="FILE",
        help="for what cannot be scored; without it the first such request ends the run",
    )
    add_score_options(compare)
    compare.set_defaults(run=_compare, make_scorer=make_scorer)


def _compare(args: argparse.Namespace) -> int:
    from pipeline.comparison import compare_results

    batch = batch_budget(args.max_batch_llm_tokens, args.max_batch_cost_usd)
    faults = Faults(args.errors)
    with args.make_scorer() as scorer:
        for _, same in groupby(items_of(args), key=_texts):
            found = list(checked(same, scorer.settings.limits, faults))
            if len(found) == 1:
                faults.add(found[0][0], _ALONE)
            if len(found) < 2:
                continue
            item = found[0][0]
            results = [call.run(scorer, [batch]) for _, call in found]
            comparison = compare_results([str(call.explanation) for _, call in found], results)
            if args.json:
                about = {"line": item.line, "id": item.id}
                print(json.dumps({**about, **comparison.to_dict()}, allow_nan=False), flush=True)
            else:
                print(f"{item.id or f'line {item.line}'}\n{comparison}\n", flush=True)
    faults.close()
    if faults.count:
        print(f"neuron-scorer: {faults}", file=sys.stderr)
    return BAD_REQUESTS if faults.count else 0


def _texts(item: Item) -> object:
    """Equal for items on the same texts."""
    return item.body.get("activations") if isinstance(item.body, Mapping) else item.digest
