"""Keeps a server without a secret from spending its owner's money for strangers."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers
from werkzeug.exceptions import Forbidden, UnsupportedMediaType

from pipeline.errors import ConfigurationError
from pipeline.settings import Settings


def check_exposure(settings: Settings) -> None:
    """Refuse to let everybody on the network score at the owner's expense by oversight.

    Raises
    ------
    ConfigurationError : without a secret beyond loopback, unless `allow_open` is set.
    """
    if demands_secret(settings) or settings.allow_open or _is_loopback(settings.host):
        return
    raise ConfigurationError(
        f"SERVER_KEY is empty and HOST is {settings.host}: set SERVER_KEY, listen on 127.0.0.1, "
        "or set ALLOW_OPEN=1 if everybody who reaches this address may score"
    )


def demands_secret(settings: Settings) -> bool:
    """Whether `POST /score` asks for one."""
    return bool(settings.server_key or settings.server_keys_path)


def check_page(settings: Settings, headers: Headers, expected: str = "application/json") -> None:
    """Refuse what a foreign web page had the browser of somebody near an open server send.

    Browsers send JSON to other sites only after these agreed, which this server never does, and
    name the page's site in `Origin`. A site that had its name resolved to loopback passes for the
    server itself, but not by its name in `Host`.

    Raises
    ------
    UnsupportedMediaType : for what is compressed, or not declared to be as `expected`.
    Forbidden : for the sites of others.
    """
    if headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMediaType("send the body as it is, without Content-Encoding")
    if demands_secret(settings):
        return
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != expected:
        raise UnsupportedMediaType(f"send the header Content-Type: {expected}")
    host, origin = headers.get("Host", ""), headers.get("Origin")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        raise Forbidden("this server has no secret, so it does not answer other sites' pages")
    if _is_loopback(settings.host) and not _is_loopback(_without_port(host)):
        raise Forbidden("this server has no secret, so it must be called localhost or 127.0.0.1")


def _without_port(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
