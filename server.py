"""HTTP interface: parse, score, serialise. `python server.py` serves it; the rest is `pipeline`."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import waitress
from flask import Flask, Response, request
from prometheus_client import CONTENT_TYPE_LATEST
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

import pipeline
from pipeline import draining
from pipeline.cores import share_cores
from pipeline.draining import Sockets
from pipeline.errors import Busy, ConfigurationError, OverBudget, RequestTooLarge, ScorerError
from pipeline.exposure import check_exposure, check_page, demands_secret
from pipeline.forecast import Forecast
from pipeline.keys import Key, Keys
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
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
# Probes, the page and refusals are answered while every score slot is taken.
_SPARE_THREADS = 4
_CONNECTIONS = 500
_SECONDS_OF_SILENCE = 30
_SECONDS_TO_RESTART = 5


def create_app(
    scorer: Scorer, settings: Settings, stopping: threading.Event | None = None
) -> Flask:
    """Make the WSGI app and load the models, so that a server that answers is ready.

    At most `settings.threads` scores run at once; further ones are refused with 429, as are all
    once `stopping` is set.
    """
    views = _Views(scorer, settings, stopping or threading.Event())
    scorer.load()
    app = Flask(__name__, static_folder=str(WEB / "static"))
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
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

    def __init__(self, scorer: Scorer, settings: Settings, stopping: threading.Event) -> None:
        self._scorer = scorer
        self._settings = settings
        self._stopping = stopping
        self._keys = Keys(settings)
        self._slots = threading.BoundedSemaphore(settings.threads)
        self._counters = Metrics(DailyBudget.of(settings))
        self._page = Page(llm=settings.has_llm, secret=demands_secret(settings))

    def score(self) -> Response:
        check_page(self._settings, request.headers)
        body = read_json(request.get_data(cache=False))
        key = self._keys.whose(body.get("secret") if isinstance(body, Mapping) else None)
        call = ScoreCall.parse(body)
        return _json(self._score(call, key).to_dict(explain=call.explain))

    def _score(self, call: ScoreCall, key: Key | None) -> ScoreResult:
        try:
            with self._slot(), self._counters.track():
                result = call.run(self._scorer, [key.day] if key and key.day else [])
        except OverBudget:
            self._counters.over_budget.inc()
            raise
        self._counters.count(result)
        logger.info(
            "key=%s score=%s route=%s status=%s texts=%d llm_tokens=%d",
            key.name if key else None,
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
        if self._stopping.is_set():
            raise Busy("the server is stopping; try again", _SECONDS_TO_RESTART)
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
        check_page(self._settings, request.headers, "multipart/form-data")
        form = Form.read(request.form, request.files)
        try:
            key = self._keys.whose(request.form.get("secret"))
        except ScorerError as error:
            answer = refused(form, error)
        else:
            answer = self._page.answer(form, lambda call: self._score(call, key), self._forecast)
        return self._page.html(answer), answer.status

    def finish(self, response: Response) -> Response:
        response.headers.extend(_HEADERS)
        path = request.url_rule.rule if request.url_rule else "unknown"
        self._counters.requests.labels(path, response.status_code).inc()
        return response


def bind(app: Flask, settings: Settings, sockets: Sockets | None = None) -> Any:
    """Make the waitress server, already bound to its port, for `app`.

    It reads requests in a loop of its own and hands over only what is complete, so that slow
    clients take no thread; what they take is a connection, which ends when they fall silent.
    """
    return waitress.create_server(
        app,
        sockets,
        host=settings.host,
        port=settings.port,
        threads=settings.threads + _SPARE_THREADS,
        # Flask says 413 in JSON; waitress cuts off only what is absurd, before it fills the disk.
        max_request_body_size=16 * settings.max_body_bytes,
        connection_limit=_CONNECTIONS,
        channel_timeout=_SECONDS_OF_SILENCE,
        cleanup_interval=5,
        asyncore_use_poll=True,  # select() fails where file descriptors pass 1023.
    )


def serve(settings: Settings | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then let the scores under way finish, for some seconds.

    Raises
    ------
    ConfigurationError : for a setting or a shipped artefact that is wrong.
    """
    settings = settings or Settings.from_environment()
    check_exposure(settings)
    stopping = threading.Event()
    sockets: Sockets = {}
    with Scorer(settings) as scorer:
        server = bind(create_app(scorer, settings, stopping), settings, sockets)
        server.print_listen("listening on http://{}:{}")
        # What waits for the LLM when time runs out is answered without it.
        draining.run(sockets, stopping, scorer.close)
    logger.info("stopped")


def main() -> None:
    """`python server.py`: serve with the settings of the environment."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    share_cores()
    try:
        serve()
    except (ConfigurationError, OSError) as error:
        sys.exit(f"server: {error}")
    except (MemoryError, RuntimeError) as error:
        # A thread whose stack finds no room is a RuntimeError.
        if isinstance(error, RuntimeError) and "new thread" not in str(error):
            raise
        sys.exit("server: out of memory; it takes about 2 GB of address space")
    logging.shutdown()
    # To take the models apart can take seconds, which a supervisor may not grant.
    os._exit(0)


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


if __name__ == "__main__":
    main()
