"""Locks by name: who wants the same thing takes turns, who wants another does not wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A lock for each name, as long as somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[threading.Lock, int]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Hold the lock of this name."""
        with self._lock:
            turn, waiting = self._waiting.get(name, (threading.Lock(), 0))
            self._waiting[name] = turn, waiting + 1
        try:
            with turn:
                yield
        finally:
            with self._lock:
                turn, waiting = self._waiting.pop(name)
                if waiting > 1:
                    self._waiting[name] = turn, waiting - 1
