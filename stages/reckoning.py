"""What a call to any simulator may take, as far as the simulator tells."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.simulation import PricedSimulator, Simulator, Usage

Texts = Sequence[Sequence[str]]


def worst_case(simulator: Simulator, explanation: str, texts: Texts) -> Usage:
    """What simulating the texts may take at most; its cost is None where that is not known."""
    if isinstance(simulator, PricedSimulator):
        return simulator.worst_case(explanation, texts)
    # One of the user's own: every text repeated with a number behind each token.
    tokens = 1000 + len(explanation) + sum(6 * len(tokens) for tokens in texts)
    return Usage(prompt_tokens=tokens, cost_usd=None)


def typical_case(simulator: Simulator, explanation: str, texts: Texts) -> Usage:
    """What simulating the texts takes as a rule; the worst case where the simulator is silent."""
    if isinstance(simulator, PricedSimulator):
        return simulator.typical_case(explanation, texts)
    return worst_case(simulator, explanation, texts)
