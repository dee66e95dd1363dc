"""All strengths of a text at once, from the log probabilities of a prompt that leaves them open.

Nothing is generated: each line of the prompt holds a token and a question mark in place of its
strength, and what the model held likely there is the answer. Bills et al. 2023 call this
simulating all at once. It needs completions that repeat their prompt with log probabilities.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.simulation import Distribution
from pipeline.text import TokenizedText
from stages.odds import WeighedText, distribution
from stages.prompts import shown
from stages.question import Prompt

NOT_ECHOED = "the LLM endpoint did not send the log probabilities of the prompt"

_INSTRUCTION = """\
Each text below is cut into tokens, one a line. Behind the tab stands how strongly a neuron of a \
language model fires on the token: 9 as strongly as it ever does, 0 not at all, as on most tokens. \
A ? stands for a digit that was blotted out. What makes the neuron fire is said above each text.
"""
_UNKNOWN = "?"
# Digits come after question marks, too: else the model would expect one more question mark.
_EXAMPLES: Sequence[tuple[str, str]] = (
    (
        "the word 'more' in claims that nothing surpasses something",
        "There:? has:? never:? been:? a:? more:9 exc:0 iting:2 time:0 for:0 two:0 more:0 towns:0",
    ),
    (
        "days of the week; weaker on other times of day",
        "Closed:? on:? Mon:? days:9 and:? after:0 noon:3 .:0 Good:0 bye:0 .:0",
    ),
    (
        "names of animals",
        "The:? dog:? chased:? a:0 cat:9 through:? the:0 garden:0 .:0",
    ),
)


@dataclass(frozen=True, slots=True)
class Unknowns:
    """A `Method` for endpoints that repeat the prompt; one text a request.

    The same prompt has the same log probabilities, so nothing is asked twice.
    """

    texts_per_request: int = 1
    attempts: int = 1
    version: str = "unknowns-1"
    bytes_per_token: float = 2.9  # o200k_base, on the built-in examples

    def question(
        self,
        explanation: str,
        texts: Sequence[TokenizedText],
        rejected: Sequence[str] = (),  # noqa: ARG002
    ) -> Prompt:
        (text,) = texts
        parts = [_INSTRUCTION]
        for example, pairs in _EXAMPLES:
            parts.append(_part(example, (pair.rpartition(":")[::2] for pair in pairs.split(" "))))
        parts.append(_part(shown(explanation), ((shown(piece), _UNKNOWN) for piece in text.pieces)))
        return Prompt("\n".join(parts))

    def read(self, content: str, texts: Sequence[TokenizedText]) -> list[Distribution | str]:
        (text,) = texts
        weighed = WeighedText.read(content)
        # The texts' own tabs are shown as something else, so every tab is one of ours.
        places = list(_behind_tabs(weighed.data))
        if not places:
            return [NOT_ECHOED]
        if len(places) != _TABS + len(text.spans):
            return [f"the prompt came back with {len(places)} tabs, not {_TABS + len(text.spans)}"]
        rows = [weighed.probabilities(place) for place in places[_TABS:]]
        known = [row for row in rows if row is not None]
        if len(known) < len(rows):
            return [f"no digit was likely behind {len(rows) - len(known)} of {len(rows)} tokens"]
        return [distribution(known)]

    def subject(self, text: TokenizedText) -> str:
        return json.dumps(text.pieces)

    def typical_answer(self, texts: Sequence[TokenizedText]) -> int:  # noqa: ARG002
        return 1

    def parts(self, content: str, n_texts: int) -> Mapping[int, str]:  # noqa: ARG002
        return {0: content}


def _part(explanation: str, lines: Iterator[Sequence[str]]) -> str:
    joined = "\n".join(f"{token}\t{strength}" for token, strength in lines)
    return f"The neuron fires on: {explanation}\n<tokens>\n{joined}\n</tokens>\n"


def _behind_tabs(data: bytes) -> list[int]:
    return [int(at) + 1 for at in np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\t"))]


_TABS = sum(len(pairs.split(" ")) for _, pairs in _EXAMPLES)
