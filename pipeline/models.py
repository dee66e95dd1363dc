"""What a scorer loads: the weights of both stages, and the LLM of the settings with its budget."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from pipeline.errors import ConfigurationError, InvalidRequest
from pipeline.ledger import DailyBudget
from pipeline.options import SimulatorChoice
from pipeline.settings import Settings
from pipeline.simulation import Simulator
from stages.background import background
from stages.cheap import HEAD_PATH, CheapPredictor
from stages.embedding import MiniLM, native_bfloat16
from stages.encoding import TextEncoder
from stages.gate import GATE_PATH, Gate
from stages.head import Head
from stages.named import Simulators
from stages.observation import Observer
from stages.reader import READER_PATH, Reader

STAGE_TWO_OFF = (
    "stage two is off: no LLM is configured; set OPENAI_API_KEY or OPENAI_BASE_URL, "
    "or pass a simulator"
)


class Models:
    """What a scorer loads once, on first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loading = threading.Lock()
        self._loaded: Loaded | None = None

    def load(self) -> Loaded:
        with self._loading:
            if self._loaded is None:
                simulators = Simulators(self._settings)
                encoder = MiniLM(
                    self._settings.encoder,
                    self._settings.encoder_sha256,
                    bfloat16=_bfloat16(self._settings),
                )
                self._loaded = Loaded(
                    CheapPredictor(
                        _observer(encoder),
                        Head.load(HEAD_PATH),
                        Reader.load(READER_PATH, encoder),
                    ),
                    Gate.load(GATE_PATH),
                    simulators,
                    _day(self._settings, simulators),
                )
            return self._loaded

    def close(self) -> None:
        with self._loading:
            if self._loaded:
                self._loaded.simulators.close()


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a score needs; `day` is the budget of the settings' LLM, None without a limit."""

    predictor: CheapPredictor
    gate: Gate
    simulators: Simulators
    day: DailyBudget | None

    def chosen(self, choice: SimulatorChoice) -> tuple[Simulator | None, DailyBudget | None]:
        """What to ask, and the day's budget if it is the settings' LLM.

        "auto" goes without where the settings name no endpoint.
        """
        if not isinstance(choice, str):
            return choice, None
        if choice == "auto":
            return self.simulators.default, self.day
        if found := self.simulators.named(choice):
            return found, self.day
        raise InvalidRequest(STAGE_TWO_OFF, "simulator")


def _observer(encoder: MiniLM) -> Observer:
    """Two caches, so that passing records do not drive out the background's texts."""
    turns = threading.Lock()
    every_word = background().total
    return Observer(TextEncoder(encoder, lock=turns), TextEncoder(encoder, every_word, turns))


def _bfloat16(settings: Settings) -> bool:
    if settings.encoder_precision not in {"auto", "float32"}:
        raise ConfigurationError(
            f"ENCODER_PRECISION: expected auto or float32, found {settings.encoder_precision!r:.80}"
        )
    return settings.encoder_precision == "auto" and native_bfloat16()


def _day(settings: Settings, simulators: Simulators) -> DailyBudget | None:
    """What may be spent on the settings' LLM in a day."""
    llm, day = simulators.default, DailyBudget.of(settings)
    if llm and day and day.limit.cost_usd is not None and not llm.price:
        raise ConfigurationError(
            f"DAILY_COST_USD cannot be kept: the price of {settings.simulator_model!r} at this "
            "endpoint is not known; name it in the file PRICES_PATH, or set DAILY_LLM_TOKENS"
        )
    return day
