"""One OpenAI-compatible chat endpoint, asked in the form that it turns out to accept.

Endpoints and models differ in what they take: structured output or not, any temperature or only
their own, one or the other name of the token limit. Names of models tell little about it, so the
best form is tried first and what a 400 complains about is left out from then on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.cache import RawAnswer
from pipeline.errors import SimulatorError
from pipeline.settings import Settings

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletion

_log = logging.getLogger(__name__)

_OPENAI_URL = "https://api.openai.com/v1"
_REASONING_TOKENS = 4000
"""Further completion tokens for a model that thinks before it answers, at low effort."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one endpoint and model are known to accept.

    Attributes
    ----------
    formats : forms of structured output still worth a try, the best first.
    limits : names of the token limit still worth a try. The older one comes first: endpoints that
        want the newer one say so, while some that know only the older one ignore the newer.
    temperature, effort : whether these parameters are taken.
    reasons : whether the model spends completion tokens on thoughts.
    """

    formats: tuple[str, ...] = ("json_schema", "json_object", "text")
    limits: tuple[str, ...] = ("max_tokens", "max_completion_tokens")
    temperature: bool = True
    effort: bool = True
    reasons: bool = False

    def parameters(self, schema: Mapping[str, Any], limit: int) -> dict[str, Any]:
        """The parameters of a request beside model and messages."""
        parameters: dict[str, Any] = {self.limits[0]: limit + self.allowance}
        if self.temperature:
            parameters["temperature"] = 0
        if self.reasons and self.effort:
            parameters["reasoning_effort"] = "low"
        if self.formats[0] == "json_schema":
            form = {"name": "quotes", "strict": True, "schema": schema}
            parameters["response_format"] = {"type": "json_schema", "json_schema": form}
        elif self.formats[0] == "json_object":
            parameters["response_format"] = {"type": "json_object"}
        return parameters

    @property
    def allowance(self) -> int:
        return _REASONING_TOKENS if self.reasons else 0

    def without(self, complaint: str) -> Dialect:
        """The next weaker dialect, without what an endpoint complained about, if anything."""
        if self.limits[0] in complaint and len(self.limits) > 1:
            return replace(self, limits=self.limits[1:])
        if self.temperature and "temperature" in complaint:
            return replace(self, temperature=False)
        if self.effort and "reasoning_effort" in complaint:
            return replace(self, effort=False)
        if len(self.formats) > 1 and any(
            word in complaint for word in ("response_format", "json_schema", "json_object")
        ):
            return replace(self, formats=self.formats[1:])
        return self


class Endpoint:
    """A model behind a base URL. Safe for several threads at once."""

    def __init__(self, settings: Settings) -> None:
        self.url = settings.openai_base_url or _OPENAI_URL
        self.model = settings.simulator_model
        self._settings = settings
        self._dialect = Dialect()
        self._client: openai.OpenAI | None = None
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(settings.llm_concurrency)

    @property
    def allowance(self) -> int:
        """Completion tokens that a request may take beyond its limit, as far as is known."""
        return self._dialect.allowance

    def ask(
        self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], limit: int
    ) -> RawAnswer:
        """One answer of at most `limit` tokens.

        Raises
        ------
        SimulatorError : if the endpoint gives none, after such retries as can help.
        """
        import openai

        while True:
            dialect = self._dialect
            request = {"messages": messages, **dialect.parameters(schema, limit)}
            try:
                with self._slots:
                    client = self._connect()
                    answer = client.chat.completions.create(model=self.model, **request)
                return self._read(answer)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                # Another thread may have learnt the same from a request of its own meanwhile.
                if self._dialect is dialect:
                    self._dialect = dialect.without(f"{error.message} {error.param}")
                if self._dialect is dialect:
                    raise SimulatorError(self._reason(error)) from None
                _log.info("%s at %s: %s", self.model, self.url, self._reason(error))
            except (openai.OpenAIError, ValueError) as error:
                raise SimulatorError(self._reason(error)) from None

    def close(self) -> None:
        """Close the connections; they are opened again when needed."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _connect(self) -> openai.OpenAI:
        import openai

        with self._lock:
            if self._client is None:
                self._client = openai.OpenAI(
                    # Local servers want no key, but the client insists on one.
                    api_key=self._settings.openai_api_key or "none",
                    base_url=self.url,
                    timeout=self._settings.llm_timeout,
                    max_retries=self._settings.llm_retries,
                )
            return self._client

    def _read(self, completion: ChatCompletion) -> RawAnswer:
        try:
            choice, usage = completion.choices[0], completion.usage
            content = choice.message.content
        except (AttributeError, TypeError, IndexError):
            raise SimulatorError("the LLM endpoint's answer is no chat completion") from None
        details = usage and usage.completion_tokens_details
        if details and details.reasoning_tokens and not self._dialect.reasons:
            self._dialect = replace(self._dialect, reasons=True)
        return RawAnswer(
            content if isinstance(content, str) else None,
            str(choice.finish_reason),
            (usage and usage.prompt_tokens) or 0,
            (usage and usage.completion_tokens) or 0,
        )

    def _reason(self, error: Exception) -> str:
        """What went wrong, in words that give no secret away."""
        import openai

        if isinstance(error, openai.APITimeoutError):
            return f"the LLM endpoint gave no answer within {self._settings.llm_timeout:g} s"
        if isinstance(error, openai.APIConnectionError):
            return "the connection to the LLM endpoint failed"
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return f"the LLM endpoint refused the API key (HTTP {error.status_code})"
        if isinstance(error, openai.APIStatusError):
            said = str(error.body.get("message")) if isinstance(error.body, dict) else "no message"
            # Some endpoints repeat the key in what they say.
            said = said.replace(self._settings.openai_api_key or "\0", "…")[:200]
            return f"the LLM endpoint answered HTTP {error.status_code}: {said}"
        return f"the LLM endpoint's answer cannot be read ({type(error).__name__})"
