"""Fitting the head and the gate; `train` runs it on everything and, for the figures, in folds."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import nnls
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.kernel_approximation import Nystroem
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVR

from benchmarks.dataset import KINDS, Case
from benchmarks.reading import Example
from pipeline.records import Request
from pipeline.scoring import correlation_score
from pipeline.simulation import MAX_STRENGTH, FloatArray
from pipeline.text import TokenizedText
from stages.cheap import SILENT, CheapPrediction
from stages.combine import corrected_correlation
from stages.encoding import EncodedText
from stages.features import Features
from stages.gate import LEAST_ERROR, Constants, Estimate, Gate, KernelMachine, sampling_variance
from stages.head import Head
from stages.observation import Observation, Observer
from stages.readings import hints_of, readings_of

COVERAGE = 0.9
_SILENT_KEPT = 0.1
_RECORDED_WEIGHT = 2.0  # a recorded simulation teaches more than one made up or written for it
_SMALLEST_REQUEST = 2


@dataclass(frozen=True)
class Sample:
    """A request made of a case's top records or some of them, seen by the cheap stage.

    `recorded` tells whether its simulation is the LLM's, or assumed: that of `foreign_sample` and
    of made neurons.
    """

    case: Case
    seen: Observation
    simulated: tuple[FloatArray, ...]
    recorded: bool = True

    @property
    def llm_score(self) -> float:
        return correlation_score(self.seen.request.true_values, np.concatenate(self.simulated))


@dataclass(frozen=True)
class Rows:
    """A case's words as training rows: features and the recorded strength, as a share of 10.

    Attributes
    ----------
    explanation, texts : encoded, in the order of the rows.
    """

    case: Case
    columns: Features
    target: FloatArray
    explanation: EncodedText
    texts: tuple[EncodedText, ...]


def whole_sample(case: Case, observer: Observer) -> Sample:
    """The request of all top records."""
    simulated = case.simulated[: len(case.top.records)]
    return Sample(case, observer.observe(case.top), simulated, recorded=case.kind in KINDS)


def part_sample(case: Case, observer: Observer, rng: np.random.Generator) -> Sample:
    """A smaller request, so that the gate learns how far to trust few records."""
    n = len(case.top.records)
    chosen = rng.permutation(n)[: rng.integers(_SMALLEST_REQUEST, n)]
    request = Request(case.top.explanation, tuple(case.top.records[i] for i in chosen))
    return Sample(case, observer.observe(request), tuple(case.simulated[i] for i in chosen))


def foreign_sample(
    case: Case, others: Sequence[Case], observer: Observer, rng: np.random.Generator
) -> Sample:
    """A feature's records with an explanation of another feature of its fold.

    No LLM simulated that; its score is taken to be 0, as of a simulation that stays silent. This
    teaches the gate what an explanation looks like that has nothing to do with the records.
    """
    strangers = [o for o in others if o.fold == case.fold and o.feature != case.feature]
    explanation = strangers[rng.integers(len(strangers))].top.explanation
    request = Request(explanation, case.top.records)
    silent = tuple(np.zeros(len(record.tokens)) for record in request.records)
    return Sample(case, observer.observe(request), silent, recorded=False)


def rows(sample: Sample, observer: Observer) -> Rows:
    """Every word of the case: of the top records, and of the others as further texts."""
    case, n_top = sample.case, len(sample.case.top.records)
    target = _by_word(case.top.texts, case.simulated[:n_top])
    columns, texts = sample.seen.columns, sample.seen.words.texts
    others = case.all_records.texts[n_top:]
    if others:
        words, further = observer.observe_elsewhere(sample.seen, [text.words for text in others])
        columns = {name: np.concatenate([columns[name], further[name]]) for name in columns}
        target = np.concatenate([target, _by_word(others, case.simulated[n_top:])])
        texts = (*texts, *words.texts)
    return Rows(case, columns, target / MAX_STRENGTH, sample.seen.explanation.read, texts)


def _by_word(texts: Sequence[TokenizedText], simulated: Sequence[FloatArray]) -> FloatArray:
    """Each word's strength: the largest of its tokens'."""
    out = []
    for text, strengths in zip(texts, simulated, strict=True):
        of_text = np.zeros(len(text.words))
        inside = text.token_words >= 0
        np.maximum.at(of_text, text.token_words[inside], strengths[inside])
        out.append(of_text)
    return np.concatenate(out)


def fit_head(training: Sequence[Rows], seed: int) -> Head:
    """Grow the trees; of the silent words a tenth stands for all."""
    rng = np.random.default_rng(seed)
    names = tuple(training[0].columns)
    matrices, targets, weights = [], [], []
    for part in training:
        kept = (part.target > 0) | (rng.random(len(part.target)) < _SILENT_KEPT)
        matrices.append(np.stack([part.columns[name][kept] for name in names], axis=1))
        target = part.target[kept]
        targets.append(target)
        of_case = _RECORDED_WEIGHT if part.case.kind in KINDS else 1.0
        weights.append(of_case * np.where(target > 0, 1.0, 1.0 / _SILENT_KEPT))
    model = HistGradientBoostingRegressor(
        learning_rate=0.06,
        max_iter=300,
        max_leaf_nodes=24,
        min_samples_leaf=30,
        l2_regularization=5.0,
        max_features=0.3,
        max_bins=127,
        random_state=seed,
    )
    model.fit(
        np.concatenate(matrices), np.concatenate(targets), sample_weight=np.concatenate(weights)
    )
    return Head.from_sklearn(model, names)


def examples(part: Rows, head: Head) -> list[Example]:
    """What the reader is taught of a case, a head's answers among the hints.

    The head must not have seen the case's fold: one that has agrees with the LLM too well, and
    the reader would learn to trust it more than it may. Words on which the head is silent are left
    out, as the reader is never asked about them.
    """
    first = np.clip(head.predict(part.columns), 0.0, 1.0)
    heard = first > SILENT
    hints = hints_of(part.columns, first)
    sizes = [len(text.words) for text in part.texts]
    ends = np.cumsum(sizes)[:-1]
    told = zip(part.texts, torch.split(hints, sizes), np.split(heard, ends), strict=True)
    readings = [
        reading
        for text, hint, asked in told
        for reading in readings_of(part.explanation, text, hint, asked)
    ]
    ends = np.cumsum([len(reading.asked) for reading in readings])[:-1]
    targets = np.split(part.target[heard], ends) if readings else []
    return [Example(*pair) for pair in zip(readings, targets, strict=True)]


@dataclass(frozen=True)
class GateData:
    """What a gate is fitted on: samples judged by heads that never saw their features.

    Attributes
    ----------
    inputs : shape (n, len(EVIDENCE)).
    scores : shape (n,), the full simulation's.
    groups : shape (n,), fold of each sample's feature.
    samples, predictions : of the recorded ones, which come first.
    """

    inputs: FloatArray
    scores: FloatArray
    groups: npt.NDArray[np.int64]
    samples: tuple[Sample, ...]
    predictions: tuple[CheapPrediction, ...]


def fit_gate(data: GateData, seed: int) -> Gate:
    """Fit correction, error, quantiles and means, each on predictions for folds unseen by it."""
    base = data.inputs[:, 0]
    correction = _search(data.inputs, data.scores - base, data.groups)
    held_out = _held_out(correction, data.inputs, data.scores - base, data.groups)
    estimates = np.clip(base + held_out, -1.0, 1.0)
    missed = np.abs(data.scores - estimates)
    # Little is known of a request unlike any sample: its error is taken to be a large one.
    far = float(np.quantile(missed, COVERAGE))
    error = _search(data.inputs, missed - far, data.groups)
    errors = far + _held_out(error, data.inputs, missed - far, data.groups)
    errors = np.maximum(errors, LEAST_ERROR)
    # Assumed scores may teach, but what the interval promises is checked on recorded ones.
    recorded = slice(len(data.samples))
    machines = {"correction": _machine(correction), "error": _machine(error, far)}
    priors = [
        Estimate(float(score), float(error))
        for score, error in zip(estimates[recorded], errors[recorded], strict=True)
    ]
    constants = _constants(data, priors, (missed / errors)[recorded], seed)
    return Gate(**machines, constants=constants)


def quantile(ratios: FloatArray) -> float:
    """The conformal quantile: the ⌈(n+1)·0.9⌉-th smallest ratio."""
    rank = min(len(ratios), math.ceil((len(ratios) + 1) * COVERAGE))
    return float(np.sort(ratios)[rank - 1])


def _constants(
    data: GateData, priors: Sequence[Estimate], cheap_ratios: FloatArray, seed: int
) -> Constants:
    """Measure what one record tells, then how wrong combined estimates are."""
    rng = np.random.default_rng(seed)
    constants = Constants(
        sampling=0.0,
        sampling_share=0.0,
        power=0.5,
        power_records=4.0,
        cheap_quantile=quantile(cheap_ratios),
        partial_quantile=1.0,
        cheap_mean=float(cheap_ratios.mean()),
        partial_mean=1.0,
    )
    variances, draws = [], []
    for sample, prediction, prior in zip(data.samples, data.predictions, priors, strict=True):
        n = len(sample.simulated)
        order, score = rng.permutation(n), sample.llm_score
        for m in range(1, n):
            done = {int(i): sample.simulated[i] for i in order[:m]}
            found = corrected_correlation(
                sample.seen.request, prediction.strengths, done, constants
            )
            variances.append((found - score) ** 2 / (1.0 / m - 1.0 / n))
            draws.append((found, score, prior, m, n))
    squared_errors = np.array([prior.error**2 for _, _, prior, _, _ in draws])
    # Squares scatter in proportion to what they are expected to be.
    scale = 1.0 / (squared_errors + squared_errors.mean())
    inputs = np.stack([scale, scale * squared_errors], axis=1)
    (base, share), _ = nnls(inputs, scale * np.array(variances))
    constants = replace(constants, sampling=float(base), sampling_share=float(share))
    ratios = []
    for found, score, prior, m, n in draws:
        combined = prior.updated(found, sampling_variance(constants, prior, m, n))
        ratios.append(abs(combined.score - score) / combined.error)
    return replace(
        constants,
        partial_quantile=quantile(np.array(ratios)),
        partial_mean=float(np.mean(ratios)),
    )


def _search(inputs: FloatArray, target: FloatArray, groups: npt.NDArray[np.int64]) -> Pipeline:
    """The support vector regression whose parameters do best on held-out folds.

    It has no intercept: far from all samples a kernel machine answers just that, and a request
    unlike any of them is to keep its own score.
    """
    grid = {"svr__C": [0.3, 1.0, 3.0], "kernel__gamma": [0.01, 0.03]}
    steps = {
        "scale": StandardScaler(),
        "kernel": Nystroem(n_components=len(inputs), random_state=0),
        "svr": LinearSVR(epsilon=0.03, fit_intercept=False, max_iter=20_000, random_state=0),
    }
    folds = GroupKFold(len(np.unique(groups)))
    model = Pipeline(list(steps.items()))
    search = GridSearchCV(model, grid, cv=folds, scoring="neg_mean_absolute_error")
    with _fewer_samples():
        best: Pipeline = search.fit(inputs, target, groups=groups).best_estimator_
    return best


def _held_out(
    model: Pipeline, inputs: FloatArray, target: FloatArray, groups: npt.NDArray[np.int64]
) -> FloatArray:
    folds = GroupKFold(len(np.unique(groups)))
    with _fewer_samples():
        out: FloatArray = cross_val_predict(model, inputs, target, groups=groups, cv=folds)
    return out


@contextmanager
def _fewer_samples() -> Iterator[None]:
    """A kernel machine centred on all samples has fewer centres where a fold is held out."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_components > n_samples", category=UserWarning)
        yield


def _machine(model: Pipeline, far: float = 0.0) -> KernelMachine:
    """A fitted model, with what it is to add far from all samples."""
    kernel = model["kernel"]
    return KernelMachine(
        mean=model["scale"].mean_,
        scale=model["scale"].scale_,
        centres=kernel.components_,
        weights=kernel.normalization_.T @ model["svr"].coef_,
        gamma=float(kernel.gamma),
        intercept=far,
    )
