"""Answers completions with `echo` and `logprobs` in vLLM's wire format, over the fault server.

No server that runs on a small machine has this: llama.cpp's ignores `echo`. The shape of the
answers is that of vLLM 0.16; what the fake model holds likely is made up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fault_server import Body, Reply, error

Odds = Mapping[str, float]
"""What may stand in a token's place → its probability."""

# As byte-pair tokenizers cut: a tab or line break by itself, a blank with the word behind it.
_TOKEN = re.compile(r"\t|\n| ?[^\W\d]+|\d| ?[^\w\s]+|\s")


@dataclass(frozen=True)
class EchoingModel:
    """Sends the log probabilities of the prompt; `likely` makes up those behind a token's tab."""

    likely: Callable[[str], Odds]
    bos: str = "<|begin_of_text|>"
    most_alternatives: int = 20
    echoes: bool = True

    def __call__(self, body: Body) -> Reply:
        if "prompt" not in body:
            return error(500, "this model serves completions only")
        wanted = body["logprobs"]
        if wanted > self.most_alternatives:
            most = self.most_alternatives
            return error(400, f"Requested prompt logprobs of {wanted}, greater than {most}.")
        prompt: str = body["prompt"]
        tokens = [self.bos, *_TOKEN.findall(prompt)]
        likely = [{tokens[at]: 0.5, **self._behind(tokens[:at])} for at in range(1, len(tokens))]
        odds: list[dict[str, float] | None] = [None, *map(_logs, likely)]
        if not self.echoes:
            tokens, odds = [], []
        tokens.append("\n")
        odds.append(_logs({"\n": 0.9, "x": 0.1}))
        offsets = [sum(map(len, tokens[:at])) for at in range(len(tokens))]
        logprobs = {
            "text_offset": offsets,
            "token_logprobs": [row and row[token] for row, token in zip(odds, tokens, strict=True)],
            "tokens": tokens,
            "top_logprobs": odds,
        }
        choice = {
            "index": 0,
            "text": prompt + "\n",
            "logprobs": logprobs,
            "finish_reason": "length",
            "stop_reason": None,
            "prompt_logprobs": None,
        }
        usage = {"prompt_tokens": len(tokens) - 1, "completion_tokens": 1}
        return Reply(
            body={
                "id": "cmpl-1",
                "object": "text_completion",
                "created": 1_700_000_000,
                "model": "scripted",
                "choices": [choice],
                "usage": {**usage, "total_tokens": len(tokens)},
            }
        )

    def _behind(self, before: list[str]) -> Odds:
        if before[-1] != "\t":
            return {" the": 0.1, "7": 0.01}
        line = "".join(before).rpartition("\n")[2]
        return self.likely(line.removesuffix("\t"))


def _logs(odds: Odds) -> dict[str, float]:
    return {token: math.log(probability) for token, probability in odds.items()}
