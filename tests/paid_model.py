"""A model that keeps account of what it is paid for, whether its answers arrive or not."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from dataclasses import dataclass, field

from fault_server import CUT, DROP, Body, Reply, error, mark_first_words

_BYTES_PER_TOKEN = 4


@dataclass
class PaidModel:
    """Answers in the wire format, with true token counts; a share of its answers is lost.

    Attributes
    ----------
    faulty : share of the questions that fail. Some of those are refused, which costs nothing; the
        others are answered, charged, and lost on the way.
    seconds : what an answer takes.
    tokens : charged so far.
    delivered : questions that were answered, by how often the answer was sent in full.
    """

    faulty: float = 0.0
    seconds: float = 0.0
    tokens: int = 0
    delivered: Counter[str] = field(default_factory=Counter)
    released: threading.Event = field(default_factory=threading.Event)
    _random: random.Random = field(default_factory=lambda: random.Random(7))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, body: Body) -> Reply | str:
        self.released.wait(self.seconds)
        with self._lock:
            fault = self._random.random() < self.faulty
            kind: Reply | str = self._random.choice((DROP, CUT, error(500), error(429)))
            if fault and isinstance(kind, Reply):
                return kind
            reply = mark_first_words(body)
            assert isinstance(reply.body, dict)
            asked = json.dumps(body["messages"])
            prompt = len(asked) // _BYTES_PER_TOKEN
            said = len(json.dumps(reply.body["choices"])) // _BYTES_PER_TOKEN
            self.tokens += prompt + said
            counts = {"prompt_tokens": prompt, "completion_tokens": said}
            reply.body["usage"] = {**counts, "total_tokens": prompt + said}
            if fault:
                return kind
            self.delivered[asked] += 1
            return reply
