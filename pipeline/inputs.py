"""Reads files of features one entry at a time: JSON Lines, JSON, gzip and Parquet.

What a file is, is told by its first bytes, not by its name. JSON Lines and Parquet are read in
constant memory; a single JSON document, such as an array, is read as a whole.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

from pipeline.errors import InvalidRequest
from pipeline.formats import Explanations, is_lone_activation, read_explanations
from pipeline.wire import read_json

_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_LONGEST_LINE = 64_000_000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands in one place of a file.

    Attributes
    ----------
    line : where, counted from 1: the line, the element of an array or the row of a table.
    digest : of its content, to see whether it has changed.
    value : None where there is an `error`.
    error : why it cannot be read.
    """

    line: int
    digest: str
    value: Any = None
    error: InvalidRequest | None = None


def read_entries(source: str) -> Iterator[Entry]:
    """Read a file, or standard input for ``-``.

    Raises
    ------
    InvalidRequest : where the file as a whole cannot be read, such as gzip that ends early.
    ConfigurationError : for Parquet without pyarrow.
    OSError : if it cannot be opened.
    """
    with _opened(source) as file, _unpacked(file) as lines:
        head = _start_of(lines)
        if head.startswith(_PARQUET):
            if source == "-":
                raise InvalidRequest("Parquet cannot be read from a pipe; name the file")
            from pipeline.parquet import read_rows

            for row, value in enumerate(read_rows(Path(source)), 1):
                yield Entry(row, _digest_of(value), value)
        else:
            yield from _merged(_read_text(lines))


def load_explanations(source: str) -> Explanations:
    """Read a file of explanations, which are kept in memory.

    Raises
    ------
    InvalidRequest : naming the line that is none.
    """
    found: dict[str, tuple[object, ...]] = {}
    for entry in read_entries(source):
        try:
            if entry.error:
                raise entry.error
            name, explanations = read_explanations(entry.value)
        except InvalidRequest as error:
            raise error.inside(f"{source}, line {entry.line}") from None
        found[name] = found.get(name, ()) + explanations
    return Explanations(by_id=found)


def _opened(source: str) -> AbstractContextManager[IO[bytes]]:
    return nullcontext(sys.stdin.buffer) if source == "-" else Path(source).open("rb")


def _start_of(lines: IO[bytes]) -> bytes:
    peek = getattr(lines, "peek", None)
    return peek(4)[:4] if peek else b""


@contextmanager
def _unpacked(file: IO[bytes]) -> Iterator[IO[bytes]]:
    if not _start_of(file).startswith(_GZIP):
        yield file
        return
    try:
        with gzip.open(file) as unpacked:
            yield unpacked  # type: ignore[misc]
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidRequest(f"the gzip data is cut off or damaged ({error})") from None


def _read_text(file: IO[bytes]) -> Iterator[Entry]:
    numbered = _lines(file)
    first = next(numbered, None)
    if first is None:
        raise InvalidRequest("expected a JSON object with 'explanation' and 'activations'")
    number, line = first
    # A pipe may bring the second line only once the first is answered.
    second = None if _is_object(line) else next(numbered, None)
    read = [first, second] if second else [first]
    # No document has an object on a line of its own behind one that opens no array.
    if _is_object(read[-1][1]) and not line.startswith(b"["):
        for number, line in chain(read, numbered):
            yield _entry(number, line)
        return
    try:
        document = read_json(b"\n".join(text for _, text in chain(read, numbered)))
    except InvalidRequest as error:
        yield Entry(number, _digest(line), error=error)
    else:
        yield from _elements(document)


def _is_object(line: bytes) -> bool:
    return line.startswith(b"{") and line.endswith(b"}")


def _elements(document: Any) -> Iterator[Entry]:
    # The texts of one latent, as delphi's scorers write them, are one feature.
    several = isinstance(document, list) and not (
        document and isinstance(document[0], dict) and "str_tokens" in document[0]
    )
    if document == []:
        raise InvalidRequest("expected a JSON object with 'explanation' and 'activations'")
    for position, value in enumerate(document if several else [document], 1):
        yield Entry(position, _digest_of(value), value)


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers; an empty one stands for one too long."""
    number = 0
    while line := file.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = file.readline(_LONGEST_LINE)
            yield number, b""
            continue
        text = line.removeprefix(_BYTE_ORDER_MARK if number == 1 else b"").strip()
        if text:
            yield number, text


def _entry(number: int, line: bytes) -> Entry:
    if not line:
        error = InvalidRequest(f"is longer than {_LONGEST_LINE:,} bytes")
        return Entry(number, _digest(line), error=error)
    try:
        return Entry(number, _digest(line), read_json(line))
    except InvalidRequest as error:
        return Entry(number, _digest(line), error=error)


def _merged(entries: Iterator[Entry]) -> Iterator[Entry]:
    """The texts of one feature that follow one another, each on a line of its own, as one entry."""
    group: list[Entry] = []
    for entry in entries:
        lone = is_lone_activation(entry.value)
        if group and not (lone and _place(entry) == _place(group[0])):
            yield _together(group)
            group = []
        if lone:
            group.append(entry)
        else:
            yield entry
    if group:
        yield _together(group)


def _place(entry: Entry) -> tuple[object, ...]:
    return tuple(entry.value[name] for name in ("modelId", "layer", "index"))


def _together(group: list[Entry]) -> Entry:
    model, layer, index = _place(group[0])
    feature = {
        "modelId": model,
        "layer": layer,
        "index": index,
        "activations": [entry.value for entry in group],
    }
    return Entry(group[0].line, _digest("".join(e.digest for e in group).encode()), feature)


def _digest_of(value: object) -> str:
    return _digest(json.dumps(value, sort_keys=True).encode())


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
