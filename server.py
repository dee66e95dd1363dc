"""HTTP interface: parse, score, serialise. `python server.py` serves it; the rest is `pipeline`."""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import waitress
from flask import Flask, Response, request
from prometheus_client import CONTENT_TYPE_LATEST
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

import pipeline
from pipeline.errors import (
    Busy,
    ConfigurationError,
    InvalidRequest,
    OverBudget,
    RequestTooLarge,
    ScorerError,
    Unauthorised,
)
from pipeline.forecast import Forecast
from pipeline.ledger import DailyBudget
from pipeline.metrics import Metrics
from pipeline.page import Form, Page, refused
from pipeline.render import WEB
from pipeline.result import ScoreResult
from pipeline.scorer import Scorer
from pipeline.settings import Settings
from pipeline.wire import ScoreCall, read_json

logger = logging.getLogger(__name__)

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# Probes, the page and refusals are answered while every score slot is taken.
_SPARE_THREADS = 4


def create_app(scorer: Scorer, settings: Settings) -> Flask:
    """Make the WSGI app and load the models, so that a server that answers is ready.

    At most `settings.threads` scores run at once; further ones are refused with 429.
    """
    scorer.load()
    app = Flask(__name__, static_folder=str(WEB / "static"))
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    views = _Views(scorer, settings)
    app.add_url_rule("/score", view_func=views.score, methods=["POST"])
    app.add_url_rule("/healthz", view_func=views.healthz)
    app.add_url_rule("/metrics", view_func=views.metrics)
    app.add_url_rule("/openapi.json", view_func=views.openapi)
    app.add_url_rule("/", view_func=views.page)
    app.add_url_rule("/", view_func=views.form, methods=["POST"])
    app.register_error_handler(ScorerError, _refuse)
    app.register_error_handler(HTTPException, _refuse_http)
    app.register_error_handler(Exception, _fail)
    app.after_request(views.finish)
    return app


class _Views:
    """What the routes share: the scorer, its free slots and the counters."""

    def __init__(self, scorer: Scorer, settings: Settings) -> None:
        self._scorer = scorer
        self._settings = settings
        self._slots = threading.BoundedSemaphore(settings.threads)
        self._counters = Metrics(DailyBudget.of(settings))
        self._page = Page(
            self._score, self._forecast, llm=settings.has_llm, secret=bool(settings.server_key)
        )

    def score(self) -> Response:
        body = read_json(request.get_data(cache=False))
        _check_secret(body, self._settings.server_key)
        call = ScoreCall.parse(body)
        return _json(self._score(call).to_dict(explain=call.explain))

    def _score(self, call: ScoreCall) -> ScoreResult:
        try:
            with self._slot(), self._counters.track():
                result = call.run(self._scorer)
        except OverBudget:
            self._counters.over_budget.inc()
            raise
        self._counters.count(result)
        logger.info(
            "score=%s route=%s status=%s texts=%d llm_tokens=%d",
            result.score,
            result.route,
            result.status,
            len(result.simulations),
            result.usage.total_tokens,
        )
        return result

    def _forecast(self, call: ScoreCall) -> Forecast:
        with self._slot():
            return call.forecast(self._scorer)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(blocking=False):
            raise Busy(f"all {self._settings.threads} score slots are taken; try again")
        try:
            yield
        finally:
            self._slots.release()

    def healthz(self) -> Response:
        llm = self._settings.has_llm
        return _json({"status": "ok", "version": pipeline.__version__, "llm": llm})

    def metrics(self) -> Response:
        return Response(self._counters.render(), content_type=CONTENT_TYPE_LATEST)

    def openapi(self) -> Response:
        return Response((WEB / "openapi.json").read_bytes(), content_type="application/json")

    def page(self) -> str:
        return self._page.of_example(request.args.get("example"))

    def form(self) -> tuple[str, int]:
        form = Form.read(request.form, request.files)
        try:
            _check_origin()
            _check_secret(request.form, self._settings.server_key)
        except ScorerError as error:
            answer = refused(form, error)
        else:
            answer = self._page.answer(form)
        return self._page.html(answer), answer.status

    def finish(self, response: Response) -> Response:
        response.headers.extend(_HEADERS)
        path = request.url_rule.rule if request.url_rule else "unknown"
        self._counters.requests.labels(path, response.status_code).inc()
        return response


