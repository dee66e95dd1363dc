"""The page without a browser: what a form is answered."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from markupsafe import escape
from models import request
from serving import CLASSIC, KEY, shared_scorer

import server
from pipeline.errors import Busy, InvalidRequest, ScorerError, SimulatorError
from pipeline.examples import load_examples
from pipeline.forecast import Forecast
from pipeline.page import MOST_EXPLANATIONS, Answer, Form, Page, read_pasted
from pipeline.result import ScoreResult
from pipeline.scoring import score_records
from pipeline.settings import Settings
from pipeline.simulation import Usage
from pipeline.wire import ScoreCall

RECORDS = json.dumps(CLASSIC["activations"])


class Scores:
    """Gives every call the same result and remembers it."""

    def __init__(self, error: ScorerError | None = None) -> None:
        self.calls: list[tuple[object, bool]] = []
        self.error = error
        self.page = Page(llm=True, secret=False)

    def answer(self, form: Form) -> Answer:
        return self.page.answer(form, self.score, self.forecast)

    def score(self, call: ScoreCall) -> ScoreResult:
        self.calls.append((call.explanation, call.llm))
        if self.error:
            raise self.error
        records = request("foxes", "a fox*4").records
        simulations = score_records(records, [records[0].values])
        route = "full" if call.llm else "cheap"
        return ScoreResult(0.5, 0.5, (0.4, 0.6), route, "ok", simulations)  # type: ignore[arg-type]

    def forecast(self, call: ScoreCall) -> Forecast:
        usage = Usage(prompt_tokens=1000, completion_tokens=100, cost_usd=0.0012)
        return Forecast(1, 2, 2, usage, usage)


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return server.create_app(shared_scorer(), Settings()).test_client()


def post(client: FlaskClient, **fields: Any) -> tuple[int, str]:
    headers = fields.pop("headers", {})
    answer = client.post("/", data=fields, headers=headers, content_type="multipart/form-data")
    assert answer.content_type.startswith("text/html")
    return answer.status_code, answer.text


def test_an_edit_scores_only_the_explanation_that_changed() -> None:
    scores = Scores()
    scores.answer(Form(("a", "b", "c"), RECORDS))
    scores.answer(Form(("a", "edited", "c"), RECORDS))
    assert [explanation for explanation, _ in scores.calls] == ["a", "b", "c", "edited"]


def test_other_activations_are_scored_anew() -> None:
    scores = Scores()
    scores.answer(Form(("a",), RECORDS))
    scores.answer(Form(("a",), RECORDS.replace("2.5", "1.5")))
    assert len(scores.calls) == 2


def test_the_llm_is_asked_only_when_told_to_and_its_answer_stays() -> None:
    scores = Scores()
    for action in ("score", "forecast", "llm", "score"):
        answer = scores.answer(Form(("a",), RECORDS, action))
    assert scores.calls == [("a", False), ("a", True)]
    assert answer.results[0].route == "full"


def test_a_forecast_is_the_sum_for_all_explanations_and_names_its_price() -> None:
    scores = Scores()
    answer = scores.answer(Form(("a", "b"), RECORDS, "forecast"))
    assert answer.forecast is not None
    assert answer.forecast.asked == 4
    assert "Ask the LLM, for about 2,200 tokens (0.0024 USD)" in scores.page.html(answer)


def test_not_more_explanations_are_scored_than_are_shown() -> None:
    scores = Scores()
    answer = scores.answer(Form(tuple("abcdefghij"), RECORDS))
    assert len(scores.calls) == len(answer.results) == MOST_EXPLANATIONS


@pytest.mark.parametrize(
    ("error", "field", "message"),
    [
        (InvalidRequest("too long", "explanation"), "explanation", "too long"),
        (InvalidRequest("bad", "activations[3].values"), "activations", "bad"),
        (Busy("all slots are taken"), "other", "all slots are taken"),
        (SimulatorError("key sk-123 was refused"), "other", "internal error"),
    ],
)
def test_an_error_stands_at_its_field(error: ScorerError, field: str, message: str) -> None:
    scores = Scores(error)
    answer = scores.answer(Form(("a",), RECORDS))
    assert answer.errors.keys() == {field}
    assert message in answer.errors[field]
    assert "sk-123" not in answer.errors[field]
    assert answer.status == error.status
    assert escape(answer.errors[field]) in scores.page.html(answer)


@pytest.mark.parametrize(
    ("text", "explanations"),
    [
        (RECORDS, ()),
        ("\n".join(json.dumps(record) for record in CLASSIC["activations"]), ()),
        (json.dumps(CLASSIC), ("fast animals",)),
        (
            json.dumps({**CLASSIC, "explanations": [{"description": "cats"}, "dogs"]}),
            ("cats", "dogs"),
        ),
        (json.dumps({**CLASSIC, "explanation": None}), ()),
        (json.dumps([CLASSIC, {"activations": []}]), ("fast animals",)),
    ],
)
def test_records_requests_and_exports_are_read(text: str, explanations: tuple[str, ...]) -> None:
    assert read_pasted(text) == (explanations, CLASSIC["activations"])


def test_a_neuron_record_and_a_latent_of_delphi_are_read() -> None:
    records = [{"tokens": [" a", " fox"], "activations": [0, 2.5]}]
    known = [{"tokens": [" a", " fox"], "values": [0, 2.5]}]
    assert read_pasted(json.dumps({"most_positive_activation_records": records})) == ((), known)
    delphi = [{"str_tokens": [" a", " fox"], "activations": [0, 2.5]}]
    assert read_pasted(json.dumps(delphi)) == ((), known)


@pytest.mark.parametrize("text", ["3", "[]", "null", '"text"', "[3]", '{"explanation": "cats"}'])
def test_what_holds_no_activations_is_refused(text: str) -> None:
    answer = Scores().answer(Form(("a",), text))
    assert answer.errors.keys() == {"activations"}
    assert answer.status == 400


def test_the_explanations_of_an_export_fill_empty_fields_and_others_when_told_to() -> None:
    scores, export = Scores(), json.dumps(CLASSIC)
    assert scores.answer(Form((), export)).form.explanations == ("fast animals",)
    assert scores.answer(Form(("mine",), export)).form.explanations == ("mine",)
    taken = scores.answer(Form(("mine",), export, take=True))
    assert taken.form.explanations == ("fast animals",)


def test_every_example_fills_the_form(client: FlaskClient) -> None:
    for example in load_examples():
        page = client.get("/", query_string={"example": example.name}).text
        assert page.count('aria-current="page"') == 1
        assert page.index('aria-current="page"') < page.index(example.title.replace("'", "&#39;"))
    assert "fast animals" in client.get("/?example=none").text


def test_a_form_without_an_explanation_is_refused_at_the_field(client: FlaskClient) -> None:
    status, page = post(client, explanation=" ", activations=RECORDS)
    assert status == 400
    assert 'aria-describedby="explanation-error" aria-invalid="true"' in page


def test_a_file_goes_before_the_field(client: FlaskClient) -> None:
    file = (io.BytesIO(json.dumps(CLASSIC).encode()), "feature.json")
    status, page = post(client, explanation="", activations="{", file=file)
    assert status == 200
    assert "fast animals</h2>" in page


def test_a_form_from_another_site_is_refused(client: FlaskClient) -> None:
    headers = {"Origin": "https://example.org"}
    data = {"explanation": "a", "activations": RECORDS}
    answer = client.post("/", data=data, headers=headers, content_type="multipart/form-data")
    assert answer.status_code == 403


def test_the_secret_is_checked_before_all_else_and_never_shown() -> None:
    client = server.create_app(shared_scorer(), Settings(server_key=KEY)).test_client()
    status, page = post(client, explanation="a", activations="{", secret="wrong")
    assert status == 401
    assert "secret is missing or wrong" in page
    status, page = post(client, explanation="a", activations=RECORDS, secret=KEY)
    assert status == 200
    assert KEY not in page
