"""Whether `pipeline.compare` says "better" where it is, and only there: `make bench-compare`.

Held-out features, every second one, four explanations each. They are compared on a random half of
the top records; the recorded LLM's full simulation of the other half, and of all records, says
what is true. Writes `benchmarks/results/compare.md`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.dataset import FOLDS, Case, load
from benchmarks.folds import Models, fold_models
from benchmarks.recorded import RecordedSimulator
from pipeline.comparison import Comparison, compare_results
from pipeline.records import Request
from pipeline.result import ScoreResult
from pipeline.scoring import correlation_score, score_records
from pipeline.simulation import FloatArray
from stages.adjust import adjust_for_context
from stages.combine import combine
from stages.contrast import find_contrasts
from stages.embedding import MiniLM
from stages.encoding import TextEncoder
from stages.observation import Observer
from stages.rounds import Simulated, simulate_rounds

SEED = 0
EVERY = 2
RESULTS = Path(__file__).parent / "results" / "compare.md"
ROUTES = {"no LLM": None, "tolerance 0.05": 0.05, "full simulation": 1e-6}
"""How the LLM is asked → the tolerance."""

Chosen = npt.NDArray[np.int64]
"""Numbers of records."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair of explanations as compared, and what is true of it.

    Attributes
    ----------
    difference, half : as compared, half-width of the interval.
    same, other, gold : the full simulation's difference on the same texts, on the other half, and
        on all records. other_half : half-width of the interval that the other half gives by itself.
    """

    feature: str
    route: str
    difference: float
    half: float
    same: float
    other: float
    other_half: float
    gold: float

    @property
    def shown(self) -> bool:
        return self.difference > self.half


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    minilm = MiniLM()
    observer = Observer(TextEncoder(minilm, most_words=2_000_000))
    features = [list(cases) for _, cases in groupby(load(SEED), key=lambda c: c.feature)][::EVERY]
    pairs: list[Pair] = []
    for fold in range(FOLDS):
        models = fold_models(fold, observer, minilm)
        for cases in (cases for cases in features if cases[0].fold == fold):
            pairs += _compared(cases, models)
        logger.info("fold %d compared", fold)
    text = "\n".join(_report(pairs, len(features)))
    RESULTS.write_text(text + "\n", encoding="utf-8")
    logger.info("\n%s", text)


def _compared(cases: Sequence[Case], models: Models) -> Iterator[Pair]:
    top = len(cases[0].top.records)
    order = np.random.default_rng(SEED).permutation(top)
    here, there = np.sort(order[: top // 2]), np.sort(order[top // 2 :])
    true, other = (_simulated(cases, chosen) for chosen in (here, there))
    for route, results in _scored(cases, here, models).items():
        found = compare_results([case.kind for case in cases], results)
        for pair in found.differences:
            a, b = pair.better, pair.worse
            assert pair.interval is not None
            yield Pair(
                cases[0].feature,
                route,
                pair.difference,
                pair.interval[1] - pair.difference,
                _difference(true, a, b),
                _difference(other, a, b),
                _half(other, a, b),
                cases[a].gold_score - cases[b].gold_score,
            )


def _scored(cases: Sequence[Case], chosen: Chosen, models: Models) -> dict[str, list[ScoreResult]]:
    """What each way of scoring makes of the explanations, raw and adjusted."""
    found: dict[str, list[ScoreResult]] = {}
    for case in cases:
        request = _part(case, chosen)
        cheap = models.predictor.predict(request)
        prior = models.gate.estimate(cheap)
        contrasts = find_contrasts(cheap, models.predictor)
        for name, tolerance in ROUTES.items():
            done = (
                Simulated()
                if tolerance is None
                else simulate_rounds(
                    request, models.gate, prior, RecordedSimulator(case), tolerance
                )
            )
            raw = combine(request, cheap.strengths, done.values, prior, models.gate.constants)
            strengths = cheap.strengths_or(done.values)
            adjustment = adjust_for_context(request, contrasts, strengths, raw)
            interval = models.gate.interval(prior, raw, len(done.values), len(strengths))
            for row, score in ((name, raw), (f"{name}, adjusted", raw - adjustment.taken_off)):
                found.setdefault(row, []).append(_result(request, score, raw, interval, strengths))
    return found


def _simulated(cases: Sequence[Case], chosen: Chosen) -> Comparison:
    """The explanations by the full simulation of some records, which is exact for these."""
    results = []
    for case in cases:
        request = _part(case, chosen)
        strengths = [case.simulated[int(i)] for i in chosen]
        score = correlation_score(request.true_values, np.concatenate(strengths))
        results.append(_result(request, score, score, (score, score), strengths))
    return compare_results([case.kind for case in cases], results)


def _part(case: Case, chosen: Chosen) -> Request:
    return Request(case.top.explanation, tuple(case.top.records[int(i)] for i in chosen))


def _result(
    request: Request,
    score: float,
    raw: float,
    interval: tuple[float, float],
    strengths: Sequence[FloatArray],
) -> ScoreResult:
    return ScoreResult(
        score, raw, interval, "cheap", "ok", score_records(request.records, strengths)
    )


def _difference(found: Comparison, a: int, b: int) -> float:
    return float(found.results[a].score or 0.0) - float(found.results[b].score or 0.0)


def _half(found: Comparison, a: int, b: int) -> float:
    pair = next(d for d in found.differences if {d.better, d.worse} == {a, b})
    assert pair.interval is not None
    return pair.interval[1] - pair.difference


def _report(pairs: Sequence[Pair], features: int) -> Iterator[str]:
    yield from (
        "# Comparison",
        "",
        f"{features} features that the judging models have not seen, four explanations each: "
        f"{len(pairs) // (2 * len(ROUTES))} pairs, compared on a random half of the top records. "
        "True is what the full LLM simulation says. Written by `make bench-compare`.",
        "",
        '"All six" is the share of features in which all six intervals hold, of which 90 % is '
        "asked. On the other half of the texts both differences are uncertain, so there the "
        "interval is widened by the one that the other half gives by itself. What is true is not "
        "adjusted, so the adjusted rows also show how far the adjustment moves a difference.",
        "",
        "| | half-width | same texts: holds | all six | other texts: holds | all six "
        "| shown | shown, but the reverse on the other texts | on all records "
        "| not shown, the reverse on all records |",
        f"|---|{'---|' * 9}",
    )
    for route in dict.fromkeys(pair.route for pair in pairs):
        mine = [pair for pair in pairs if pair.route == route]
        same = {id(p): abs(p.difference - p.same) <= p.half for p in mine}
        other = {id(p): abs(p.difference - p.other) <= np.hypot(p.half, p.other_half) for p in mine}
        shown = [pair for pair in mine if pair.shown]
        cells = [
            f"{np.mean([pair.half for pair in mine]):.2f}",
            *(
                share
                for holds in (same, other)
                for share in (_share(list(holds.values())), _share(_by_feature(mine, holds)))
            ),
            _share([pair.shown for pair in mine]),
            _share([pair.other < 0 for pair in shown]),
            _share([pair.gold < 0 for pair in shown]),
            _share([pair.gold < 0 for pair in mine if not pair.shown]),
        ]
        yield f"| {route} | {' | '.join(cells)} |"


def _by_feature(pairs: Sequence[Pair], holds: dict[int, bool]) -> list[bool]:
    features: dict[str, bool] = {}
    for pair in pairs:
        features[pair.feature] = features.get(pair.feature, True) and holds[id(pair)]
    return list(features.values())


def _share(found: Sequence[bool]) -> str:
    return f"{np.mean(found):.1%} of {len(found)}" if found else "none"


if __name__ == "__main__":
    main()
