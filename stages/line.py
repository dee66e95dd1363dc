"""Calls to one endpoint: a few at once, each within its time, none while the endpoint is down.

Only what is certain to have cost nothing is tried again: a connection that did not come about, and
a refusal by status. A call that was sent and never answered may be charged for all the same; it is
`Lost`, and its caller has to reckon with the worst.
"""

from __future__ import annotations

import email.utils
import math
import queue
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from pipeline.errors import SimulatorError
from stages.breaker import Breaker

if TYPE_CHECKING:
    import openai

_T = TypeVar("_T")

_WORTH_A_RETRY = frozenset({408, 409, 429})
_REFUSES_ALL = frozenset({401, 403, 408, 429})
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 8.0


class Lost(SimulatorError):
    """The question was sent, but no answer came back that can be read; it may be charged for."""


class Line:
    """See the module. Safe for several threads at once.

    Parameters
    ----------
    timeout : seconds that a call may take, with its further tries, once it is under way.
    retries : further tries.
    concurrency : calls under way at once.
    pause : seconds; see `Breaker`.
    explain : an exception in words that give no secret away.
    """

    def __init__(
        self,
        timeout: float,
        retries: int,
        concurrency: int,
        pause: float,
        explain: Callable[[Exception], str],
    ) -> None:
        self._timeout = timeout
        self._retries = retries
        self._explain = explain
        self._slots = threading.BoundedSemaphore(concurrency)
        self._breaker = Breaker(pause)
        self._inboxes: set[queue.SimpleQueue[object]] = set()
        self._lock = threading.Lock()

    def call(self, send: Callable[[float], _T]) -> _T:
        """What `send` gives, which is told the seconds that it has.

        Raises
        ------
        Lost : if no answer came in time, or the connection broke.
        SimulatorError : if the endpoint is down, or `hang_up` was called.
        openai.APIStatusError : for every other refusal, after such retries as can help.
        """
        inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        with self._lock:
            self._inboxes.add(inbox)
        try:
            with self._slots:
                self._wait(inbox, 0.0)
                self._breaker.admit()
                return self._settled(send, inbox)
        finally:
            with self._lock:
                self._inboxes.discard(inbox)

    def hang_up(self) -> None:
        """End all calls that are under way or wait; later ones are let through again."""
        with self._lock:
            for inbox in self._inboxes:
                inbox.put(_HungUp("the connection to the LLM endpoint was closed by this side"))

    def _settled(self, send: Callable[[float], _T], inbox: queue.SimpleQueue[object]) -> _T:
        """The call, and what the breaker learns from it."""
        import openai

        try:
            answer = self._persist(send, inbox)
        except _HungUp as error:
            self._breaker.ended()
            raise Lost(str(error)) from None
        except Lost as error:
            self._breaker.failed(str(error))
            raise
        except openai.APIStatusError as error:
            if error.status_code in _REFUSES_ALL or error.status_code >= 500:
                self._breaker.failed(self._explain(error), _retry_after(error) or 0.0)
            else:
                self._breaker.succeeded()
            raise
        except (openai.OpenAIError, ValueError) as error:
            reason = self._explain(error)
            self._breaker.failed(reason)
            raise (SimulatorError if _never_sent(error) else Lost)(reason) from None
        except BaseException:
            self._breaker.ended()
            raise
        self._breaker.succeeded()
        return answer

    def _persist(self, send: Callable[[float], _T], inbox: queue.SimpleQueue[object]) -> _T:
        """Try until there is an answer, or no try is left, or no time."""
        import openai

        deadline = time.monotonic() + self._timeout
        tries = 0
        while True:
            try:
                return self._try(send, inbox, deadline - time.monotonic())
            except openai.APIError as error:
                pause = _pause(error, tries)
                tries += 1
                late = time.monotonic() + pause >= deadline
                if tries > self._retries or late or not _worth_a_retry(error):
                    raise
            self._wait(inbox, pause)

    def _try(
        self, send: Callable[[float], _T], inbox: queue.SimpleQueue[object], seconds: float
    ) -> _T:
        """In a thread of its own: else an answer that trickles in could take any time."""
        box: list[_T] = []

        def work() -> None:
            try:
                box.append(send(seconds))
                inbox.put(None)
            except BaseException as error:  # noqa: BLE001
                inbox.put(error)

        threading.Thread(target=work, name="llm-call", daemon=True).start()
        if not self._wait(inbox, seconds):
            raise Lost(f"the LLM endpoint gave no answer within {self._timeout:g} s")
        return box[0]

    def _wait(self, inbox: queue.SimpleQueue[object], seconds: float) -> bool:
        """Whether a call ended within this time; raise what it, or `hang_up`, sent."""
        try:
            said = inbox.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            return False
        if isinstance(said, BaseException):
            raise said
        return True


class _HungUp(SimulatorError):
    pass


def _worth_a_retry(error: openai.APIError) -> bool:
    import openai

    if isinstance(error, openai.APIStatusError):
        return error.status_code in _WORTH_A_RETRY or error.status_code >= 500
    return _never_sent(error)


def _never_sent(error: Exception) -> bool:
    """Whether the connection did not even come about."""
    import httpx2

    cause = error.__cause__
    return isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)


def _pause(error: openai.APIError, tries: int) -> float:
    """Seconds to the next try: what the endpoint says, else longer from time to time."""
    asked = _retry_after(error)
    if asked is not None:
        return asked
    return min(_FIRST_PAUSE * 2.0**tries, _LONGEST_PAUSE) * random.uniform(0.75, 1.0)


def _retry_after(error: openai.APIError) -> float | None:
    """The header Retry-After, in seconds or as a date."""
    response = getattr(error, "response", None)
    said = response.headers.get("retry-after") if response is not None else None
    if said is None:
        return None
    try:
        seconds = float(said)
    except ValueError:
        date = email.utils.parsedate_tz(said)
        if date is None:
            return None
        seconds = email.utils.mktime_tz(date) - time.time()
    return max(seconds, 0.0) if math.isfinite(seconds) else None
