"""One OpenAI-compatible endpoint, asked in the form that it turns out to accept.

Endpoints and models differ in what they take: structured output or not, any temperature or only
their own, one or the other name of the token limit. Names of models tell little about it, so the
best form is tried first and what a 400 complains about is left out from then on. Nor is a
parameter trusted to work because no one complained: llama.cpp, for one, ignores `echo`.
"""

from __future__ import annotations

import logging
import ssl
import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.cache import RawAnswer
from pipeline.errors import ConfigurationError, SimulatorError
from pipeline.settings import Settings
from stages.dialect import Dialect
from stages.line import Line, Lost
from stages.odds import WeighedText
from stages.question import Chat, Prompt, Question

if TYPE_CHECKING:
    import openai
    from openai.types import Completion
    from openai.types.chat import ChatCompletion

_log = logging.getLogger(__name__)

_OPENAI_URL = "https://api.openai.com/v1"
_NOT_SERVED = frozenset({400, 404, 405, 422, 501})

NO_ODDS = "the LLM endpoint sends no log probabilities; set SIMULATOR to quote or echo"


class NotServed(SimulatorError):
    """The endpoint has no completions, or none that repeat their prompt."""


class Endpoint:
    """A model behind a base URL. Safe for several threads at once.

    Raises
    ------
    ConfigurationError : if the URL holds a password, which logs and the cache would show.
    """

    def __init__(self, settings: Settings) -> None:
        self.url = settings.openai_base_url or _OPENAI_URL
        if "@" in urlsplit(self.url).netloc:
            raise ConfigurationError(
                "OPENAI_BASE_URL must not hold a user or password; put the key into OPENAI_API_KEY"
            )
        self.model = settings.simulator_model
        self.dialect = Dialect()
        self._settings = settings
        self._client: openai.OpenAI | None = None
        self._lock = threading.Lock()
        self._line = Line(
            settings.llm_timeout,
            settings.llm_retries,
            settings.llm_concurrency,
            settings.llm_pause,
            self.reason,
        )

    @property
    def allowance(self) -> int:
        """Completion tokens that a request may take beyond its limit, as far as is known."""
        return self.dialect.allowance

    def ask(self, question: Question) -> RawAnswer:
        """One answer. Where odds are wanted, its content is a `WeighedText` as written.

        Raises
        ------
        NotServed : if a `Prompt` meets an endpoint that does not know such requests.
        Lost : if it was asked and gave no answer that can be read, which may cost all the same.
        SimulatorError : if the endpoint gives no answer, after such retries as can help, or is
            down since a while.
        """
        import openai

        while True:
            dialect = self.dialect
            try:
                return self._line.call(partial(self._send, question, dialect))
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                # Another thread may have learnt the same from a request of its own meanwhile.
                if self.dialect is dialect:
                    self.dialect = _weaker(dialect, question, f"{error.message} {error.param}")
                if self.dialect is dialect:
                    raise self._failure(question, error) from None
                _log.info("%s at %s: %s", self.model, self.url, self.reason(error))
            except openai.OpenAIError as error:
                raise self._failure(question, error) from None

    def close(self) -> None:
        """End what is under way, as `Lost`, and close the connections; later calls open others."""
        self._line.hang_up()
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def client(self) -> openai.OpenAI:
        """The client that speaks to it, for what is not a question."""
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

    def _send(self, question: Question, dialect: Dialect, seconds: float) -> RawAnswer:
        # `Line` sees to further tries: the client would ask twice for money.
        client = self.client().with_options(timeout=seconds, max_retries=0)
        if isinstance(question, Prompt):
            parameters = dialect.completion(question)
            return _read_echo(client.completions.create(model=self.model, **parameters))
        self._check(question)
        parameters = dialect.chat(question)
        completion = client.chat.completions.create(model=self.model, **parameters)
        return self.read(completion, odds=question.odds)

    def body(self, question: Chat) -> dict[str, Any]:
        """What it would be sent, in the form that it is known to accept.

        Raises
        ------
        SimulatorError : if log probabilities are wanted, and it is known to send none.
        """
        self._check(question)
        return {"model": self.model, **self.dialect.chat(question)}

    def read(self, completion: ChatCompletion, *, odds: bool) -> RawAnswer:
        """The answer to a chat; `odds` says whether they were wanted.

        Raises
        ------
        SimulatorError : if it is none.
        """
        try:
            choice, usage = completion.choices[0], completion.usage
            content = choice.message.content
        except (AttributeError, TypeError, IndexError):
            raise Lost("the LLM endpoint's answer is no chat completion") from None
        details = usage and usage.completion_tokens_details
        if details and details.reasoning_tokens and not self.dialect.reasons:
            self.dialect = replace(self.dialect, reasons=True)
        finish_reason = str(choice.finish_reason)
        if odds and content:
            content = _odds_of(choice)
            if content is None:
                finish_reason = NO_ODDS
                self.dialect = replace(self.dialect, alternatives=())
        return RawAnswer(
            content if isinstance(content, str) else None,
            finish_reason,
            (usage and usage.prompt_tokens) or 0,
            (usage and usage.completion_tokens) or 0,
        )

    def _check(self, question: Chat) -> None:
        if question.odds and not self.dialect.alternatives:
            raise SimulatorError(NO_ODDS)

    def _failure(self, question: Question, error: Exception) -> SimulatorError:
        import openai

        refused = isinstance(error, openai.APIStatusError) and error.status_code in _NOT_SERVED
        kind = NotServed if refused and isinstance(question, Prompt) else SimulatorError
        return kind(self.reason(error))

    def reason(self, error: Exception) -> str:
        """What went wrong, in words that give no secret away."""
        import openai

        if isinstance(error, openai.APITimeoutError):
            return f"the LLM endpoint gave no answer within {self._settings.llm_timeout:g} s"
        if isinstance(error, openai.APIConnectionError):
            why = "could not be secured (TLS)" if _about_tls(error) else "failed"
            return f"the connection to the LLM endpoint {why}"
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return f"the LLM endpoint refused the API key (HTTP {error.status_code})"
        if isinstance(error, openai.APIStatusError):
            said = str(error.body.get("message")) if isinstance(error.body, dict) else "no message"
            # Some endpoints repeat the key in what they say.
            said = said.replace(self._settings.openai_api_key or "\0", "…")[:200]
            return f"the LLM endpoint answered HTTP {error.status_code}: {said}"
        return f"the LLM endpoint's answer cannot be read ({type(error).__name__})"


