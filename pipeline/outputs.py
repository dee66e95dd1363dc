"""Where answers go so that a process that is killed loses none that it has given.

Every answer is appended as one line, to a gzip file as a member of its own: what is torn by a kill
is the last of them at most, and is cut off before the run goes on. Parquet cannot be appended to,
so its answers wait in ``OUT.rows.jsonl.gz`` until all are there, and the table then takes its
name in one step.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from pipeline.errors import ConfigurationError, InvalidRequest

_CHUNK = 1 << 16


class Output(Protocol):
    """Takes answers, and knows those of an earlier run."""

    def rows(self) -> Iterator[dict[str, Any]]:
        """Answers that are there already, in order; to be read before any is written."""
        ...

    def write(self, row: Mapping[str, Any]) -> None: ...

    def close(self, *, complete: bool) -> None:
        """Let go of the file; `complete`: all answers were given."""
        ...


class Printed:
    """Standard output."""

    def rows(self) -> Iterator[dict[str, Any]]:
        return iter(())

    def write(self, row: Mapping[str, Any]) -> None:
        # At once: who reads along has what is done, whatever becomes of the rest.
        sys.stdout.write(json.dumps(row, allow_nan=False) + "\n")
        sys.stdout.flush()

    def close(self, *, complete: bool) -> None: ...


class Lines:
    """JSON Lines, with gzip where the name ends in ``.gz``.

    Raises
    ------
    InvalidRequest : if the file is there and is damaged in more than its last line.
    ConfigurationError : if another process writes to it.
    OSError : if it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._packed = path.suffix == ".gz"
        self._file: IO[bytes] = path.open("ab")
        try:
            _lock(self._file, path)
            os.truncate(path, _end_of_members(path) if self._packed else _end_of_lines(path))
        except BaseException:
            self._file.close()
            raise

    def rows(self) -> Iterator[dict[str, Any]]:
        with gzip.open(self._path) if self._packed else self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield json.loads(line)
                except ValueError:
                    raise _damaged(self._path, f"line {number}") from None

    def write(self, row: Mapping[str, Any]) -> None:
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
        self._file.write(gzip.compress(line, mtime=0) if self._packed else line)
        self._file.flush()

    def close(self, *, complete: bool) -> None:  # noqa: ARG002
        self._file.close()


class Table:
    """Parquet, once it is complete.

    Raises
    ------
    ConfigurationError : without pyarrow.
    """

    def __init__(self, path: Path) -> None:
        from pipeline import parquet

        parquet.require_pyarrow()
        self._path = path
        self._waiting = waiting_rows(path)
        if path.exists() and not self._waiting.exists():
            new = _beside(self._waiting, ".new.gz")
            new.unlink(missing_ok=True)
            copy = Lines(new)
            for row in parquet.read_answers(path):
                copy.write(row)
            copy.close(complete=True)
            new.replace(self._waiting)
        self._lines = Lines(self._waiting)

    def rows(self) -> Iterator[dict[str, Any]]:
        return self._lines.rows()

    def write(self, row: Mapping[str, Any]) -> None:
        self._lines.write(row)

    def close(self, *, complete: bool) -> None:
        from pipeline.parquet import write_answers

        self._lines.close(complete=complete)
        if complete:
            new = _beside(self._path, ".new")
            write_answers(new, self._lines.rows())
            new.replace(self._path)
            self._waiting.unlink()


def open_output(path: Path | None, options: Mapping[str, Any], *, resume: bool) -> Output:
    """Open a file for answers, or standard output for None.

    Parameters
    ----------
    options : what the answers hang on besides the input; kept in ``OUT.run.json``.
    resume : go on with what is there.

    Raises
    ------
    ConfigurationError : if the file is there and is not to be gone on with, was written with other
        options or not by a run; or if its name ends in none of the known endings.
    """
    if path is None:
        return Printed()
    name = path.name
    if not name.endswith((".jsonl", ".jsonl.gz", ".parquet")):
        raise ConfigurationError(f"{path}: the name must end in .jsonl, .jsonl.gz or .parquet")
    about = _beside(path, ".run.json")
    if path.exists() or waiting_rows(path).exists():
        if not resume:
            raise ConfigurationError(f"{path} is there already; --resume goes on with it")
        _check_options(about, path, options)
    else:
        _beside(about, ".new").write_text(json.dumps(options, indent=1), encoding="utf-8")
        _beside(about, ".new").replace(about)
    return Table(path) if name.endswith(".parquet") else Lines(path)


def waiting_rows(path: Path) -> Path:
    """Where the answers of a table wait."""
    return _beside(path, ".rows.jsonl.gz")


def _check_options(about: Path, path: Path, options: Mapping[str, Any]) -> None:
    try:
        before = json.loads(about.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} cannot be gone on with: {about.name}, which says how it was made, is missing"
        ) from None
    changed = [name for name in options if before.get(name) != options[name]]
    if changed:
        named = ", ".join(f"{n} was {before.get(n)!r}, is {options[n]!r}" for n in changed)
        raise ConfigurationError(
            f"{path} was made with other options ({named}); use those, or name another file"
        )


def _lock(file: IO[bytes], path: Path) -> None:
    """Keep a second run away, which would pay for the same scores; ends with the process."""
    try:
        import fcntl
    except ImportError:  # Not on Windows.
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigurationError(f"{path} is being written by another run") from None


def _end_of_lines(path: Path) -> int:
    """Bytes up to the end of the last whole line."""
    end = path.stat().st_size
    with path.open("rb") as file:
        while end:
            start = max(0, end - _CHUNK)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0


def _end_of_members(path: Path) -> int:
    """Bytes up to the end of the last whole gzip member."""
    end = read = 0
    member = zlib.decompressobj(wbits=31)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            read += len(chunk)
            while chunk:
                try:
                    member.decompress(chunk)
                except zlib.error:
                    raise _damaged(path, f"byte {end}") from None
                chunk = member.unused_data
                if member.eof:
                    end = read - len(chunk)
                    member = zlib.decompressobj(wbits=31)
    return end


def _damaged(path: Path, place: str) -> InvalidRequest:
    return InvalidRequest(f"{path} is damaged at {place}; remove what is broken, or start anew")


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
