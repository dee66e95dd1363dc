"""The simulator `logprobs`: the mean of all strengths that the model held possible on a token."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace

from pipeline.cache import RawAnswer
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
    Elsewhere the model writes one digit a word, which takes longer and more tokens. One call goes
    one way only: both together could take more than `worst_case` says.

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
        self._refused = False  # The probe was, and that is not in the cache yet.
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
        echoes, usage = self._probe()
        way = self._at_once if echoes else self._by_word
        try:
            simulation = way.simulate(explanation, texts)
        except NotServed as error:
            self._forget()
            raise SimulatorError(str(error), usage + error.usage) from None
        except SimulatorError as error:
            raise SimulatorError(str(error), usage + error.usage) from None
        if set(simulation.failures.values()) == {NOT_ECHOED}:
            self._forget()
        if self._refused and any(values is not None for values in simulation.values):
            # Only now: what refuses everything, such as a wrong model name, tells nothing.
            self._asker.keep(_PROBE, _PROBE_VERSION, RawAnswer("", "not served", 0, 0))
            self._refused = False
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

    def _probe(self) -> tuple[bool, Usage]:
        """Whether the endpoint repeats a prompt, and what it took to find that out."""
        with self._probing:
            if self._echoes is not None:
                return self._echoes, Usage()
            try:
                reply = self._asker.ask(_PROBE, _PROBE_VERSION)
            except NotServed as refusal:
                self._echoes, self._refused = False, True
                usage = Usage()
                _log.info("no log probabilities of prompts: %s", refusal)
            else:
                self._echoes = _repeats(reply)
                usage = reply.usage
            _log.info("strengths %s", "all at once" if self._echoes else "word by word")
            return self._echoes, usage

    def _forget(self) -> None:
        """Behind the same address and name there is another server now; the next call finds out."""
        with self._probing:
            self._echoes = None
            if known := self._asker.known(_PROBE, _PROBE_VERSION):
                self._asker.reject(known)

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
