from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from serving import CLASSIC, GatedScorer, answer, serving, shared_scorer, strict_json

from pipeline.settings import Settings

SLOW_CLIENTS = 40


def test_clients_that_dawdle_hold_no_thread() -> None:
    body = json.dumps(CLASSIC).encode()
    head = (
        "POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    with serving(shared_scorer(), Settings(port=0, threads=1)) as client, ExitStack() as stack:
        address = (client.base_url.host, client.base_url.port)
        slow = [
            stack.enter_context(socket.create_connection(address, timeout=30))
            for _ in range(SLOW_CLIENTS)
        ]
        # Half send part of a head, half all but the last byte.
        for index, one in enumerate(slow):
            one.sendall(head[:20] if index % 2 else head + body[:-1])
        time.sleep(0.2)
        assert answer(client)["score"] is not None
        assert client.get("/healthz").status_code == 200
        slow[0].sendall(body[-1:])
        assert slow[0].recv(12) == b"HTTP/1.1 200"


def test_what_is_too_much_is_refused_at_once_and_waits_in_no_queue() -> None:
    gated = GatedScorer(shared_scorer())
    with (
        serving(gated, Settings(port=0, threads=2)) as client,
        ThreadPoolExecutor(32) as pool,
    ):
        running = [pool.submit(client.post, "/score", json=CLASSIC) for _ in range(2)]
        assert all(gated.entered.acquire(timeout=30) for _ in running)
        # None of these could be answered while the gate is shut, were they not refused.
        refused = list(pool.map(lambda _: client.post("/score", json=CLASSIC), range(100)))
        assert {response.status_code for response in refused} == {429}
        assert all(int(response.headers["Retry-After"]) >= 1 for response in refused)
        assert strict_json(refused[0], "Error")["code"] == "busy"
        gated.gate.set()
        assert [future.result().status_code for future in running] == [200, 200]
