"""The recorded LLM as a simulator, so that stage two can be run without one."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.dataset import Case
from pipeline.simulation import FloatArray, Simulation, Usage


class RecordedSimulator:
    """Answers as the LLM did that simulated a case.

    Parameters
    ----------
    case : whose explanation alone can be asked about.
    """

    def __init__(self, case: Case) -> None:
        self._known: dict[tuple[str, ...], FloatArray] = {
            record.tokens: strengths
            for record, strengths in zip(case.all_records.records, case.simulated, strict=True)
        }

    def simulate(self, explanation: str, texts: Sequence[Sequence[str]]) -> Simulation:  # noqa: ARG002
        return Simulation(tuple(self._known.get(tuple(text)) for text in texts), Usage())
