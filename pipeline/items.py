"""The requests of a file in order: one for each explanation of each feature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pipeline.errors import InvalidRequest
from pipeline.formats import Explanations, read_feature
from pipeline.inputs import Entry
from pipeline.records import Limits, Request
from pipeline.wire import ScoreCall


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a run.

    Attributes
    ----------
    index : its number among all requests of the run, from 0; what cannot be read counts as one.
    line : its place in the file, from 1.
    id : of the feature; None where it has no name.
    digest : of what the file has in this place.
    body : what `ScoreCall.parse` reads, or why there is nothing to read.
    """

    index: int
    line: int
    id: str | None
    digest: str
    body: Mapping[str, object] | InvalidRequest

    def call(self, limits: Limits) -> ScoreCall:
        """The request, checked.

        Raises
        ------
        InvalidRequest : naming the field and the remedy.
        """
        if isinstance(self.body, InvalidRequest):
            raise self.body
        call = ScoreCall.parse(self.body)
        Request.parse(call.explanation, call.activations, limits)
        return call


def read_items(
    entries: Iterable[Entry],
    options: Mapping[str, object] | None = None,
    explanations: Explanations | None = None,
) -> Iterator[Item]:
    """Number the requests.

    Parameters
    ----------
    options : fields of every request that win over those in the file.
    explanations : such as win over those in the file.
    """
    index = 0
    for entry in entries:
        name = None
        bodies: list[Mapping[str, object] | InvalidRequest]
        try:
            if entry.error:
                raise entry.error
            feature = read_feature(entry.value)
            name = feature.id
            found = (explanations or Explanations()).of(feature)
        except InvalidRequest as error:
            bodies = [error]
        else:
            fixed = {"activations": feature.activations, **(options or {})}
            bodies = [{**feature.options, "explanation": one, **fixed} for one in found]
        for body in bodies:
            yield Item(index, entry.line, name, entry.digest, body)
            index += 1
