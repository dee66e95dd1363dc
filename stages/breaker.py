"""Leaves an endpoint alone that is down, so that not every score waits for it in vain.

The packages for this were looked at: pybreaker holds its lock while a call runs, which would put
calls one after another; circuitbreaker and purgatory let all threads in at once when they try
whether the endpoint is back.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from pipeline.errors import SimulatorError

_FAILURES = 2
"""So many calls in a row, each with its own further tries, and the endpoint counts as down."""
_LONGEST = 16
"""The pause doubles with every try in vain, up to so many times its first length."""


class Breaker:
    """Lets calls through, unless the last ones failed; then one at a time, after a pause.

    Safe for several threads. Every call that was admitted has to end with `succeeded`, `failed` or
    `ended`.

    Parameters
    ----------
    pause : seconds before the first try whether the endpoint is back.
    """

    def __init__(self, pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause = pause
        self._clock = clock
        self._failures = 0
        self._until = -math.inf
        self._trying = False
        self._reason = ""
        self._lock = threading.Lock()

    def admit(self) -> None:
        """Let a call through.

        Raises
        ------
        SimulatorError : if none is, with the reason why the last one failed.
        """
        with self._lock:
            left = self._until - self._clock()
            down = self._failures >= _FAILURES
            if left > 0 or (down and self._trying):
                raise SimulatorError(
                    f"{self._reason}; it is left alone for another {max(1, math.ceil(left))} s"
                )
            self._trying = down

    def succeeded(self) -> None:
        """The endpoint answered, be it with a refusal of just this question."""
        with self._lock:
            self._failures, self._until, self._trying = 0, -math.inf, False

    def failed(self, reason: str, at_least: float = 0.0) -> None:
        """The endpoint failed, and may have asked to be left alone for some seconds."""
        with self._lock:
            now = self._clock()
            if now < self._until:
                return  # A call from before the pause, which says nothing new.
            self._trying = False
            self._failures += 1
            self._reason = reason
            pause = at_least
            if self._failures >= _FAILURES:
                longer = min(2 ** (self._failures - _FAILURES), _LONGEST)
                pause = max(at_least, self._pause * longer)
            self._until = now + min(pause, max(self._pause, 1.0) * _LONGEST)

    def ended(self) -> None:
        """The call was given up by our side, which says nothing about the endpoint."""
        with self._lock:
            self._trying = False
