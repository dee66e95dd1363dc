from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import httpx2
import pytest
from serving import CLASSIC, serving, shared_scorer, strict_json

from pipeline.errors import ConfigurationError
from pipeline.exposure import check_exposure
from pipeline.settings import Settings


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        (Settings(), True),
        (Settings(host="localhost"), True),
        (Settings(host="::1"), True),
        (Settings(host="127.8.0.1"), True),
        (Settings(host="0.0.0.0"), False),
        (Settings(host="example.org"), False),
        (Settings(host="::", allow_open=True), True),
        (Settings(host="0.0.0.0", server_key="k"), True),
        (Settings(host="0.0.0.0", server_keys_path="keys.json"), True),
    ],
)
def test_an_open_server_stays_on_loopback(settings: Settings, allowed: bool) -> None:
    if allowed:
        check_exposure(settings)
        return
    with pytest.raises(ConfigurationError, match="SERVER_KEY"):
        check_exposure(settings)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    """Of an open server on loopback."""
    with serving(shared_scorer(), Settings(port=0)) as client:
        yield client


def status(client: httpx2.Client, **headers: str) -> int:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    response = client.post("/score", content=json.dumps(CLASSIC), headers=given)
    if response.status_code != 200:
        strict_json(response, "Error")
    return response.status_code


JSON = "application/json"


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "json"]
)
def test_an_open_server_takes_only_what_is_declared_to_be_json(
    client: httpx2.Client, kind: str
) -> None:
    assert status(client, content_type=kind) == 415


def test_a_compressed_body_is_refused_by_name(client: httpx2.Client) -> None:
    headers = {"Content-Type": JSON, "Content-Encoding": "gzip"}
    answer = client.post("/score", content=gzip.compress(b"{}"), headers=headers)
    assert answer.status_code == 415
    assert "Content-Encoding" in answer.json()["error"]


@pytest.mark.parametrize("kind", [JSON, "Application/JSON; charset=utf-8"])
def test_callers_that_are_no_browsers_are_answered(client: httpx2.Client, kind: str) -> None:
    assert status(client, content_type=kind) == 200


def test_the_server_s_own_page_is_answered(client: httpx2.Client) -> None:
    assert status(client, content_type=JSON, origin=str(client.base_url).rstrip("/")) == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "", "["])
def test_a_foreign_page_is_refused_by_an_open_server(client: httpx2.Client, origin: str) -> None:
    assert status(client, content_type=JSON, origin=origin) == 403


def test_a_foreign_name_that_resolves_to_loopback_is_refused(client: httpx2.Client) -> None:
    name = f"evil.example:{client.base_url.port}"
    assert status(client, content_type=JSON, host=name, origin=f"http://{name}") == 403
    assert status(client, content_type=JSON, host=f"localhost:{client.base_url.port}") == 200


@pytest.mark.parametrize("host", ["[", "[::1", "", "127.0.0.1.evil.example", "::::"])
def test_a_host_that_is_no_loopback_name_is_refused(client: httpx2.Client, host: str) -> None:
    assert status(client, content_type=JSON, host=host) == 403


def test_who_has_the_secret_may_come_from_anywhere() -> None:
    with serving(shared_scorer(), Settings(port=0, server_key="k")) as client:
        response = client.post(
            "/score",
            content=json.dumps({**CLASSIC, "secret": "k"}),
            headers={"Origin": "https://friend.example", "Content-Type": "text/plain"},
        )
        assert response.status_code == 200
