"""What a batch would take, told before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.simulation import Usage


@dataclass(frozen=True, slots=True)
class Forecast:
    """What scoring some requests would take; sums up by ``+``.

    Attributes
    ----------
    requests, records : how many there are.
    asked : how many of the records the LLM is expected to be asked about.
    expected : by the gate's plan of records, each asked about once. A rule of thumb: texts and
        tokenizers differ, and an answer that cannot be read costs a second attempt.
    worst : with every record simulated and asked about twice, each text at its dearest.
    """

    requests: int = 0
    records: int = 0
    asked: int = 0
    expected: Usage = field(default_factory=Usage)
    worst: Usage = field(default_factory=Usage)

    def __add__(self, other: Forecast) -> Forecast:
        return Forecast(
            self.requests + other.requests,
            self.records + other.records,
            self.asked + other.asked,
            self.expected + other.expected,
            self.worst + other.worst,
        )

    def __str__(self) -> str:
        return "\n".join(
            (
                f"requests: {self.requests:,}, with {self.records:,} records; "
                f"the LLM is expected to be asked about {self.asked:,}",
                f"expected: {in_words(self.expected)}",
                f"worst:    {in_words(self.worst)}",
            )
        )


def in_words(usage: Usage) -> str:
    """Tokens and cost, for people."""
    cost = "USD not known" if usage.cost_usd is None else f"{usage.cost_usd:.4f} USD"
    return (
        f"{usage.total_tokens:,} tokens ({usage.prompt_tokens:,} in, "
        f"{usage.completion_tokens:,} out), {cost}"
    )
