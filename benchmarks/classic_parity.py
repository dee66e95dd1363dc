"""Compares `pipeline.scoring` with the package `automated-interpretability` on the same input.

Run it from the project's folder:

    python -m benchmarks.classic_parity

It makes an environment of its own under `benchmarks/.work/`, since the package needs numpy < 2,
has both score the same seeded cases, prints the largest difference of each kind of figure, and
writes the cases with the package's figures to `tests/data/classic_parity.json`. It fails if any
figure differs by more than 1e-9 (of the figure, where that is above 1).

The package calls an API where `pipeline` takes a `Simulator`: both get one that replays the
predictions of the case. Non-finite numbers are strings in JSON, such as "nan".
"""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

PACKAGE = "automated-interpretability==0.0.24"
ENVIRONMENT = Path("benchmarks/.work/classic")
FIGURES = Path("tests/data/classic_parity.json")
SEED = 20230509
TOLERANCE = 1e-9

FITS = [
    ("none", "itself"),
    ("linear", "itself"),
    ("percentile", "itself"),
    ("linear", "ordinary"),
    ("percentile", "ordinary"),
]
"""Each calibration, and the case whose texts it is fitted on."""

SCORES = {
    "ev_correlation_score": "correlation_score",
    "rsquared_score": "rsquared_score_from_sequences",
    "absolute_dev_explained_score": "absolute_dev_explained_score_from_sequences",
}
"""Each score, and the function that computes it."""

Text: TypeAlias = dict[str, list[float | str]]
"""`true` and `predicted` activations of a text's tokens."""
Texts: TypeAlias = list[Text]
Score: TypeAlias = Callable[[Texts, Texts, str], Any]
"""Texts, texts to calibrate on and name of the calibration → `ScoredSimulation`."""
Figures: TypeAlias = dict[str, dict[str, list[float | str]]]
"""Case → kind → the figure of all texts at once and of each, or of each token."""


