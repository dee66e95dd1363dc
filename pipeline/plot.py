"""A result as a diagram: what was predicted against what is true. Needs the extra `[plot]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import ConfigurationError
from pipeline.result import ScoreResult
from pipeline.simulation import MAX_STRENGTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_result(result: ScoreResult, axes: Axes | None = None) -> Axes:
    """Draw every token; `ScoreResult.plot` documents it."""
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ConfigurationError(
            "plots need matplotlib: pip install 'neuron-scorer[plot]'"
        ) from None
    if axes is None:
        axes = pyplot.subplots(figsize=(6, 5), layout="constrained")[1]
    # A map that colour-blind eyes can follow; the numbers say the same.
    colours = pyplot.get_cmap("cividis", len(result.simulations))
    for record, one in enumerate(result.simulations):
        true, predicted = one.true_activations, one.simulation.expected_activations
        axes.scatter(true, predicted, s=18, color=colours(record), alpha=0.6, linewidths=0)
        peak = int(true.argmax())
        axes.annotate(
            str(record),
            (float(true[peak]), float(predicted[peak])),
            xytext=(4, 4),
            textcoords="offset points",
        )
    axes.set_xlabel("true activation")
    axes.set_ylabel("predicted strength")
    axes.set_ylim(-0.4, MAX_STRENGTH + 0.4)
    axes.set_title(_title(result))
    return axes


def _title(result: ScoreResult) -> str:
    if result.score is None or result.raw_score is None or result.interval is None:
        return "no score"
    low, high = result.interval
    return f"score {result.score:.2f}, raw {result.raw_score:.2f} (90 %: {low:.2f} to {high:.2f})"
