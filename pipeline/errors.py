"""Every error that this project raises on purpose, in one tree.

::

    ScorerError                  500
    ├── InvalidRequest           400  names the field and the remedy
    │   └── RequestTooLarge      413
    ├── Unauthorised             401
    ├── Busy                     429  says when to come back
    │   └── OverBudget           429  the day's budget is gone
    ├── ConfigurationError       500  a setting or a shipped artefact is wrong
    └── SimulatorError           502  the LLM stage failed; `score` degrades instead of raising it
"""

from __future__ import annotations

from typing import Self

from pipeline.simulation import Usage


class ScorerError(Exception):
    """Root of the tree; `status` is the HTTP status that the server answers with."""

    status = 500
    code = "internal"
    field: str | None = None


class InvalidRequest(ScorerError):
    """The caller's input cannot be scored.

    Parameters
    ----------
    message : what was found and what to do about it.
    field : path of the offending field, such as ``activations[3].values``.
    """

    status = 400
    code = "invalid_request"

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.message = message
        self.field = field

    def inside(self, place: str) -> Self:
        """The same error with the field's path continued outwards: ``requests[2].explanation``."""
        return type(self)(self.message, f"{place}.{self.field}" if self.field else place)


class RequestTooLarge(InvalidRequest):
    """The input is well formed but exceeds a stated limit."""

    status = 413
    code = "too_large"


class Unauthorised(ScorerError):
    """The secret is missing or wrong."""

    status = 401
    code = "unauthorised"
    field = "secret"


class Busy(ScorerError):
    """The request has to wait; `retry_after` is in seconds."""

    status = 429
    code = "busy"

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OverBudget(Busy):
    """What may be spent on the LLM today is spent; `retry_after` ends with the day."""

    code = "over_budget"


class ConfigurationError(ScorerError):
    """A setting, or a file that ships with the package, is missing or wrong."""

    code = "configuration"


class SimulatorError(ScorerError):
    """The simulator gave no usable answer for any text.

    `usage` is what the failed calls took, so that nothing paid for goes uncounted.
    """

    status = 502
    code = "simulator"

    def __init__(self, message: str, usage: Usage | None = None) -> None:
        super().__init__(message)
        self.usage = usage or Usage()
