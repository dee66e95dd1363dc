"""What a way of asking an LLM for strengths has to say of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from pipeline.simulation import Distribution, FloatArray
from pipeline.text import TokenizedText
from stages.question import Question

Reading: TypeAlias = FloatArray | Distribution | str
"""What an answer says of one text: strengths 0-10, how likely each is, or why it is of no use."""


class Method(Protocol):
    """One way of asking for strengths, and of reading what comes back."""

    @property
    def version(self) -> str:
        """Part of the key of every cached answer: another one for any other wording."""
        ...

    @property
    def texts_per_request(self) -> int: ...

    @property
    def attempts(self) -> int:
        """How often a text is asked about, if its answers are of no use."""
        ...

    @property
    def bytes_per_token(self) -> float:
        """Bytes of a question that make a token as a rule, JSON schemas aside."""
        ...

    def question(
        self, explanation: str, texts: Sequence[TokenizedText], rejected: Sequence[str] = ()
    ) -> Question:
        """Ask about some texts; `rejected` says why each one's former answer was of no use."""
        ...

    def subject(self, text: TokenizedText) -> str:
        """What of a text decides the answer: its characters, or how they are cut as well."""
        ...

    def typical_answer(self, texts: Sequence[TokenizedText]) -> int:
        """Tokens that an answer about these texts has as a rule."""
        ...

    def read(self, content: str, texts: Sequence[TokenizedText]) -> Sequence[Reading]:
        """What an answer says of each of the texts that were asked about."""
        ...

    def parts(self, content: str, n_texts: int) -> Mapping[int, str]:
        """For each text of the answer, by its index, an answer about that text alone."""
        ...
