"""`neuron-scorer demo`: the built-in examples, scored and shown in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.examples import Example, load_examples
from pipeline.heatmap import HeatText, heat_texts
from pipeline.wire import ScoreCall

if TYPE_CHECKING:
    from pipeline.result import ScoreResult
    from pipeline.scorer import Scorer

_TEXTS = 3
_AXIS = 25


def show(scorer: Scorer, *, llm: bool, console: Console | None = None) -> None:
    """Score every example; print a table for each, and the texts of one as a heatmap.

    Parameters
    ----------
    llm : ask the LLM of the settings, if there is one.
    """
    console = console or Console(highlight=False)
    for example in load_examples():
        console.print(Text(f"\n{example.title}", "bold"), Text(f"({example.name})", "dim"))
        console.print(Text(example.note))
        results = []
        with console.status("scoring…"):
            for explanation in example.explanations:
                call = ScoreCall(explanation, example.activations, llm=llm)
                results.append(call.run(scorer))
        console.print(_table(example, results))
        if example is load_examples()[1]:
            console.print(_texts(heat_texts(results[0])))


def _table(example: Example, results: list[ScoreResult]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("explanation", ratio=1)
    table.add_column("score", justify="right")
    table.add_column("90 % interval, 0 to 1", width=_AXIS, no_wrap=True)
    table.add_column("taken off", justify="right")
    table.add_column("route")
    for explanation, result in zip(example.explanations, results, strict=True):
        taken = result.adjustment.taken_off if result.adjustment else 0.0
        table.add_row(
            Text(explanation),
            "none" if result.score is None else f"{result.score:.2f}",
            _interval(result),
            f"{taken:.2f}",
            result.route if result.status == "ok" else f"{result.route}, {result.status}",
        )
    return table


def _interval(result: ScoreResult) -> Text:
    """The interval as a line and the score, after the adjustment, as a dot on it."""
    if result.interval is None or result.score is None:
        return Text(result.reason or "")
    low, high, dot = (
        round(min(max(value, 0.0), 1.0) * (_AXIS - 1)) for value in (*result.interval, result.score)
    )
    cells = ["━" if low <= at <= high else "·" for at in range(_AXIS)]
    cells[dot] = "●"
    line = Text("".join(cells), "dim")
    line.stylize("not dim blue", low, high + 1)
    line.stylize("not dim bold", dot, dot + 1)
    return line


def _texts(texts: tuple[HeatText, ...]) -> Text:
    """The texts of most disagreement; behind each token that fires [true|predicted], on 0-10."""
    out = Text("\n[true|predicted] strength, 0-10, in the texts that agree least:\n", "dim")
    for text in texts[:_TEXTS]:
        out.append("| ", "dim")
        out.append_text(_text(text))
        out.append("\n")
    return out


def _text(text: HeatText) -> Text:
    out = Text()
    for token in text.tokens:
        written = "".join(char if char.isprintable() else " " for char in token.text)
        if token.marked:
            out.append(written, "bold")
            out.append(f"[{token.true:.0f}|{token.predicted:.0f}]", "blue")
        else:
            out.append(written)
    return out
