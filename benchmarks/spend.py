"""What a score costs and how near it comes to the full simulation: `make bench-spend`.

The recorded LLM stands in stage two, on features that the judging models have not seen. What is
counted are the tokens of the prompts that would really be sent and of the answers that the recorded
LLM would give to them, by the tokenizer of GPT-4o. Beside it, in the same run: the classic scorer's
prompts, and random texts simulated with nothing made of the others. Writes
`benchmarks/results/spend.md` and `docs/img/spend.png`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.classic_prompts import EXAMPLE_SETS, classic_prompts
from benchmarks.dataset import FOLDS, KINDS, Case, load
from benchmarks.folds import Models, fold_models
from benchmarks.quotes import answer
from benchmarks.recorded import RecordedSimulator
from pipeline.scoring import correlation_score
from pipeline.simulation import Simulation, Usage
from pipeline.text import decode
from stages.adjust import adjust_for_context
from stages.combine import combine
from stages.contrast import find_contrasts
from stages.embedding import MiniLM
from stages.encoding import TextEncoder
from stages.gate import Estimate, Gate
from stages.observation import Observer
from stages.prices import price_of
from stages.prompts import messages
from stages.rounds import simulate_rounds

SEED = 0
RESULTS = Path(__file__).parent / "results"
PLOT = Path(__file__).parent.parent / "docs" / "img" / "spend.png"
MODEL = "gpt-4o-mini"
TOLERANCES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2)
HALF_WIDTH = 0.05
SUBSETS = (1, 2, 3, 5, 8, 10, 15)
CLASSIC_CASES = 40

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Run:
    """One case, scored in one way.

    Attributes
    ----------
    score, adjusted : raw and adjusted; the latter NaN where no adjustment belongs to the way.
    share : of the texts simulated. covered : NaN where the way gives no interval.
    """

    case: Case
    score: float
    adjusted: float
    covered: float
    share: float
    prompt_tokens: int
    completion_tokens: int

    @property
    def error(self) -> float:
        return abs(self.score - self.case.llm_score)

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class CountingSimulator:
    """The recorded LLM, with the tokens that asking it by the quoting prompt would take."""

    def __init__(self, case: Case) -> None:
        self._recorded = RecordedSimulator(case)

    def simulate(self, explanation: str, texts: Sequence[Sequence[str]]) -> Simulation:
        values = self._recorded.simulate(explanation, texts).values
        decoded = decode(texts)
        marks = [
            {i: round(float(strength)) for i, strength in enumerate(v) if strength > 0}
            for v in values
            if v is not None
        ]
        sent = "\n".join(m["content"] for m in messages(explanation, [t.text for t in decoded]))
        usage = Usage(count(sent), count(answer(marks, decoded)), calls=1)
        return Simulation(values, usage)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    minilm = MiniLM()
    observer = Observer(TextEncoder(minilm, most_words=2_000_000))
    cases = load(SEED)
    ways: dict[str, list[Run]] = {}
    for fold in range(FOLDS):
        models = fold_models(fold, observer, minilm)
        for case in (case for case in cases if case.fold == fold):
            for name, run in _runs(case, models):
                ways.setdefault(name, []).append(run)
        logger.info("fold %d scored", fold)
    classic = _classic_tokens(cases)
    text = "\n".join(_lines(ways, classic)) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "spend.md").write_text(text, encoding="utf-8")
    _plot(ways, classic)
    logger.info("\n%s", text)


def count(text: str) -> int:
    """Tokens of GPT-4o's tokenizer."""
    return len(_tokenizer()(text))


@cache
def _tokenizer() -> Callable[[str], list[int]]:
    import bpe_openai

    encode: Callable[[str], list[int]] = bpe_openai.get_encoding("o200k_base").encode
    return encode


def _runs(case: Case, models: Models) -> Iterator[tuple[str, Run]]:
    """The case scored at each tolerance, in full, and from random texts alone."""
    prediction, n = models.predictor.predict(case.top), len(case.top.records)
    prior, simulator = models.gate.estimate(prediction), CountingSimulator(case)

    contrasts = find_contrasts(prediction, models.predictor)
    for name, tolerance in _ways(prior, models.gate, n):
        done = simulate_rounds(case.top, models.gate, prior, simulator, tolerance, None)
        m = len(done.values)
        raw = combine(case.top, prediction.strengths, done.values, prior, models.gate.constants)
        strengths = prediction.strengths_or(done.values)
        off = adjust_for_context(case.top, contrasts, strengths, raw).taken_off
        low, high = models.gate.interval(prior, raw, m, n)
        covered = float(low - 1e-9 <= case.llm_score <= high + 1e-9)
        usage = done.usage
        yield (
            name,
            Run(
                case,
                raw,
                raw - off,
                covered,
                m / n,
                usage.prompt_tokens,
                usage.completion_tokens,
            ),
        )
    whole = simulator.simulate(case.top.explanation, [r.tokens for r in case.top.records])
    yield "full quoting simulation", _plain(case, range(n), whole.usage)
    order = np.random.default_rng(SEED).permutation(n)
    for m in (m for m in SUBSETS if m < n):
        part = [int(i) for i in order[:m]]
        texts = [case.top.records[i].tokens for i in part]
        usage = simulator.simulate(case.top.explanation, texts).usage
        yield f"{m} random texts alone", _plain(case, part, usage)