def check_exposure(settings: Settings) -> None:
    """Refuse to let everybody on the network score at the owner's expense by oversight.

    Raises
    ------
    ConfigurationError : without a secret beyond loopback, unless `allow_open` is set.
    """
    if settings.server_key or settings.allow_open or _is_loopback(settings.host):
        return
    raise ConfigurationError(
        f"SERVER_KEY is empty and HOST is {settings.host}: set SERVER_KEY, listen on 127.0.0.1, "
        "or set ALLOW_OPEN=1 if everybody who reaches this address may score"
    )


def bind(app: Flask, settings: Settings) -> Any:
    """Make the waitress server, already bound to its port, for `app`."""
    return waitress.create_server(
        app,
        host=settings.host,
        port=settings.port,
        threads=settings.threads + _SPARE_THREADS,
        # Flask says 413 in JSON; waitress cuts off only what is absurd, before it fills the disk.
        max_request_body_size=16 * settings.max_body_bytes,
    )


def serve(settings: Settings | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then let the scores under way finish.

    Raises
    ------
    ConfigurationError : for a setting or a shipped artefact that is wrong.
    """
    settings = settings or Settings.from_environment()
    check_exposure(settings)
    with Scorer(settings) as scorer:
        server = bind(create_app(scorer, settings), settings)
        signal.signal(signal.SIGTERM, _exit)
        server.print_listen("listening on http://{}:{}")
        server.run()
        # Its own patience is 5 s; a score may have to wait for one LLM answer.
        server.task_dispatcher.shutdown(timeout=settings.llm_timeout)
    logger.info("stopped")


def main() -> None:
    """`python server.py`: serve with the settings of the environment."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    try:
        serve()
    except (ConfigurationError, OSError) as error:
        sys.exit(f"server: {error}")


def _check_secret(body: object, key: str) -> None:
    if not key:
        return
    secret = body.get("secret") if isinstance(body, Mapping) else None
    given = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else b""
    if not hmac.compare_digest(given, key.encode("utf-8", "surrogatepass")):
        raise Unauthorised("the secret is missing or wrong; send the server's key as 'secret'")


def _check_origin() -> None:
    """Other sites must not spend the owner's money through a visitor's browser."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise InvalidRequest("the form was sent from another site; send it from this page")


def _refuse(error: ScorerError) -> Response:
    if error.status >= 500:
        return _fail(error)
    response = _error(str(error), error.status, error.code, error.field)
    if isinstance(error, Busy):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _refuse_http(error: HTTPException) -> Response:
    """What Flask itself refuses: unknown paths, wrong methods, bodies that are too large."""
    if isinstance(error, RequestEntityTooLarge):
        message = f"the body is larger than {request.max_content_length:,} bytes"
        return _error(message, RequestTooLarge.status, RequestTooLarge.code)
    response = _error(
        error.description or "", error.code or 500, error.name.lower().replace(" ", "_")
    )
    response.headers.extend(item for item in error.get_headers() if item[0] == "Allow")
    return response


def _fail(error: Exception) -> Response:
    logger.error("unexpected error", exc_info=error)
    return _error("internal error; the server's log has the cause", 500, ScorerError.code)


def _json(body: object, status: int = 200) -> Response:
    return Response(json.dumps(body, allow_nan=False), status, content_type="application/json")


def _error(message: str, status: int, code: str, field: str | None = None) -> Response:
    return _json({"error": message, "field": field, "code": code}, status)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _exit(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    main()
