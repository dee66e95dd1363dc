"""What the requests of a batch share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pipeline.budget import Allowance, Limit
from pipeline.errors import InvalidRequest


def batch_budget(max_llm_tokens: int | None, max_cost_usd: float | None) -> Allowance:
    """What the scores of a batch may take in all.

    Raises
    ------
    InvalidRequest : for numbers that are no budget.
    """
    limit = Limit(max_llm_tokens, max_cost_usd)
    limit.check("max_batch_")
    return Allowance(limit, "the batch's budget")


def asked(raw: object) -> tuple[object, object]:
    """The explanation and the activations of a request."""
    if not isinstance(raw, Mapping):
        raise InvalidRequest(
            f"expected an object with 'explanation' and 'activations', found {type(raw).__name__}"
        )
    return raw.get("explanation"), raw.get("activations")


@contextmanager
def naming(index: int) -> Iterator[None]:
    """Say which request of a batch an error is about."""
    try:
        yield
    except InvalidRequest as error:
        raise error.inside(f"requests[{index}]") from None
