"""The server in a process of its own, which tests can starve, stop and kill."""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from forked import Forked
from serving import CLASSIC

import server

_CAP_DAC_OVERRIDE = 1 << 1
_CAPABILITY_VERSION_3 = 0x20080522


@dataclass(frozen=True)
class ServerProcess:
    """A server that listens; `folder` is all that it writes to, its log included."""

    process: Forked
    url: str
    folder: Path

    @property
    def log(self) -> str:
        return self.process.err.read_text()

    def post(self, explanation: str, **request: Any) -> httpx2.Response:
        """Ask for a score that an LLM is needed for."""
        body = {**CLASSIC, "explanation": explanation, "tolerance": 1e-6, **request}
        return httpx2.post(f"{self.url}/score", json=body, timeout=60, trust_env=False)

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(f"{self.url}{path}", timeout=60, trust_env=False)

    @property
    def resident(self) -> int:
        """Bytes of memory in use."""
        return _status(self.process.pid, "VmRSS")

    @property
    def addressed(self) -> int:
        """Bytes of address space, which RLIMIT_AS limits."""
        return _status(self.process.pid, "VmSize")


@contextmanager
def started(folder: Path, **environment: str) -> Iterator[ServerProcess]:
    """A server that is ready, with these variables set; killed at the end if it still runs."""
    folder.mkdir(exist_ok=True)
    process = Forked(_serve, folder=folder, PORT="0", **environment)
    try:
        yield ServerProcess(process, _listening(process), folder)
    finally:
        process.kill()


def _serve() -> None:
    _obey_permissions()
    server.main()


def _obey_permissions() -> None:
    """Root reads and writes what it likes, and so would not see a file become read-only."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # Of each half: effective, permitted, inheritable.
    assert libc.capget(header, sets) == 0
    sets[0] &= ~_CAP_DAC_OVERRIDE
    assert libc.capset(header, sets) == 0


def _listening(process: Forked) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if process.err.exists() and (
            found := re.search(r"listening on (\S+)", process.err.read_text())
        ):
            return found[1]
        time.sleep(0.1)
    raise AssertionError(f"the server did not start: {process.err.read_text()}")


def _status(pid: int, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024
