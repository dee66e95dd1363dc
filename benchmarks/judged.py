"""What the models that have not seen a feature make of one of its explanations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.dataset import Case
from benchmarks.fitting import Sample
from pipeline.scoring import correlation_score
from stages.adjust import adjust_for_context
from stages.cheap import CheapPrediction, CheapPredictor
from stages.combine import combine
from stages.contrast import find_contrasts
from stages.gate import Gate

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
        prediction: CheapPrediction,
        predictor: CheapPredictor,
        gate: Gate,
        seed: int,
    ) -> Judged:
        """Judge a sample; records are simulated in a random order, by the recorded LLM."""
        request, n = sample.seen.request, len(sample.simulated)
        prior = gate.estimate(prediction)
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
            plain=correlation_score(request.true_values, guess),
            estimate=prior.score,
            half_width=gate.half_width(prior, 0, n),
            cheap_off=cheap,
            llm_off=llm,
            partial=partial,
        )
