"""Other kinds of explanation, and of neurons: `make bench-further`.

Further explanations of each recorded feature, simulated by a chat LLM (`data/README.md`), judged by
the models that were fitted on the other folds: twelve of kinds that these models were taught, of
other features, and three as labellers submit them, on which no model was. And explanations of
invented neurons, on which nothing was fitted, judged by the shipped models. Intervals are 95 %
bootstrap intervals over features. Writes `benchmarks/results/further.md`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dataset import FOLDS, Case, load
from benchmarks.folds import Models, fold_models, shipped_models
from benchmarks.invented import JUDGED, invented_cases
from benchmarks.invented import KINDS as INVENTED_KINDS
from benchmarks.judgement_table import bootstrap
from pipeline.records import Request
from pipeline.simulation import FloatArray
from stages.embedding import MiniLM
from stages.encoding import TextEncoder
from stages.lexical import parse
from stages.observation import Observer
from stages.spots import spots_of

_FOLDER = Path(__file__).parent / "data"
TAUGHT, UNTAUGHT = _FOLDER / "further.jsonl.gz", _FOLDER / "untaught.jsonl.gz"
KINDS = {
    TAUGHT: (
        *("sense", "context", "sisters", "wrong", "topic", "free"),
        *("short", "except", "examples", "opposite", "label", "misread"),
    ),
    UNTAUGHT: ("plain", "auto", "second"),
}
RESULTS = Path(__file__).parent / "results" / "further.md"
_APART = 0.2  # LLM scores that differ by less rank nothing


@dataclass(frozen=True, slots=True)
class Found:
    """The LLM's score of an explanation, and what is estimated without one."""

    kind: str
    llm: float
    estimate: float
    half_width: float


Measure = Callable[[Sequence[Found]], float]

_MEASURES: dict[str, Measure] = {
    "LLM score": lambda found: float(np.mean([f.llm for f in found])),
    "estimate": lambda found: float(np.mean([f.estimate for f in found])),
    "Pearson": lambda found: float(
        np.corrcoef([f.llm for f in found], [f.estimate for f in found])[0, 1]
    ),
    "MAE": lambda found: float(np.mean([abs(f.llm - f.estimate) for f in found])),
    "coverage of the 90 % interval": lambda found: float(
        np.mean([abs(f.llm - f.estimate) <= f.half_width for f in found])
    ),
    "half-width": lambda found: float(np.mean([f.half_width for f in found])),
}


def main() -> None:
    minilm = MiniLM()
    observer = Observer(TextEncoder(minilm, most_words=2_000_000))
    models = [fold_models(fold, observer, minilm) for fold in range(FOLDS)]
    lines = [
        "# Further explanations",
        "",
        "Of features that the judging models have not seen, on top records. 95 % bootstrap"
        " intervals over features in brackets. Written by `make bench-further`.",
    ]
    for data, title in ((TAUGHT, "were taught"), (UNTAUGHT, "were not")):
        found = _judged((case, models[case.fold]) for case in further_cases(load(), data))
        lines += ["", f"## 100 recorded features, kinds that {title}", ""]
        lines += _table(found, KINDS[data])
    shipped = shipped_models(observer, minilm)
    found = _judged((case, shipped) for case in invented_cases(JUDGED))
    lines += ["", f"## {len(found)} invented neurons", "", *_table(found, INVENTED_KINDS[JUDGED])]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(*lines, sep="\n")


def _table(features: Sequence[list[Found]], every: Sequence[str]) -> list[str]:
    lines = [f"| | all | {' | '.join(every)} |", f"|{'---|' * (len(every) + 2)}"]
    for name, measure in _MEASURES.items():
        cells = [_of_kinds(features, measure, kinds) for kinds in (every, *((k,) for k in every))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    ranked = [_ranked(found) for found in features]
    right = bootstrap(lambda drawn: _mean([ranked[i] for i in drawn]), len(features), digits=2)
    return [
        *lines,
        "",
        f"Of two explanations of a feature whose LLM scores differ by more than {_APART}, the"
        f" better one has the higher estimate in a share of {right}.",
    ]


def further_cases(cases: Sequence[Case], data: Path) -> list[Case]:
    """Further explanations of the features of `cases`, on their top records, in their folds.

    Parameters
    ----------
    data : `TAUGHT` or `UNTAUGHT`.
    """
    known = {case.feature: case for case in cases}
    with gzip.open(data, "rt", encoding="utf-8") as lines:
        features = [json.loads(line) for line in lines]
    return [
        _case(known[of_feature["feature"]], explanation)
        for of_feature in features
        for explanation in of_feature["explanations"]
    ]


def _case(case: Case, explanation: Mapping[str, Any]) -> Case:
    """A word's strength stands on the token where the recorded LLM puts it."""
    request = Request(explanation["text"], case.top.records)
    simulated = []
    for index, text in enumerate(request.texts):
        by_word = np.zeros(len(text.words))
        for word, strength in explanation["simulated"].get(str(index), {}).items():
            by_word[int(word)] = strength
        of_tokens = np.zeros(len(text.spans))
        np.maximum.at(of_tokens, spots_of(parse(explanation["text"]), text), by_word)
        simulated.append(of_tokens)
    return replace(
        case,
        kind=explanation["kind"],
        top=request,
        all_records=request,
        simulated=tuple(simulated),
        recorded=False,
    )


def _judged(cases: Iterable[tuple[Case, Models]]) -> list[list[Found]]:
    """The explanations of each feature, each by the models given."""
    found: dict[str, list[Found]] = {}
    for case, judge in cases:
        prior = judge.gate.estimate(judge.predictor.predict(case.top))
        half = judge.gate.half_width(prior, 0, len(case.top.records))
        one = Found(case.kind, case.llm_score, prior.score, half)
        found.setdefault(case.feature, []).append(one)
    return list(found.values())


def _ranked(found: Sequence[Found]) -> FloatArray:
    """Whether each pair of explanations that the LLM tells apart is ranked as by the LLM."""
    return np.array(
        [
            float((a.llm > b.llm) == (a.estimate > b.estimate))
            for a, b in combinations(found, 2)
            if abs(a.llm - b.llm) > _APART
        ]
    )


def _mean(parts: Sequence[FloatArray]) -> float:
    return float(np.concatenate(parts).mean())


def _of_kinds(features: Sequence[list[Found]], measure: Measure, kinds: Sequence[str]) -> str:
    chosen = [[f for f in found if f.kind in kinds] for found in features]
    return bootstrap(
        lambda drawn: measure([f for i in drawn for f in chosen[i]]), len(chosen), digits=2
    )


if __name__ == "__main__":
    main()
