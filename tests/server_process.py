"""`python server.py` in a process of its own, which tests can starve, stop and kill."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from serving import CLASSIC, ROOT

_CAP_DAC_OVERRIDE = 1
_PR_CAPBSET_DROP = 24


@dataclass(frozen=True)
class ServerProcess:
    """A server that listens; `folder` is all that it writes to, its log included."""

    process: subprocess.Popen[bytes]
    url: str
    folder: Path

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

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
    log = folder / "log"
    with log.open("wb") as file, spawn(folder, file, **environment) as process:
        try:
            yield ServerProcess(process, _listening(log, process), folder)
        finally:
            process.kill()


def spawn(folder: Path, stderr: Any, **environment: str) -> subprocess.Popen[bytes]:
    """The process, not waited for."""
    return subprocess.Popen(
        [sys.executable, ROOT / "server.py"],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_WAIT_POLICY": "PASSIVE",
            "PORT": "0",
            **environment,
        },
        stderr=stderr,
        preexec_fn=_obey_permissions,
    )


def _obey_permissions() -> None:
    """Root reads and writes what it likes, and so would not see a file become read-only."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0)


def _listening(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"listening on (\S+)", log.read_text()):
            return found[1]
        time.sleep(0.1)
    raise AssertionError(f"the server did not start: {log.read_text()}")


def _status(pid: int, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024
