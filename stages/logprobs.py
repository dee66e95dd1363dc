"""The simulator `logprobs`: the mean of all strengths that the model held possible on a token."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace

from pipeline.errors import SimulatorError
from pipeline.simulation import Simulation, Usage
from stages.asker import Asker
from stages.endpoint import NotServed
from stages.odds import WeighedText
from stages.question import Prompt, tokens_of
from stages.simulator import LLMSimulator
from stages.unknowns import NOT_ECHOED, Unknowns
from stages.word_digits import WordDigits

_log = logging.getLogger(__name__)

_PROBE = Prompt("A\tB\tC")
_PROBE_VERSION = "echo-probe-1"


class LogprobsSimulator:
    """A `Simulator` with a distribution for each token, by whichever way the endpoint has.

    All strengths of a text come at once from the log probabilities of the prompt where the
    endpoint sends those. Some do not, and some ignore that they are asked to: a prompt of a few
    tokens finds that out before the first text is sent, and what was found out is remembered.
    Elsewhere the model writes one digit a word, which takes longer and more tokens.

    Parameters
    ----------
    asker : the endpoint, with prices and cache.
    concurrency : requests under way at once.
    """

    def __init__(self, asker: Asker, concurrency: int = 4) -> None:
        self._asker = asker
        self._at_once = LLMSimulator(asker, Unknowns(), concurrency)
        self._by_word = LLMSimulator(asker, WordDigits(), concurrency)
        self._echoes: bool | None = None
        self._probing = threading.Lock()

    def simulate(self, explanation: str, texts: Sequence[Sequence[str]]) -> Simulation:
        """Guess the strength on every token; see `pipeline.simulation.Simulator`.

        Raises
        ------
        SimulatorError : if no text could be simulated and the endpoint is to blame.
        """
        if not texts:
            return Simulation(())
        usage = self._probe()
        try:
            if self._echoes:
                simulation = self._at_once.simulate(explanation, texts)
                usage += simulation.usage
                if set(simulation.failures.values()) != {NOT_ECHOED}:
                    return replace(simulation, usage=usage)
                # Behind the same address and name there is another server now.
                self._echoes = False
            simulation = self._by_word.simulate(explanation, texts)
        except SimulatorError as error:
            raise SimulatorError(str(error), usage + error.usage) from None
        return replace(simulation, usage=usage + simulation.usage)

    def worst_case_tokens(self, explanation: str, texts: Sequence[Sequence[str]]) -> int:
        """Tokens that `simulate` may take at most; see `LLMSimulator.worst_case_tokens`."""
        at_once = self._at_once.worst_case_tokens(explanation, texts)
        by_word = self._by_word.worst_case_tokens(explanation, texts)
        if self._echoes is None:
            return tokens_of(_PROBE.text) + _PROBE.limit + max(at_once, by_word)
        return at_once if self._echoes else by_word

    def close(self) -> None:
        """Close the connections to the endpoint; a later call opens them again."""
        self._asker.endpoint.close()

    def _probe(self) -> Usage:
        """Find out whether the endpoint repeats a prompt, unless that is known."""
        with self._probing:
            if self._echoes is not None:
                return Usage()
            try:
                reply = self._asker.ask(_PROBE, _PROBE_VERSION)
            except NotServed as refusal:
                self._echoes = False
                usage = Usage()
                _log.info("no log probabilities of prompts: %s", refusal)
            else:
                answer = WeighedText.read(reply.answer.content or "{}")
                self._echoes = answer.data.count(b"\t") == _PROBE.text.count("\t")
                usage = reply.usage
            _log.info("strengths %s", "all at once" if self._echoes else "word by word")
            return usage
