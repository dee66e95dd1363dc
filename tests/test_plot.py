from __future__ import annotations

import sys
from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
import pytest
from serving import CLASSIC, shared_scorer

from pipeline.errors import ConfigurationError
from pipeline.result import ScoreResult


@pytest.fixture(autouse=True)
def _without_a_screen() -> Iterator[None]:
    from matplotlib import pyplot

    with mpl.rc_context({"backend": "agg"}):
        yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def result() -> ScoreResult:
    return shared_scorer().score(CLASSIC["explanation"], CLASSIC["activations"])


def test_every_token_is_a_dot_and_every_record_has_its_number(result: ScoreResult) -> None:
    axes = result.plot()
    dots = [np.asarray(shown.get_offsets()) for shown in axes.collections]
    drawn = [tuple(dot) for dot in np.concatenate(dots)]
    assert drawn == [
        dot
        for one in result.simulations
        for dot in zip(one.true_activations, one.simulation.expected_activations, strict=True)
    ]
    assert [text.get_text() for text in axes.texts] == ["0", "1"]
    assert f"score {result.score:.2f}" in axes.get_title()


def test_it_draws_where_it_is_told(result: ScoreResult) -> None:
    from matplotlib import pyplot

    mine = pyplot.subplots()[1]
    assert result.plot(mine) is mine


def test_without_matplotlib_it_says_what_to_install(
    result: ScoreResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'neuron-scorer\[plot\]'"):
        result.plot()


def test_a_result_without_a_score_is_drawn_too() -> None:
    activations = [{"tokens": [" a", " fox"], "values": [1, 1]}]
    assert shared_scorer().score("foxes", activations).plot().get_title() == "no score"
