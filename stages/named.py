"""The simulators that a setting can name, all asking the configured endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias, get_args

from pipeline.cache import AnswerCache
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings, SimulatorName
from stages.asker import Asker, Outbox
from stages.echo import Echoing
from stages.endpoint import Endpoint
from stages.logprobs import LogprobsSimulator
from stages.prices import price_of
from stages.quoting import Quoting
from stages.simulator import LLMSimulator

NamedSimulator: TypeAlias = LLMSimulator | LogprobsSimulator

_NAMES: tuple[str, ...] = get_args(SimulatorName)


class Simulators:
    """The simulators of one configuration; they share what is known of the endpoint.

    Parameters
    ----------
    outbox : takes their questions, to be asked at the price of the provider's batches; None: they
        are asked at once.

    Raises
    ------
    ConfigurationError : if the settings name no simulator of these, or the file of prices cannot
        be read.
    """

    def __init__(self, settings: Settings, outbox: Outbox | None = None) -> None:
        if settings.simulator not in _NAMES:
            raise ConfigurationError(
                f"SIMULATOR: {settings.simulator!r:.80} is none of {', '.join(_NAMES)}; "
                "a model's name belongs into SIMULATOR_MODEL"
            )
        price = price_of(settings.simulator_model, settings.openai_base_url, settings.prices_path)
        cache = AnswerCache(Path(settings.cache_path)) if settings.cache_path else None
        self._settings = settings
        if price and outbox:
            price = price.in_batch
        self.asker = Asker(Endpoint(settings), price, cache, outbox)
        # It remembers how the endpoint can be asked; the others have nothing to remember.
        self._logprobs = LogprobsSimulator(self.asker, settings.llm_concurrency)

    @property
    def default(self) -> NamedSimulator | None:
        """The one that the settings name, or None where they name no endpoint."""
        return self.named(self._settings.simulator)

    def named(self, name: str) -> NamedSimulator | None:
        """The one of that name, which must be in `SimulatorName`; None without an endpoint."""
        settings = self._settings
        if not settings.has_llm:
            return None
        if name == "logprobs":
            return self._logprobs
        method = Echoing() if name == "echo" else Quoting(settings.llm_texts_per_request)
        return LLMSimulator(self.asker, method, settings.llm_concurrency)

    def close(self) -> None:
        """Close the connections to the endpoint; a later call opens them again."""
        self.asker.endpoint.close()


def simulator_from(settings: Settings) -> NamedSimulator | None:
    """The simulator that the settings describe, or None where they name no endpoint.

    Raises
    ------
    ConfigurationError : see `Simulators`.

    Examples
    --------
    >>> simulator = simulator_from(Settings(openai_base_url="http://127.0.0.1:8080/v1"))
    >>> simulator.worst_case("the word 'more'", [["no", " more"]]).total_tokens < 2500
    True
    """
    return Simulators(settings).default
