"""The form in which one endpoint and model want to be asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from stages.question import Chat, Prompt

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
    alternatives : how many likely tokens may be asked for at each place, the most first; empty
        where log probabilities were asked for and none came.
    temperature, effort : whether these parameters are taken.
    reasons : whether the model spends completion tokens on thoughts.
    """

    formats: tuple[str, ...] = ("json_schema", "json_object", "text")
    limits: tuple[str, ...] = ("max_tokens", "max_completion_tokens")
    alternatives: tuple[int, ...] = (20, 5)
    temperature: bool = True
    effort: bool = True
    reasons: bool = False

    def chat(self, question: Chat) -> dict[str, Any]:
        """The parameters of a chat beside the model."""
        parameters: dict[str, Any] = {
            "messages": question.messages,
            self.limits[0]: question.limit + self.allowance,
        }
        if self.temperature:
            parameters["temperature"] = 0
        if self.reasons and self.effort:
            parameters["reasoning_effort"] = "low"
        if question.odds:
            parameters |= {"logprobs": True, "top_logprobs": self.alternatives[0]}
        if self.formats[0] == "json_schema":
            form = {"name": "answer", "strict": True, "schema": question.schema}
            parameters["response_format"] = {"type": "json_schema", "json_schema": form}
        elif self.formats[0] == "json_object":
            parameters["response_format"] = {"type": "json_object"}
        return parameters

    def completion(self, question: Prompt) -> dict[str, Any]:
        """The parameters of a completion that repeats its prompt, beside the model."""
        return {
            "prompt": question.text,
            "echo": True,
            "logprobs": self.alternatives[0],
            "max_tokens": question.limit,
            "temperature": 0,
        }

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
        if "logprobs" in complaint:
            return self.with_fewer_alternatives(complaint)
        if len(self.formats) > 1 and any(
            word in complaint for word in ("response_format", "json_schema", "json_object")
        ):
            return replace(self, formats=self.formats[1:])
        return self

    def with_fewer_alternatives(self, complaint: str) -> Dialect:
        """The same with a smaller number of them, if there is one and that was the complaint."""
        if "logprobs" in complaint and len(self.alternatives) > 1:
            return replace(self, alternatives=self.alternatives[1:])
        return self
