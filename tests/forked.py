"""Processes of their own that start at once: forked from one that has imported the libraries.

Importing PyTorch and sentence-transformers takes longer than what most tests of a process do.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["sentence_transformers", "sklearn.linear_model", "openai"])


class Forked:
    """A process that runs a function and exits with what it returns, as a program would.

    What it prints is in the files `out` and `err` of its folder, where it also runs.
    """

    def __init__(
        self, run: Callable[..., Any], *arguments: Any, folder: Path, **environment: str
    ) -> None:
        self.out, self.err = folder / "out", folder / "err"
        self._process: BaseProcess = _SERVER.Process(
            target=_run, args=(run, arguments, folder, {**os.environ, **environment})
        )
        self._waiting = threading.Lock()
        self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """The exit code, or the signal that killed it as a negative number; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float = 120) -> int:
        with self._waiting:  # Of two threads at once one would read no exit code.
            self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("the forked process", timeout)
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


def _run(
    run: Callable[..., Any], arguments: Any, folder: Path, environment: dict[str, str]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for stream, name in ((sys.stdout, "out"), (sys.stderr, "err")):
        with Path(name).open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    # Where the tests themselves were started in the background, it is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(run(*arguments))
