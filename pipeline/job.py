"""How far a batch job is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import ConfigurationError
from pipeline.simulation import Usage

Step = Literal["written", "uploaded", "started", "fetched"]

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Part:
    """A file of requests on its way to the provider and back.

    Attributes
    ----------
    name : of the file, without its suffix.
    version : of the prompt that its requests were written by.
    odds : whether they ask for log probabilities.
    worst : what they take at most.
    step : what was done with it.
    file_id, uploaded_at, batch_id : by which the provider knows it; Unix time by its clock.
    status : the provider's word for how the batch is.
    day : the UTC day whose budget holds back `worst`; empty where none does.
    """

    name: str
    requests: int
    version: str
    odds: bool
    worst: Usage
    step: Step = "written"
    file_id: str = ""
    uploaded_at: int = 0
    batch_id: str = ""
    status: str = ""
    day: str = ""

    def answers(self, folder: Path) -> Path:
        """Where the provider's answers are kept."""
        return folder / f"{self.name}-answers.jsonl"

    def errors(self, folder: Path) -> Path:
        """Where its errors are kept."""
        return folder / f"{self.name}-errors.jsonl"


@dataclass(frozen=True, slots=True)
class Job:
    """A job between two steps.

    Attributes
    ----------
    about : what it was begun with, which must not change.
    round : how often requests were written.
    parts : the files of all rounds.
    spent : what the answers took that were fetched.
    dialect : the form of request that the endpoint takes; None: not found out yet.
    finished : whether all scores are written.
    """

    about: Mapping[str, str]
    round: int = 0
    parts: tuple[Part, ...] = ()
    spent: Usage = field(default_factory=Usage)
    dialect: Mapping[str, Any] | None = None
    finished: bool = False

    @property
    def open(self) -> list[Part]:
        """The files whose answers are not fetched."""
        return [part for part in self.parts if part.step != "fetched"]

    def at(self, step: Step) -> list[Part]:
        """The files with which just this was done."""
        return [part for part in self.parts if part.step == step]

    def having(self, part: Part) -> Job:
        """The same job with a file as it is now."""
        parts = tuple(part if old.name == part.name else old for old in self.parts)
        return replace(self, parts=parts)


class Progress:
    """The job of a folder, kept in a file that is replaced as a whole.

    Raises
    ------
    ConfigurationError : if the file is none of these, or was begun with something else.
    """

    def __init__(self, folder: Path, about: Mapping[str, str]) -> None:
        self.folder = folder
        self.job = Job(about)
        self._file = folder / "job.json"
        self.load()

    def save(self, job: Job) -> None:
        """Go on to this; whoever is killed leaves the old file or the new one."""
        self.job = job
        text = json.dumps({"format": _FORMAT, **asdict(job)}, indent=1)
        replace_file(self._file, text.encode())

    def load(self) -> None:
        """Take what the file says, if there is one."""
        if not self._file.exists():
            return
        try:
            raw = json.loads(self._file.read_text("utf-8"))
            job = _job(raw)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ConfigurationError(
                f"{self._file}: does not say how far a batch job is ({error})"
            ) from None
        for name in sorted(self.job.about.keys() | job.about.keys()):
            begun, now = job.about.get(name), self.job.about.get(name)
            if begun != now:
                raise ConfigurationError(
                    f"{self.folder}: this job was begun with {name} {begun}, now it is {now}; "
                    "take another folder"
                )
        self.job = job


def _job(raw: dict[str, Any]) -> Job:
    if raw.pop("format") != _FORMAT:
        raise ValueError("of another version")
    parts = tuple(Part(**{**part, "worst": Usage(**part["worst"])}) for part in raw["parts"])
    return Job(**{**raw, "parts": parts, "spent": Usage(**raw["spent"])})


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, and to the disk."""
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
