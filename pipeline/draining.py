"""Runs waitress until it is told to stop, and lets it finish then what it has begun.

waitress itself, told to stop, waits for its threads but sends nothing more: an answer that does not
fit into the socket's buffer is cut off.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from threading import Event
from types import FrameType

from waitress import wasyncore
from waitress.channel import HTTPChannel

_log = logging.getLogger(__name__)

PATIENCE = 3.0
"""Seconds that scores get before their calls to the LLM are ended."""
LIMIT = 8.0
"""Seconds after which the process ends, whatever is under way: supervisors kill after ten."""
_POLL = 0.25

Sockets = dict[int, wasyncore.dispatcher]
"""What waitress listens on and its connections, by file descriptor."""


def run(sockets: Sockets, stopping: Event, hurry: Callable[[], None]) -> bool:
    """Serve until SIGTERM or SIGINT, then finish; whether everything was finished.

    To be called in the main thread, where signals arrive. A second signal ends it at once.

    Parameters
    ----------
    stopping : set with the first signal.
    hurry : called again and again once `PATIENCE` is at its end.
    """

    def stop(_signal: int, _frame: FrameType | None) -> None:
        if stopping.is_set():
            raise SystemExit(1)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while not stopping.is_set():
        wasyncore.loop(_POLL, use_poll=True, map=sockets, count=1)
    return _finish(sockets, hurry)


def _finish(sockets: Sockets, hurry: Callable[[], None]) -> bool:
    start = time.monotonic()
    for listening in [one for one in sockets.values() if one.accepting]:
        listening.del_channel()
        listening.socket.close()
    while (waited := time.monotonic() - start) < LIMIT:
        busy = sum(_is_busy(one) for one in sockets.values())
        if not busy:
            return True
        if waited > PATIENCE:
            hurry()
        wasyncore.loop(_POLL, use_poll=True, map=sockets, count=1)
    _log.warning("%d answers were not finished within %g s", busy, LIMIT)
    return False


def _is_busy(one: wasyncore.dispatcher) -> bool:
    return isinstance(one, HTTPChannel) and bool(one.requests or one.total_outbufs_len)
