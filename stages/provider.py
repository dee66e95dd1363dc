"""A provider's batches: files of requests that are answered within a day, at half the price."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from pipeline.errors import SimulatorError
from stages.endpoint import Endpoint

if TYPE_CHECKING:
    import openai
    from openai.types import Batch, FileObject

CHATS: Literal["/v1/chat/completions"] = "/v1/chat/completions"

_T = TypeVar("_T")

# Files have up to 200 MB, which a minute may be too short for.
_SECONDS_FOR_A_FILE = 1200.0
_TRIES = 4


class Provider:
    """The files and batches of an endpoint.

    Every method raises `SimulatorError` if the endpoint fails, after such retries as can help.

    Parameters
    ----------
    pause : seconds before the first retry of what must not be done twice; doubled for the next.
    """

    def __init__(self, endpoint: Endpoint, pause: float = 2.0) -> None:
        self._endpoint = endpoint
        self._pause = pause

    def upload(self, path: Path) -> FileObject:
        """Send a file of requests."""

        def send() -> FileObject:
            client = self._endpoint.client().with_options(timeout=_SECONDS_FOR_A_FILE)
            return client.files.create(file=path, purpose="batch")

        return self._checked(send)

    def start(self, file_id: str, since: int) -> Batch:
        """Start the batch of an uploaded file, or find it where that was done before.

        The answer to a request that starts a batch may get lost, or its sender be killed before
        it is written down. So whether there is such a batch is looked up before every try.

        Parameters
        ----------
        since : Unix time of the upload, by the provider's clock.
        """
        return self._checked(lambda: self._start(file_id, since))

    def look(self, batch_id: str) -> Batch:
        """The batch as it is now."""
        return self._checked(lambda: self._endpoint.client().batches.retrieve(batch_id))

    def download(self, file_id: str, path: Path) -> None:
        """Write a file of answers, whole or not at all."""
        partial = path.with_suffix(".partial")

        def fetch() -> None:
            client = self._endpoint.client().with_options(timeout=_SECONDS_FOR_A_FILE)
            with client.files.with_streaming_response.content(file_id) as response:
                response.stream_to_file(partial)

        self._checked(fetch)
        partial.replace(path)

    def _start(self, file_id: str, since: int) -> Batch:
        import openai

        # The client's own retries would start another batch without looking.
        client = self._endpoint.client().with_options(max_retries=0)
        for attempt in range(_TRIES):
            if found := self._find(file_id, since):
                return found
            try:
                return client.batches.create(
                    input_file_id=file_id, endpoint=CHATS, completion_window="24h"
                )
            except (openai.APIConnectionError, openai.APIStatusError) as error:
                if attempt == _TRIES - 1 or not _may_pass(error):
                    raise
            time.sleep(self._pause * 2**attempt)
        raise AssertionError("the last try returns or raises")

    def _find(self, file_id: str, since: int) -> Batch | None:
        """The file's batch; one that failed its validation was never begun."""
        # The newest come first.
        for batch in self._endpoint.client().batches.list(limit=100):
            if batch.created_at < since:
                break
            if batch.input_file_id == file_id and batch.status != "failed":
                return batch
        return None

    def _checked(self, action: Callable[[], _T]) -> _T:
        import openai

        try:
            return action()
        except openai.OpenAIError as error:
            raise SimulatorError(self._endpoint.reason(error)) from None
        # What httpx raises in the middle of a download is not the client's own.
        except Exception as error:
            if not type(error).__module__.startswith("httpx"):
                raise
            raise SimulatorError("the connection to the LLM endpoint failed") from None


def _may_pass(error: openai.APIConnectionError | openai.APIStatusError) -> bool:
    import openai

    if not isinstance(error, openai.APIStatusError):
        return True
    return error.status_code in (408, 409, 429) or error.status_code >= 500
