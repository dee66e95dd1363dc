"""A request as JSON, read strictly: what `POST /score` and `neuron-scorer score` take."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from pipeline.budget import MOST_USD
from pipeline.errors import InvalidRequest

MAX_DEPTH = 20
"""How deep JSON may be nested; a request needs four levels, a batch five."""
_TOO_DEEP = f"the JSON is nested too deep; at most {MAX_DEPTH} levels are accepted"
_MOST_TOKENS = 10**12

if TYPE_CHECKING:
    from pipeline.budget import Budget
    from pipeline.forecast import Forecast
    from pipeline.options import ScoreOptions, SimulatorChoice
    from pipeline.result import ScoreResult
    from pipeline.scorer import Scorer


@dataclass(frozen=True, slots=True)
class ScoreCall:
    """The arguments of one score: options checked here, the rest left to the scorer.

    Attributes
    ----------
    explanation, activations : as sent; None where missing.
    tolerance : expected absolute error of the raw score that will do, in (0, 1].
    max_llm_tokens, max_cost_usd : budgets of this score, ≥ 0; None: no limit.
    on_budget : "refuse" or "degrade" when the day's budget is gone; None: as the settings have it.
    adjust : take off what the explanation's disregard of the context earns it.
    llm : False: never call the LLM.
    explain : answer with the evidence for the strongest tokens, too.
    """

    explanation: object
    activations: object
    tolerance: float = 0.05
    max_llm_tokens: int | None = None
    max_cost_usd: float | None = None
    on_budget: Literal["refuse", "degrade"] | None = None
    adjust: bool = True
    llm: bool = True
    explain: bool = False

    @classmethod
    def parse(cls, body: object) -> ScoreCall:
        """Pick the arguments from a JSON object; keys that are not ours are ignored.

        Raises
        ------
        InvalidRequest : for a body that is no object and for options of the wrong type or range.
        """
        if not isinstance(body, Mapping):
            raise InvalidRequest("expected a JSON object with 'explanation' and 'activations'")
        given = {field.name: body[field.name] for field in fields(cls) if field.name in body}
        call = cls(**{"explanation": None, "activations": None, **given})
        if not _is_a(int | float, call.tolerance) or not 0 < call.tolerance <= 1:
            raise InvalidRequest("expected a number above 0 and at most 1", "tolerance")
        budget = call.max_llm_tokens
        if budget is not None and (not _is_a(int, budget) or not 0 <= budget <= _MOST_TOKENS):
            raise InvalidRequest(
                "expected a whole number from 0 to 1e12, or null", "max_llm_tokens"
            )
        cost = call.max_cost_usd
        if cost is not None and (not _is_a(int | float, cost) or not 0 <= cost <= MOST_USD):
            raise InvalidRequest("expected a number from 0 to 1e9, or null", "max_cost_usd")
        if call.on_budget not in (None, "refuse", "degrade"):
            raise InvalidRequest('expected "refuse", "degrade" or null', "on_budget")
        for name in ("adjust", "llm", "explain"):
            if not isinstance(getattr(call, name), bool):
                raise InvalidRequest("expected true or false", name)
        return call

    def run(
        self,
        scorer: Scorer,
        budgets: Sequence[Budget] = (),
        simulator: SimulatorChoice = "auto",
    ) -> ScoreResult:
        """Score it; `budgets` are those that it shares with others."""
        options = self.options(budgets, simulator)
        return scorer.score(self.explanation, self.activations, **options)

    def options(
        self, budgets: Sequence[Budget] = (), simulator: SimulatorChoice = "auto"
    ) -> ScoreOptions:
        """What `Scorer.score` takes besides the explanation and the activations."""
        return {
            "simulator": simulator if self.llm else None,
            "tolerance": self.tolerance,
            "max_llm_tokens": self.max_llm_tokens,
            "max_cost_usd": self.max_cost_usd,
            "on_budget": self.on_budget,
            "adjust": self.adjust,
            "budgets": budgets,
        }

    def forecast(self, scorer: Scorer, simulator: SimulatorChoice = "auto") -> Forecast:
        """What it would take."""
        return scorer.forecast_one(
            self.explanation,
            self.activations,
            simulator=simulator if self.llm else None,
            tolerance=self.tolerance,
        )


def read_json(body: bytes) -> Any:
    """Parse JSON as RFC 8259 has it, where Python is laxer, and refuse what is ambiguous.

    Raises
    ------
    InvalidRequest : for bytes that are not UTF-8, broken JSON, NaN and Infinity, keys that occur
        twice, nesting that is too deep and numbers that are too long.
    """
    try:
        found = json.loads(
            body.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the body is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise InvalidRequest(_TOO_DEEP) from None
    except ValueError:
        raise InvalidRequest("the JSON has a number with too many digits") from None
    _check_depth(found)
    return found


def _check_depth(value: Any) -> None:
    """Level by level: what is nested deeply must not be walked by recursion."""
    level = [value] if isinstance(value, list | dict) else []
    for _ in range(MAX_DEPTH):
        groups = [one.values() if isinstance(one, dict) else one for one in level]
        level = [v for group in groups for v in group if isinstance(v, list | dict)]
        if not level:
            return
    raise InvalidRequest(_TOO_DEEP)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InvalidRequest(f"the key {key[:40]!r} occurs twice in one object")
        found[key] = value
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidRequest(f"{name} is not JSON; send finite numbers")


def _is_a(kind: type | UnionType, value: object) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