def _about_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _weaker(dialect: Dialect, question: Question, complaint: str) -> Dialect:
    # What a completion is refused for says nothing about chats.
    if isinstance(question, Prompt):
        return dialect.with_fewer_alternatives(complaint)
    return dialect.without(complaint)


def _odds_of(choice: Any) -> str | None:
    """The digits likely at each token of a chat's answer, if the endpoint tells."""
    try:
        places = choice.logprobs.content or ()
        tokens = [
            place.token.encode("utf-8", "replace") if place.bytes is None else bytes(place.bytes)
            for place in places
        ]
        likely = [
            {other.token: other.logprob for other in place.top_logprobs}
            | {place.token: place.logprob}
            for place in places
        ]
    except (AttributeError, TypeError):
        return None
    return WeighedText.of(tokens, likely).write() if tokens else None


def _read_echo(completion: Completion) -> RawAnswer:
    """The digits likely at each token of prompt and answer; nothing if they were not sent."""
    try:
        choice, usage = completion.choices[0], completion.usage
    except (AttributeError, TypeError, IndexError):
        raise Lost("the LLM endpoint's answer is no completion") from None
    # llama.cpp sends the log probabilities of the answer alone, in the form of a chat's.
    tokens = getattr(choice.logprobs, "tokens", None) or ()
    likely = getattr(choice.logprobs, "top_logprobs", None) or ()
    weighed = WeighedText()
    if len(tokens) == len(likely):
        # Nothing stands before the first token, so nothing could have been likely in its place.
        odds = [alternatives or {} for alternatives in likely]
        weighed = WeighedText.of([token.encode("utf-8", "replace") for token in tokens], odds)
    return RawAnswer(
        weighed.write(),
        str(choice.finish_reason),
        (usage and usage.prompt_tokens) or 0,
        (usage and usage.completion_tokens) or 0,
    )
