"""The web page: what a filled form asks for, and the page that answers it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from werkzeug.datastructures import FileStorage, MultiDict

from pipeline import __version__
from pipeline.comparison import compare_results
from pipeline.errors import InvalidRequest, ScorerError
from pipeline.examples import Example, load_examples
from pipeline.forecast import Forecast
from pipeline.formats import read_feature
from pipeline.render import environment
from pipeline.result import ScoreResult
from pipeline.simulation import Usage
from pipeline.wire import ScoreCall, read_json

logger = logging.getLogger(__name__)

MOST_EXPLANATIONS = 6
_KEPT = 64


@dataclass(frozen=True, slots=True)
class Form:
    """What stands in the form, as it was sent.

    Attributes
    ----------
    action : "score" (without the LLM), "forecast" (what the LLM would cost) or "llm".
    take : prefer the explanations of a pasted feature to those in the fields.
    example : the built-in example that it was filled with.
    """

    explanations: tuple[str, ...] = ()
    activations: str = ""
    action: str = "score"
    take: bool = False
    example: str | None = None

    @classmethod
    def of_example(cls, example: Example) -> Form:
        """Filled with the best explanation and the records, one a line."""
        records = ",\n".join(json.dumps(r, ensure_ascii=False) for r in example.activations)
        return cls(example.explanations[:1], f"[\n{records}\n]", example=example.name)

    @classmethod
    def read(cls, fields: MultiDict[str, str], files: MultiDict[str, FileStorage]) -> Form:
        """As a browser sent it; a file goes before the field for what it holds."""
        file = files.get("file")
        text = file.read().decode("utf-8", "replace") if file and file.filename else ""
        return cls(
            tuple(one for one in fields.getlist("explanation") if one.strip()),
            text or fields.get("activations", ""),
            fields.get("do", "score"),
            take="take" in fields,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What the page shows: scores, a forecast, or errors by field."""

    form: Form
    results: tuple[ScoreResult, ...] = ()
    forecast: Forecast | None = None
    errors: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


class Page:
    """Answers forms; keeps the latest results, so that an edit scores only what it changed.

    Parameters
    ----------
    llm : whether there is an LLM to ask.
    secret : whether the form must ask for the server's secret.
    """

    def __init__(self, *, llm: bool, secret: bool) -> None:
        self._llm = llm
        self._secret = secret
        self._kept: OrderedDict[tuple[str, str, bool], ScoreResult] = OrderedDict()
        self._lock = Lock()

    def of_example(self, name: str | None) -> str:
        """The page with an example in the form, the first one where there is none of this name."""
        found = [example for example in load_examples() if example.name == name]
        return self.html(Answer(Form.of_example([*found, *load_examples()][0])))

    def answer(
        self,
        form: Form,
        score: Callable[[ScoreCall], ScoreResult],
        forecast: Callable[[ScoreCall], Forecast],
    ) -> Answer:
        """Score what the form holds, or say at which field it fails.

        Parameters
        ----------
        score, forecast : what a call is given to; they may refuse it.
        """
        try:
            explanations, activations = read_pasted(form.activations)
        except InvalidRequest as error:
            message = str(error).replace("the body", "the text")
            return Answer(form, errors={"activations": message}, status=error.status)
        if explanations and (form.take or not form.explanations):
            form = replace(form, explanations=explanations)
        form = replace(form, explanations=form.explanations[:MOST_EXPLANATIONS])
        calls = [
            ScoreCall(explanation, activations, llm=form.action == "llm")
            for explanation in form.explanations or ("",)
        ]
        try:
            results = tuple(self._scored(call, form.activations, score) for call in calls)
            cost = _forecast(calls, forecast) if form.action == "forecast" else None
        except ScorerError as error:
            return refused(form, error)
        return Answer(form, results, cost)

    def html(self, answer: Answer) -> str:
        """The page as a whole."""
        shown = {example.name: example for example in load_examples()}
        return (
            environment()
            .get_template("page.html")
            .render(
                form=answer.form,
                results=answer.results,
                comparison=compare_results(answer.form.explanations, answer.results)
                if len(answer.results) > 1
                else None,
                forecast=answer.forecast,
                errors=answer.errors,
                examples=load_examples(),
                note=shown[answer.form.example].note if answer.form.example else None,
                most=MOST_EXPLANATIONS,
                llm=self._llm,
                secret=self._secret,
                cost=_cost,
                version=__version__,
            )
        )

    def _scored(
        self, call: ScoreCall, activations: str, score: Callable[[ScoreCall], ScoreResult]
    ) -> ScoreResult:
        """What the LLM said stays on show for as long as it is kept."""
        text = hashlib.sha256(activations.encode("utf-8", "surrogatepass")).hexdigest()
        keys = [(str(call.explanation), text, True), (str(call.explanation), text, False)]
        with self._lock:
            for key in keys[:1] if call.llm else keys:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
        result = score(call)
        if result.status != "degraded":
            with self._lock:
                self._kept[keys[0] if call.llm else keys[1]] = result
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return result


def refused(form: Form, error: ScorerError) -> Answer:
    """The page that says at which field a form failed."""
    if error.status >= 500:
        logger.error("unexpected error", exc_info=error)
        message = "internal error; the server's log has the cause"
        return Answer(form, errors={"other": message}, status=error.status)
    place = (error.field or "").split("[")[0]
    if place not in ("explanation", "activations", "secret"):
        place = "other"
    return Answer(form, errors={place: str(error)}, status=error.status)


def read_pasted(text: str) -> tuple[tuple[str, ...], object]:
    """The explanations, if any, and the activations of what was pasted.

    Takes records, a request, or a feature in any form that `pipeline.formats` knows; of several
    features, the first.

    Raises
    ------
    InvalidRequest : for what is not JSON or holds no activations.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    by_line = len(lines) > 1 and lines[0].rstrip().endswith("}")
    found: Any = [_json(line) for line in lines] if by_line else _json(text)
    if isinstance(found, list) and found and isinstance(found[0], Mapping):
        if "tokens" in found[0]:
            return (), found
        # A list of delphi's records is one feature.
        found = found if "str_tokens" in found[0] else found[0]
    feature = read_feature(found)
    if feature.activations is None:
        raise InvalidRequest(
            'found no activations; send a list of {"tokens": [...], "values": [...]}, or an object '
            'with such a list as "activations"'
        )
    named = (one for one in feature.explanations if isinstance(one, str) and one.strip())
    return tuple(named), feature.activations


def _forecast(calls: Sequence[ScoreCall], forecast: Callable[[ScoreCall], Forecast]) -> Forecast:
    return sum((forecast(replace(call, llm=True)) for call in calls), Forecast())


def _json(text: str) -> Any:
    return read_json(text.encode("utf-8", "replace"))


def _cost(usage: Usage) -> str:
    price = "price not known" if usage.cost_usd is None else f"{usage.cost_usd:.4f} USD"
    return f"{usage.total_tokens:,} tokens ({price})"