def _ways(prior: Estimate, gate: Gate, records: int) -> Iterator[tuple[str, float]]:
    """Our ways to score a case, each by the tolerance that it takes."""
    yield from ((f"ours, tolerance {tolerance}", tolerance) for tolerance in TOLERANCES)
    narrow = next(m for m in range(records + 1) if gate.half_width(prior, m, records) <= HALF_WIDTH)
    name = f"until the 90 % interval is within {HALF_WIDTH} to either side"
    yield name, gate.expected_error(prior, narrow, records)


def _plain(case: Case, part: Sequence[int], usage: Usage) -> Run:
    """The correlation on some texts alone."""
    truth = np.concatenate([case.top.records[i].values for i in part])
    score = correlation_score(truth, np.concatenate([case.simulated[i] for i in part]))
    share = len(part) / len(case.top.records)
    tokens = usage.prompt_tokens, usage.completion_tokens
    return Run(case, score, np.nan, np.nan, share, *tokens)


def _classic_tokens(cases: Sequence[Case]) -> dict[str, tuple[float, float]]:
    """Example set → mean tokens in and out of a score of 20 texts."""
    rng = np.random.default_rng(SEED)
    chosen = [cases[i] for i in rng.choice(len(cases), CLASSIC_CASES, replace=False)]
    requests = [(c.top.explanation, r.tokens) for c in chosen for r in c.top.records]
    totals = {name: [0, 0] for name in EXAMPLE_SETS}
    for prompts in classic_prompts(requests):
        for name, (sent, wanted) in prompts.items():
            totals[name][0] += count(sent)
            totals[name][1] += count(wanted)
    per_score = len(requests) / 20
    return {name: (sent / per_score, wanted / per_score) for name, (sent, wanted) in totals.items()}


def _lines(ways: dict[str, list[Run]], classic: dict[str, tuple[float, float]]) -> Iterator[str]:
    price = price_of(MODEL)
    assert price
    cheapest = min(sum(tokens) for tokens in classic.values())
    yield "# Spend"
    yield ""
    yield (
        f"{len(load(SEED))} explanations, held-out features, the recorded LLM in stage two; tokens "
        f"of a score by the tokenizer of GPT-4o, dollars at the list price of {MODEL}. The ratio "
        "is to the cheaper classic prompt. Written by `make bench-spend`."
    )
    yield ""
    yield (
        "| | texts simulated | tokens in | out | USD per 1,000 scores | share of classic tokens "
        "| MAE | coverage | good above token | above broad | above wrong |"
    )
    yield f"|---|{'---|' * 10}"
    for name, (sent, wanted) in classic.items():
        usd = 1000 * price.cost(int(sent), int(wanted))
        cells = ["100%", f"{sent:.0f}", f"{wanted:.0f}", f"{usd:.2f}"]
        cells += [f"1/{cheapest / (sent + wanted):.1f}", *"-----"]
        yield f"| classic, examples `{name}` | {' | '.join(cells)} |"
    for name, runs in ways.items():
        sent, wanted = (
            float(np.mean([getattr(r, kind) for r in runs]))
            for kind in ("prompt_tokens", "completion_tokens")
        )
        usd = 1000 * float(
            np.mean([price.cost(r.prompt_tokens, r.completion_tokens) for r in runs])
        )
        ratio = cheapest / max(sent + wanted, 1e-9)
        yield (
            f"| {name} | {np.mean([r.share for r in runs]):.0%} | {sent:.0f} | {wanted:.0f} "
            f"| {usd:.3f} | 1/{ratio:.0f} | {np.mean([r.error for r in runs]):.3f} "
            f"| {np.mean([r.covered for r in runs]):.3f} | {_ranking(runs)} |"
        )


def _ranking(runs: Sequence[Run]) -> str:
    """How often good scores higher, by the adjusted score where there is one."""
    scores = {
        (r.case.feature, r.case.kind): r.score if np.isnan(r.adjusted) else r.adjusted for r in runs
    }
    features = {
        feature for feature, _ in scores if all((feature, kind) in scores for kind in KINDS)
    }
    wins = [
        np.mean([scores[feature, "good"] > scores[feature, kind] for feature in features])
        for kind in KINDS[1:]
    ]
    return " | ".join(f"{win:.2f}" for win in wins)


def _plot(ways: dict[str, list[Run]], classic: dict[str, tuple[float, float]]) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    groups = {
        "ours, by tolerance": [r for name, r in ways.items() if name.startswith("ours")],
        "random texts alone": [r for name, r in ways.items() if name.endswith("alone")],
        "full quoting simulation": [ways["full quoting simulation"]],
    }
    styles = dict(zip(groups, ("o-", "s--", "D"), strict=True))
    for name, runs in groups.items():
        tokens = [np.mean([r.tokens for r in of_way]) for of_way in runs]
        errors = [np.mean([r.error for r in of_way]) for of_way in runs]
        axes.plot(tokens, errors, styles[name], label=name)
    for name, (sent, wanted) in classic.items():
        axes.plot([sent + wanted], [0], "*", markersize=12, label=f"classic, examples {name}")
    axes.set_xscale("symlog", linthresh=100)
    axes.set_xlabel("LLM tokens a score (log)")
    axes.set_ylabel("mean absolute difference\nfrom the full simulation's score")
    axes.legend()
    axes.grid(alpha=0.3)
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PLOT, dpi=150)


if __name__ == "__main__":
    main()
