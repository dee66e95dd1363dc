"""What training sees of a case; fitting the head, and what the reader is taught."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingRegressor

from benchmarks.dataset import Case
from benchmarks.reading import Example
from pipeline.records import Request
from pipeline.scoring import correlation_score
from pipeline.simulation import MAX_STRENGTH, FloatArray
from pipeline.text import TokenizedText
from stages.cheap import SILENT
from stages.encoding import EncodedText
from stages.features import Features
from stages.head import Head
from stages.observation import Observation, Observer
from stages.readings import hints_of, readings_of

_SILENT_KEPT = 0.1
_RECORDED_WEIGHT = 2.0  # a recorded simulation teaches more than one made up or written for it
_SMALLEST_REQUEST = 2


@dataclass(frozen=True)
class Sample:
    """A request made of a case's top records or some of them, seen by the cheap stage."""

    case: Case
    seen: Observation
    simulated: tuple[FloatArray, ...]

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
    return Sample(case, observer.observe(case.top), simulated)


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
    return Sample(replace(case, recorded=False), observer.observe(request), silent)


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
    parts = zip(texts, simulated, strict=True)
    return np.concatenate([text.largest_by_word(strengths) for text, strengths in parts])


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
        of_case = _RECORDED_WEIGHT if part.case.recorded else 1.0
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

    The head must not have seen the case nor its like: one that has agrees with the LLM too well,
    and the reader would learn to trust it more than it may. Words on which the head is silent are
    left out, as the reader is never asked about them.
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
