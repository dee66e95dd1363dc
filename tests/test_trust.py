"""A short version of `make bench-trust`, and the server held against its OpenAPI description."""

from __future__ import annotations

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from serving import shared_scorer

import server
from benchmarks.fuzz import fuzz
from pipeline.settings import Settings

# The schema cannot say that there are as many values as tokens.
UNFIT = [positive_data_acceptance]


@pytest.fixture(scope="module")
def app() -> Flask:
    """One that needs no secret, so that the fuzzers reach what lies behind."""
    return server.create_app(shared_scorer(), Settings())


@pytest.fixture(scope="module")
def api(app: Flask) -> schemathesis.BaseSchema:
    found = schemathesis.openapi.from_wsgi("/openapi.json", app)
    found.config.phases.coverage.enabled = False  # hundreds of requests that are scored for real
    return found


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@hypothesis_settings(
    max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
def test_the_server_is_as_its_openapi_description_says(case: schemathesis.Case) -> None:
    case.call_and_validate(excluded_checks=UNFIT)


def test_mutated_requests_never_break_the_server(app: Flask) -> None:
    found = fuzz(app, 2000)
    assert not found.faults, found.faults[:5]
    assert {200, 400, 404, 405, 413} <= found.statuses.keys()
