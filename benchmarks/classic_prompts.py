"""The prompts that the package `automated-interpretability` sends, for counting their tokens.

Runs inside the environment that `benchmarks.classic_parity` makes: requests come as JSON on stdin,
`[[explanation, [tokens, ...]], ...]`, one line of JSON goes out for each.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.classic_parity import classic_python

EXAMPLE_SETS = ("newer", "jl_fine_tuned")


def classic_prompts(
    requests: Sequence[tuple[str, Sequence[str]]],
) -> Iterator[dict[str, tuple[str, str]]]:
    """Of each explanation and text: example set → what is sent, and the answer that is wanted."""
    made = subprocess.run(
        [classic_python(), "-W", "ignore", "-m", "benchmarks.classic_prompts"],
        input=json.dumps(requests),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for line in made.stdout.splitlines():
        yield {name: (sent, wanted) for name, (sent, wanted) in json.loads(line).items()}


def main() -> None:
    from neuron_explainer.activations.activations import ActivationRecord
    from neuron_explainer.explanations import few_shot_examples, simulator

    for explanation, tokens in json.load(sys.stdin):
        out: dict[str, Any] = {}
        for name in EXAMPLE_SETS:
            asked = simulator.LogprobFreeExplanationTokenSimulator(
                "gpt-4o-mini",
                explanation,
                few_shot_example_set=few_shot_examples.FewShotExampleSet.from_string(name),
            )
            chat = asked._make_simulation_prompt_json(tokens, explanation)
            wanted = simulator._format_record_for_logprob_free_simulation_json(
                explanation, ActivationRecord(tokens, [0] * len(tokens)), include_activations=True
            )
            out[name] = "\n".join(message["content"] for message in chat), wanted
        print(json.dumps(out))


if __name__ == "__main__":
    main()
