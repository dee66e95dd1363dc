"""The simulator `logprobs`: the mean of all strengths that the model held possible on a token."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace

from pipeline.errors import SimulatorError
from pipeline.simulation import Simulation, Usage
from stages.asker import Asker, Reply
from stages.endpoint import NotServed
from stages.odds import WeighedText
from stages.prices import Price
from stages.question import Prompt
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

    @property
    def price(self) -> Price | None:
        """What the model's tokens cost, where that is known."""
        return self._asker.price

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

    def worst_case(self, explanation: str, texts: Sequence[Sequence[str]]) -> Usage:
        """What `simulate` may take at most; see `LLMSimulator.worst_case`."""
        cases = [way.worst_case(explanation, texts) for way in self._ways()]
        return self._probe_case() + self._dearest(cases)

    def typical_case(self, explanation: str, texts: Sequence[Sequence[str]]) -> Usage:
        """What `simulate` takes as a rule, by the dearer way until it is known which it will be."""
        cases = [way.typical_case(explanation, texts) for way in self._ways()]
        return self._probe_case() + self._dearest(cases)

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
                self._echoes = _repeats(reply)
                usage = reply.usage
            _log.info("strengths %s", "all at once" if self._echoes else "word by word")
            return usage

    def _ways(self) -> Sequence[LLMSimulator]:
        """Those by which texts may be asked about, as far as is known before the probe."""
        echoes = self._echoes
        if echoes is None and (reply := self._asker.known(_PROBE, _PROBE_VERSION)):
            echoes = _repeats(reply)
        if echoes is None:
            return self._at_once, self._by_word
        return (self._at_once,) if echoes else (self._by_word,)

    def _probe_case(self) -> Usage:
        if self._echoes is not None or self._asker.known(_PROBE, _PROBE_VERSION):
            return Usage()
        return self._asker.priced(_PROBE.most_tokens, _PROBE.limit, calls=1)

    def _dearest(self, cases: Sequence[Usage]) -> Usage:
        """At least as much as any of them, in each kind of tokens."""
        return self._asker.priced(
            max(case.prompt_tokens for case in cases),
            max(case.completion_tokens for case in cases),
            max(case.calls for case in cases),
        )


def _repeats(reply: Reply) -> bool:
    answer = WeighedText.read(reply.answer.content or "")
    return answer.data.count(b"\t") == _PROBE.text.count("\t")
