"""A short version of `make bench-trust`, and the server held against its OpenAPI description."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import schemathesis
from flask import Flask
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from serving import SPEC, shared_scorer

import server
from benchmarks.fuzz import fuzz
from pipeline.settings import Settings


@cache
def app() -> Flask:
    """One that needs no secret, so that the fuzzers reach what lies behind."""
    return server.create_app(shared_scorer(), Settings())


def described(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """The real app, except that its description needs no models while tests are collected."""
    if environ["PATH_INFO"] != "/openapi.json":
        return app()(environ, start)
    start("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(SPEC).encode()]


schema = schemathesis.openapi.from_wsgi("/openapi.json", described)
# Hundreds of requests that would be scored for real.
schema.config.phases.coverage.enabled = False
# What exceeds a limit is too large, and not merely wrong.
schema.config.checks.negative_data_rejection.expected_statuses = ["4xx"]


@schema.parametrize()
@hypothesis_settings(
    max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
def test_the_server_is_as_its_openapi_description_says(case: schemathesis.Case[Any]) -> None:
    # The schema cannot say that there are as many values as tokens.
    case.call_and_validate(excluded_checks=[positive_data_acceptance])


def test_mutated_requests_never_break_the_server() -> None:
    found = fuzz(app(), 1000)
    assert not found.faults, found.faults[:5]
    assert {200, 400, 404, 405, 413} <= found.statuses.keys()
