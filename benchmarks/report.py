"""Figures of held-out features, as a Markdown table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from benchmarks.dataset import FOLDS, KINDS, Case
from benchmarks.fitting import Sample
from pipeline.scoring import correlation_score
from stages.adjust import adjust_for_context
from stages.cheap import CheapPredictor
from stages.combine import combine
from stages.contrast import find_contrasts
from stages.gate import Gate, evidence

PARTS = (3, 5, 10, 15)
"""Numbers of simulated records at which combined estimates are reported."""


@dataclass(frozen=True)
class Judged:
    """One held-out case with what the fold's models made of it.

    Attributes
    ----------
    llm, gold : the full simulation's score on the top records and on all records.
    token_agreement : correlation of cheap and recorded strengths over the top records' tokens.
    plain : correlation of the cheap prediction with the activations.
    estimate, half_width : the gate's.
    cheap_off, llm_off : what the adjustment takes off the estimate and off the LLM's score.
    partial : simulated records → (estimate, half-width).
    """

    case: Case
    llm: float
    gold: float
    token_agreement: float
    plain: float
    estimate: float
    half_width: float
    cheap_off: float
    llm_off: float
    partial: dict[int, tuple[float, float]]

    @classmethod
    def of(
        cls,
        sample: Sample,
        predictor: CheapPredictor,
        gate: Gate,
        seed: int,
    ) -> Judged:
        """Judge a sample; records are simulated in a random order, by the recorded LLM."""
        prediction = predictor.judge(sample.seen)
        request, n = sample.seen.request, len(sample.simulated)
        inputs = evidence(prediction)
        prior = gate.estimates(inputs[None])[0]
        order = np.random.default_rng(seed).permutation(n)
        partial = {}
        for m in (m for m in PARTS if m < n):
            done = {int(i): sample.simulated[i] for i in order[:m]}
            score = combine(request, prediction.strengths, done, prior, gate.constants)
            partial[m] = (score, gate.half_width(prior, m, n))
        guess = np.concatenate(prediction.strengths)
        contrasts = find_contrasts(prediction, predictor)
        cheap, llm = (
            adjust_for_context(request, contrasts, strengths, raw).taken_off
            for strengths, raw in (
                (prediction.strengths, prior.score),
                (sample.simulated, sample.llm_score),
            )
        )
        return cls(
            sample.case,
            llm=sample.llm_score,
            gold=sample.case.gold_score,
            token_agreement=correlation_score(np.concatenate(sample.simulated), guess),
            plain=float(inputs[0]),
            estimate=prior.score,
            half_width=gate.half_width(prior, 0, n),
            cheap_off=cheap,
            llm_off=llm,
            partial=partial,
        )


def table(judged: Sequence[Judged]) -> str:
    """The figures over all, for each kind of explanation and for each fold."""
    groups = {"all": list(judged)}
    groups |= {kind: [j for j in judged if j.case.kind == kind] for kind in KINDS}
    groups |= {
        f"fold {fold + 1}": [j for j in judged if j.case.fold == fold] for fold in range(FOLDS)
    }
    measures: dict[str, Callable[[Sequence[Judged]], float]] = {
        "token-wise correlation with the LLM": lambda g: _mean(j.token_agreement for j in g),
        "LLM score": lambda g: _mean(j.llm for j in g),
        "plain cheap score": lambda g: _mean(j.plain for j in g),
        "estimate": lambda g: _mean(j.estimate for j in g),
        "estimate, adjusted": lambda g: _mean(j.estimate - j.cheap_off for j in g),
        "LLM score, adjusted": lambda g: _mean(j.llm - j.llm_off for j in g),
        "plain: Pearson with the LLM's": lambda g: _pearson(g, lambda j: j.plain),
        "plain: MAE": lambda g: _mean(abs(j.plain - j.llm) for j in g),
        "estimate: Pearson with the LLM's": lambda g: _pearson(g, lambda j: j.estimate),
        "estimate: MAE": lambda g: _mean(abs(j.estimate - j.llm) for j in g),
        "half-width": lambda g: _mean(j.half_width for j in g),
        "coverage": lambda g: _mean(abs(j.estimate - j.llm) <= j.half_width for j in g),
    }
    for m in PARTS:
        measures |= _of_part(m)
    lines = [
        "# Held-out figures",
        "",
        f"{len(judged)} explanations on their features' top records; written by `make train`.",
        "",
        f"| | {' | '.join(groups)} |",
        f"|---|{'---|' * len(groups)}",
    ]
    lines += [
        f"| {name} | {' | '.join(f'{measure(group):.3f}' for group in groups.values())} |"
        for name, measure in measures.items()
    ]
    return "\n".join(lines) + "\n\n" + _ranking(judged)


def _ranking(judged: Sequence[Judged]) -> str:
    """How the good explanation stands to the others of its feature, and how near gold is.

    The margins are mean differences of good and token explanations, for features of which a reader
    found that the context matters to them, and that it does not.
    """
    lines = [
        "| | good above token | above broad | above wrong | Spearman with gold "
        "| margin, context matters | margin, it does not |",
        "|---|---|---|---|---|---|---|",
    ]
    scores: dict[str, Callable[[Judged], float]] = {
        "plain cheap score": lambda j: j.plain,
        "estimate": lambda j: j.estimate,
        "estimate, adjusted": lambda j: j.estimate - j.cheap_off,
        "LLM on top records": lambda j: j.llm,
        "LLM on top records, adjusted": lambda j: j.llm - j.llm_off,
        "gold: LLM on all records": lambda j: j.gold,
    }
    matters = np.array([j.case.context_matters for j in judged if j.case.kind == "good"])
    for name, score in scores.items():
        by_kind = {k: np.array([score(j) for j in judged if j.case.kind == k]) for k in KINDS}
        wins = [(by_kind["good"] > by_kind[kind]).mean() for kind in KINDS[1:]]
        near = spearmanr([score(j) for j in judged], [j.gold for j in judged])[0]
        margin = by_kind["good"] - by_kind["token"]
        figures = [*(f"{win:.2f}" for win in wins), f"{near:.3f}"]
        figures += [f"{margin[matters].mean():.3f}", f"{margin[~matters].mean():.3f}"]
        lines.append(f"| {name} | {' | '.join(figures)} |")
    return "\n".join(lines) + "\n"


def _pearson(group: Sequence[Judged], score: Callable[[Judged], float]) -> float:
    return float(np.corrcoef([score(j) for j in group], [j.llm for j in group])[0, 1])


def _of_part(m: int) -> dict[str, Callable[[Sequence[Judged]], float]]:
    """The figures of estimates from m simulated records."""

    def parts(group: Sequence[Judged]) -> list[tuple[float, float]]:
        """Error and half-width of each."""
        return [(abs(j.partial[m][0] - j.llm), j.partial[m][1]) for j in group if m in j.partial]

    return {
        f"{m} simulated: MAE": lambda g: _mean(error for error, _ in parts(g)),
        f"{m} simulated: half-width": lambda g: _mean(half for _, half in parts(g)),
        f"{m} simulated: coverage": lambda g: _mean(error <= half for error, half in parts(g)),
    }


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
