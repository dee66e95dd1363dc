"""A local server that speaks OpenAI's chat completions, and fails on demand."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]

HANG = "hang"
DROP = "drop"
CUT = "cut"
"""Half an answer, and the connection is gone: what a server does that is killed."""
DRIP = "drip"
"""White space for ever, which keeps the time from running out that a read may take."""


@dataclass(frozen=True)
class Reply:
    """One HTTP answer; `body` is sent as it is where it is a string."""

    status: int = 200
    body: Body | str = ""
    headers: dict[str, str] = field(default_factory=dict)


Behaviour = Reply | str | Callable[[Body], Reply | str]


def completion(content: str | None, finish_reason: str = "stop", **usage: Any) -> Reply:
    """A good answer in the wire format; `refusal` goes with missing content."""
    message = {"role": "assistant", "content": content, "refusal": None}
    if content is None:
        message["refusal"] = "I cannot help with that."
    counts: Body = {"prompt_tokens": 100, "completion_tokens": 10, **usage}
    return Reply(
        body={
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "scripted",
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
            ],
            "usage": {**counts, "total_tokens": 110},
        }
    )


def error(status: int, message: str = "scripted failure", **headers: str) -> Reply:
    """An error in the wire format."""
    body = {"error": {"message": message, "type": "scripted", "param": None, "code": None}}
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def texts_of(body: Body) -> list[str]:
    """The numbered texts of a request's last question, as the model sees them."""
    question = body["messages"][-1]["content"]
    block = question.partition("<texts>\n")[2].partition("\n</texts>")[0]
    return [re.sub(r"^\[\d+\] ", "", line) for line in block.split("\n")]


def mark_first_words(body: Body) -> Reply:
    """The default: the first word of every text fires with strength 7."""
    marked = {str(i): [f"{text.split()[0]}«7»"] for i, text in enumerate(texts_of(body))}
    return completion(json.dumps(marked, ensure_ascii=False))


class FaultServer:
    """Answers from `script`, one entry a request, then by `otherwise`.

    `refused` names parameters that are answered with OpenAI's 400; a value such as
    ``"json_schema"`` in place of a name refuses this form of `response_format`.
    """

    model = "scripted"

    def __init__(self, port: int) -> None:
        self.base_url = f"http://127.0.0.1:{port}/v1"
        self.script: list[Behaviour] = []
        self.otherwise: Behaviour = mark_first_words
        self.refused: set[str] = set()
        self.requests: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self.released = threading.Event()
        self._under_way = 0
        self._lock = threading.Lock()

    @contextmanager
    def taking(self, body: Body, headers: dict[str, str]) -> Iterator[Behaviour]:
        """Record a request and say how to answer it."""
        with self._lock:
            self.requests.append(body)
            self.headers.append(headers)
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
            behaviour = self._refusal(body) or self._next()
        yield behaviour(body) if callable(behaviour) else behaviour
        with self._lock:
            self._under_way -= 1

    def _next(self) -> Behaviour:
        return self.script.pop(0) if self.script else self.otherwise

    def _refusal(self, body: Body) -> Reply | None:
        form = body.get("response_format", {}).get("type")
        for name in sorted(self.refused):
            if name in body:
                return error(400, f"Unsupported parameter: '{name}' is not supported.")
            if name == form:
                return error(400, f"Invalid parameter: 'response_format' of type '{name}'.")
        return None


@contextmanager
def serve(port: int = 0) -> Iterator[FaultServer]:
    """A fresh server, on a free port if none is given."""
    with _Server(("127.0.0.1", port), _Handler) as http:
        http.faults = FaultServer(http.server_port)
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield http.faults
        finally:
            http.faults.released.set()
            http.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    faults: FaultServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up waiting is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        faults = self.server.faults
        with faults.taking(body, {k.lower(): v for k, v in self.headers.items()}) as behaviour:
            if behaviour == HANG:
                faults.released.wait(30)
            elif behaviour == CUT:
                self._start(Reply(), 1000)
                self.wfile.write(b'{"id": "chatcmpl-1", "choices": [')
            elif behaviour == DRIP:
                self._start(Reply(), 100_000)
                while not faults.released.wait(0.05):
                    self.wfile.write(b" ")
            elif isinstance(behaviour, Reply):
                self._send(behaviour)
        self.close_connection = True

    def _send(self, reply: Reply) -> None:
        text = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
        data = text.encode()
        self._start(reply, len(data))
        self.wfile.write(data)

    def _start(self, reply: Reply, length: int) -> None:
        self.send_response(reply.status)
        headers = {"Content-Type": "application/json", **reply.headers}
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Quiet."""