def main() -> int:
    texts, pairs = draw_texts(), draw_pairs()
    classic = run_classic(texts, pairs)
    ours = run_ours(texts, pairs)
    differences = list(compare(classic, ours))
    for kind in sorted({kind for kind, _, _ in differences}):
        found = [difference for other, _, difference in differences if other == kind]
        print(f"{kind:30}{len(found):6} figures, largest difference {max(found):.1e}")
    wrong = [found for found in differences if not found[2] <= TOLERANCE]
    for kind, where, difference in wrong:
        print(f"DIFFERENT: {kind} of {where} by {difference:.1e}")
    content = {
        "package": PACKAGE,
        "command": "python -m benchmarks.classic_parity",
        "seed": SEED,
        "texts": texts,
        "pairs": pairs,
        "figures": classic,
    }
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    FIGURES.write_text(json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n")
    return int(bool(wrong))


def draw_texts() -> dict[str, Texts]:
    """Texts to simulate, by kind of input."""
    rng = np.random.default_rng(SEED)

    def sparse(*lengths: int) -> Texts:
        """Activations that are mostly 0, and strengths that roughly agree."""
        drawn = []
        for length in lengths:
            fires = rng.random(length) < 0.25
            guessed = np.where(rng.random(length) < 0.8, fires, ~fires)
            true = fires * rng.gamma(2.0, 1.5, length)
            drawn.append(_text(true, guessed * rng.integers(1, 11, length)))
        return drawn

    zeros, ramp = np.zeros(12), np.arange(12.0)
    return {
        "ordinary": sparse(64, 64, 64),
        "texts of different length": sparse(5, 40, 1, 17, 64, 2, 3, 30),
        "silent neuron": [_text(zeros, rng.integers(0, 11, 12))],
        "silent prediction": [_text(ramp, zeros)],
        "silent both": [_text(zeros, zeros)],
        "silent texts among others": [*sparse(20, 20), _text(zeros, zeros), _text(zeros, ramp)],
        "constant neuron": [_text(zeros + 3, ramp)],
        "constant prediction": [_text(ramp, zeros + 7)],
        "single token": [_text([2.5], [4.0])],
        "single tokens": [_text([2.5], [4.0]), _text([0.0], [1.0]), _text([1.0], [0.0])],
        "negative activations": [_text(rng.normal(0, 2, 30), rng.uniform(0, 10, 30))],
        "tied predictions": [_text(rng.gamma(1.0, 3.0, 40), rng.integers(0, 3, 40))],
    }


def draw_pairs() -> dict[str, Text]:
    """Input of the bare score functions, with numbers that no record can hold."""
    rng = np.random.default_rng(SEED + 1)
    pairs = {
        f"times {scale:g}": _text(rng.normal(size=30), rng.uniform(0, 10, 30), scale)
        for scale in (1e-6, 1.0, 1e6, 1e100)
    }
    return pairs | {
        "NaN in the true": _text([1.0, math.nan, 2.0], [1.0, 2.0, 3.0]),
        "NaN in the predicted": _text([1.0, 0.0, 2.0], [math.nan, 2.0, 3.0]),
        "infinite true": _text([1.0, math.inf, 2.0], [1.0, 2.0, 3.0]),
        "infinite predicted": _text([1.0, 0.0, 2.0], [1.0, math.inf, 3.0]),
        "opposite": _text([0.0, 1.0, 2.0, 4.0], [8.0, 6.0, 4.0, 0.0]),
        "equal": _text([0.0, 1.0, 2.0, 4.0], [0.0, 1.0, 2.0, 4.0]),
        "zeros": _text([0.0, 0.0, 0.0], [0.0, 1.0, 2.0]),
    }


def run_ours(texts: dict[str, Texts], pairs: dict[str, Text]) -> Figures:
    from pipeline import scoring
    from pipeline.records import ActivationRecord
    from pipeline.simulation import Simulation

    fits = {
        "none": lambda _true, _predicted: scoring.uncalibrated,
        "linear": scoring.linear_calibration,
        "percentile": scoring.percentile_matching_calibration,
    }

    class Replay:
        def simulate(self, _explanation: str, texts: Sequence[Sequence[str]]) -> Simulation:
            return Simulation(tuple(np.array(json.loads(tokens[0])) for tokens in texts))

    def records(texts: Texts) -> list[ActivationRecord]:
        return [ActivationRecord(tuple(_tokens(t)), _array(t["true"])) for t in texts]

    def score(texts: Texts, fit_texts: Texts, calibration: str) -> scoring.ScoredSimulation:
        return scoring.make_simulator_and_score(
            lambda: scoring.make_explanation_simulator(
                "", records(fit_texts), Replay(), fits[calibration]
            ),
            records(texts),
        )

    return _figures(scoring, score, texts, pairs)


def classic_python() -> Path:
    """The interpreter of an environment in which the package is installed."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        venv.create(ENVIRONMENT, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", PACKAGE, "numpy<2"], check=True)
    return python


def run_classic(texts: dict[str, Texts], pairs: dict[str, Text]) -> Figures:
    """Have this file's `classic_main` run where the package is installed."""
    ran = subprocess.run(
        [classic_python(), "-W", "ignore", __file__, "--classic"],
        input=json.dumps([texts, pairs]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: Figures = json.loads(ran.stdout)
    return figures


def classic_main() -> None:
    """Read the cases from stdin and write the package's figures to stdout."""
    from neuron_explainer.activations.activations import (
        ActivationRecord,
    )
    from neuron_explainer.explanations import (
        calibrated_simulator,
        explanations,
        scoring,
    )

    classes = {
        "none": calibrated_simulator.UncalibratedNeuronSimulator,
        "linear": calibrated_simulator.LinearCalibratedNeuronSimulator,
        "percentile": calibrated_simulator.PercentileMatchingCalibratedNeuronSimulator,
    }

    class Replay:
        """Stands where `make_explanation_simulator` would make a client of the API."""

        def __init__(self, _model_name: str, _explanation: str) -> None:
            pass

        async def simulate(self, tokens: list[str]) -> Any:
            scale = explanations.ActivationScale.SIMULATED_NORMALIZED_ACTIVATIONS
            return explanations.SequenceSimulation(tokens, json.loads(tokens[0]), scale, [], [])

    scoring.ExplanationNeuronSimulator = Replay

    def records(texts: Texts) -> list[Any]:
        return [ActivationRecord(_tokens(text), text["true"]) for text in texts]

    def score(texts: Texts, fit_texts: Texts, calibration: str) -> Any:
        simulator = scoring.make_explanation_simulator(
            "", records(fit_texts), "", classes[calibration]
        )
        return asyncio.run(scoring.make_simulator_and_score(simulator, records(texts)))

    texts, pairs = json.load(sys.stdin)
    json.dump(_figures(scoring, score, texts, pairs), sys.stdout)


def compare(classic: Figures, ours: Figures) -> Iterator[tuple[str, str, float]]:
    """Kind, case and difference of each figure."""
    for case, kinds in classic.items():
        for kind, figures in kinds.items():
            for was, now in zip(map(float, figures), map(float, ours[case][kind]), strict=True):
                # What the package leaves undefined is 0 here: see `pipeline.scoring`.
                undefined = math.isnan(was) and kind == "ev_correlation_score"
                expected = 0.0 if undefined else was
                same = expected == now or (math.isnan(expected) and math.isnan(now))
                yield kind, case, 0.0 if same else abs(expected - now) / max(1.0, abs(expected))


def _figures(
    scoring: Any, score: Score, texts: dict[str, Texts], pairs: dict[str, Text]
) -> Figures:
    """What one of the two packages makes of all cases; both name their scores alike."""
    figures = {}
    for name, own in texts.items():
        for calibration, fitted_on in FITS:
            scored = score(own, texts.get(fitted_on, own), calibration)
            parts = scored.scored_sequence_simulations
            expected = [part.simulation.expected_activations for part in parts]
            figures[f"{name}, {calibration} on {fitted_on}"] = {
                kind: _numbers([getattr(scored, kind), *(getattr(part, kind) for part in parts)])
                for kind in SCORES
            } | {"expected_activations": _numbers(np.concatenate(expected))}
    for name, pair in pairs.items():
        true, predicted = _array(pair["true"]), _array(pair["predicted"])
        figures[name] = {
            kind: _numbers([getattr(scoring, function)(true, predicted)])
            for kind, function in SCORES.items()
        }
    return figures


def _text(true: npt.ArrayLike, predicted: npt.ArrayLike, scale: float = 1.0) -> Text:
    return {
        "true": _numbers(np.asarray(true).round(3) * scale),
        "predicted": _numbers(np.asarray(predicted).round(3)),
    }


def _tokens(text: Text) -> list[str]:
    """As many tokens as the text has; the first carries what a simulator has to replay."""
    return [json.dumps(text["predicted"]), *map(str, range(1, len(text["predicted"])))]


def _array(numbers: list[float | str]) -> npt.NDArray[np.float64]:
    return np.array(list(map(float, numbers)))


def _numbers(values: npt.ArrayLike) -> list[float | str]:
    floats = np.asarray(values, dtype=np.float64).tolist()
    return [number if math.isfinite(number) else str(number) for number in floats]


if __name__ == "__main__":
    if "--classic" in sys.argv:
        classic_main()
    else:
        sys.exit(main())
