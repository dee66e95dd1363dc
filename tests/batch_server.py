"""A local server that speaks OpenAI's files and batches, beside chat completions.

A batch takes one step each time that it is looked at, from `validating` to `completed`; what
becomes of it and of its requests is told by `fates` and `fate_of`.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import flask
from fault_server import Body, Reply, mark_first_words
from werkzeug.serving import make_server

STEPS = ("validating", "in_progress", "finalizing")
ANSWERED = "answered"


class BatchServer:
    """What the server holds and saw.

    Attributes
    ----------
    fates : how the next batches end, in the order of their creation, then "completed"; "failed"
        ends a batch in its validation, with `failure` as the code.
    fate_of : what becomes of a request, by its place in its file: `ANSWERED`, a status such as 400,
        or "left" in batches that expire or are cancelled.
    answered : how often each request of a batch was answered, by its `custom_id`: what is paid for.
    seen : method and path of every HTTP request.
    before, after : called with these before a request is handled, and before it is answered.
    """

    model = "scripted"

    def __init__(self) -> None:
        self.base_url = ""
        self.otherwise: Callable[[Body], Reply] = mark_first_words
        self.fates: list[str] = []
        self.failure = "invalid_request"
        self.fate_of: Callable[[int], int | str] = lambda place: ANSWERED
        self.answered: Counter[str] = Counter()
        self.at_once: list[Body] = []
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.seen: list[str] = []
        self.before: Callable[[str], None] = lambda request: None
        self.after: Callable[[str], Reply | None] = lambda request: None
        self._ends: dict[str, str] = {}

    def app(self) -> flask.Flask:
        app = flask.Flask(__name__)
        app.before_request(self._arrived)
        app.after_request(self._left)
        app.post("/v1/chat/completions")(self._chat)
        app.post("/v1/files")(self._upload)
        app.get("/v1/files/<file_id>/content")(self._content)
        app.post("/v1/batches")(self._create)
        app.get("/v1/batches")(self._list)
        app.get("/v1/batches/<batch_id>")(self._look)
        return app

    def lines(self, batch: int) -> list[Body]:
        """The requests of a batch, by the order of their creation."""
        made = list(self.batches.values())[batch]
        return [json.loads(line) for line in self.files[made["input_file_id"]].splitlines()]

    def _arrived(self) -> None:
        request = f"{flask.request.method} {flask.request.path.removeprefix('/v1')}"
        self.seen.append(request)
        # Whoever is killed now has sent all of it.
        flask.request.get_data()
        self.before(request)

    def _left(self, response: flask.Response) -> flask.Response:
        reply = self.after(self.seen[-1])
        return response if reply is None else flask.Response(str(reply.body), reply.status)

    def _chat(self) -> flask.Response:
        body = flask.request.get_json()
        self.at_once.append(body)
        reply = self.otherwise(body)
        return flask.Response(json.dumps(reply.body), reply.status, mimetype="application/json")

    def _upload(self) -> Body:
        file = flask.request.files["file"]
        assert flask.request.form["purpose"] == "batch"
        assert file.filename
        assert file.filename.endswith(".jsonl")
        return self._add(file.read(), "batch", file.filename)

    def _add(self, content: bytes, purpose: str, name: str) -> Body:
        file_id = f"file-{len(self.files) + 1}"
        self.files[file_id] = content
        return {
            "id": file_id,
            "object": "file",
            "bytes": len(content),
            "created_at": 1_700_000_000 + len(self.files),
            "filename": name,
            "purpose": purpose,
            "status": "processed",
        }

    def _content(self, file_id: str) -> flask.Response:
        return flask.Response(self.files[file_id], mimetype="application/octet-stream")

    def _create(self) -> Body:
        wanted = flask.request.get_json()
        assert wanted["completion_window"] == "24h"
        number = len(self.batches) + 1
        batch = {
            "id": f"batch_{number}",
            "object": "batch",
            "endpoint": wanted["endpoint"],
            "errors": None,
            "input_file_id": wanted["input_file_id"],
            "completion_window": "24h",
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": 1_700_000_000 + len(self.files) + number,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": None,
        }
        self._ends[batch["id"]] = self.fates.pop(0) if self.fates else "completed"
        self.batches[batch["id"]] = batch
        return batch

    def _list(self) -> Body:
        data = list(reversed(self.batches.values()))
        return {"object": "list", "data": data, "has_more": False}

    def _look(self, batch_id: str) -> Body:
        batch = self.batches[batch_id]
        if batch["status"] in STEPS:
            step = STEPS.index(batch["status"])
            end = self._ends[batch_id]
            if end == "failed":
                error = {"code": self.failure, "message": "no", "param": None, "line": 1}
                batch |= {"status": "failed", "errors": {"object": "list", "data": [error]}}
            elif step + 1 < len(STEPS):
                batch["status"] = STEPS[step + 1]
            else:
                self._end(batch, end)
        return batch

    def _end(self, batch: dict[str, Any], end: str) -> None:
        requests = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        names = [request["custom_id"] for request in requests]
        assert len(set(names)) == len(names) <= 50_000
        output, errors = [], []
        for place, request in enumerate(requests):
            assert request["method"] == "POST"
            assert request["url"] == batch["endpoint"] == "/v1/chat/completions"
            fate = self.fate_of(place)
            line: Body = {"id": f"batch_req_{place}", "custom_id": request["custom_id"]}
            if fate == ANSWERED:
                self.answered[request["custom_id"]] += 1
                body = self.otherwise(request["body"]).body
                response = {"status_code": 200, "request_id": f"req_{place}", "body": body}
                output.append({**line, "response": response, "error": None})
            elif fate == "left":
                told = {"code": f"batch_{end}", "message": "This request was not executed."}
                errors.append({**line, "response": None, "error": told})
            else:
                body = {"error": {"message": "no such thing", "type": "x", "code": None}}
                response = {"status_code": fate, "request_id": f"req_{place}", "body": body}
                errors.append({**line, "response": response, "error": None})
        # The provider promises no order.
        output.reverse()
        for name, lines in (("output_file_id", output), ("error_file_id", errors)):
            if lines:
                content = "".join(json.dumps(line) + "\n" for line in lines).encode()
                batch[name] = self._add(content, "batch_output", f"{name}.jsonl")["id"]
        batch["status"] = end
        batch["request_counts"] = {
            "total": len(requests),
            "completed": len(output),
            "failed": len(errors),
        }


@contextmanager
def serve() -> Iterator[BatchServer]:
    """A fresh server on a free port."""
    server = BatchServer()
    http = make_server("127.0.0.1", 0, server.app(), threaded=True)
    server.base_url = f"http://127.0.0.1:{http.server_port}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
