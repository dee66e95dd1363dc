"""The files of a batch job: requests in the provider's format, and its answers."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from pipeline.job import Part
from pipeline.simulation import Usage

_log = logging.getLogger(__name__)

MOST_REQUESTS = 50_000
"""That OpenAI takes in a file."""
_MOST_BYTES = 200_000_000


class RequestFiles:
    """Writes the requests of a round, into as many files as the provider's limits make it.

    Parameters
    ----------
    url : path of the endpoint that each request is for.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        url: str,
        most_requests: int = MOST_REQUESTS,
        most_bytes: int = _MOST_BYTES,
    ) -> None:
        self._folder = folder
        self._name = name
        self._url = url
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self._parts: list[Part] = []
        self._file: IO[bytes] | None = None
        self._bytes = 0

    def add(
        self, key: str, body: Mapping[str, Any], version: str, odds: bool, worst: Usage
    ) -> None:
        """Write a request; its key is what the provider's answer names it by."""
        request = {"custom_id": key, "method": "POST", "url": self._url, "body": body}
        line = json.dumps(request, separators=(",", ":")).encode() + b"\n"
        full = self._parts and self._parts[-1].requests >= self._most_requests
        if self._file is None or full or self._bytes + len(line) > self._most_bytes:
            self._begin(version, odds)
        assert self._file
        self._file.write(line)
        self._bytes += len(line)
        part = self._parts[-1]
        self._parts[-1] = replace(part, requests=part.requests + 1, worst=part.worst + worst)

    def close(self) -> tuple[Part, ...]:
        """Bring all to the disk; the files that were written."""
        if self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
        return tuple(self._parts)

    def _begin(self, version: str, odds: bool) -> None:
        self.close()
        name = f"{self._name}-part-{len(self._parts) + 1}"
        self._file = (self._folder / f"{name}.jsonl").open("wb")
        self._bytes = 0
        self._parts.append(Part(name, 0, version, odds, Usage()))


@dataclass(frozen=True, slots=True)
class Answered:
    """A line of the provider's: a chat completion, or why there is none.

    Attributes
    ----------
    final : whether to ask the same again would be of no use.
    """

    key: str
    completion: Mapping[str, Any] | None = None
    problem: str = ""
    final: bool = False


def read_answers(path: Path) -> Iterator[Answered]:
    """The lines of a file of answers or errors; what cannot be read is logged and left out."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield _answered(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError):
                _log.warning("%s: line %d is no answer", path.name, number)


def _answered(line: Mapping[str, Any]) -> Answered:
    key = line["custom_id"]
    bytes.fromhex(key)
    response = line.get("response")
    if response is None:
        # Such as batch_expired, which says nothing against the request.
        error = line["error"]
        return Answered(key, problem=f"{error['code']}: {error['message']}"[:300])
    status, body = int(response["status_code"]), response["body"]
    if status == 200 and isinstance(body, dict):
        return Answered(key, body)
    told = (body or {}).get("error") or {}
    final = 400 <= status < 500 and status not in (401, 403, 408, 409, 429)
    return Answered(key, problem=f"HTTP {status}: {told.get('message')}"[:300], final=final)
