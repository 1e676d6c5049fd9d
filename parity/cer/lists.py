"""Reading text lists: UTF-8 only, every complaint with file and line number.

Stdlib and mlx_model.errors only. Lines end at a line feed alone (`str.splitlines` would also cut at U+2028 or a form
feed inside a transcript), and a line with an id only is an empty text, never a line to skip: dropping it hides errors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mlx_model.errors import DatasetError

_ID_AND_REST = re.compile(r"(\S+)\s*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdLine:
    """One line `ID rest...`; `rest` is everything after the white space that ends the id, "" where nothing follows."""

    path: Path
    number: int
    utt_id: str
    rest: str

    @property
    def where(self) -> str:
        """`file:line`, as error messages give it."""
        return f"{self.path}:{self.number}"


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Return (line number, line without its end) of every line that is not blank; a leading byte order mark is dropped.

    Raises:
        DatasetError: the file cannot be read, or is not UTF-8 (with the line of the first bad byte).
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        # A byte order mark would become part of the first id, and that utterance would then be reported missing.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise DatasetError(
            f"{path}:{number}: not UTF-8 (byte 0x{data[error.start]:02x}); convert the file first, "
            f"for example: iconv -f GB18030 -t UTF-8 {path.name}"
        ) from error
    lines = ((number, line.removesuffix("\r")) for number, line in enumerate(text.split("\n"), start=1))
    return [(number, line) for number, line in lines if line.strip()]


def read_id_lines(path: Path) -> list[IdLine]:
    """Return the `ID rest...` lines of a Kaldi-style list in file order.

    Raises:
        DatasetError: as `read_lines`, or a line that begins with white space, where its id cannot be told.
    """
    result = []
    for number, line in read_lines(path):
        match = _ID_AND_REST.match(line)
        if match is None:
            raise DatasetError(f"{path}:{number}: begins with white space; expected `ID text`, the id first")
        result.append(IdLine(path=path, number=number, utt_id=match[1], rest=match[2]))
    return result


def merge_repeated(lines: list[IdLine], notes: list[str]) -> dict[str, IdLine]:
    """Return the lines by id; ids repeated with the same content are counted in `notes`.

    Raises:
        DatasetError: one id stands with two different contents, so nobody can say which one is meant.
    """
    table: dict[str, IdLine] = {}
    repeated = 0
    for line in lines:
        first = table.setdefault(line.utt_id, line)
        if first is line:
            continue
        if first.rest != line.rest:
            raise DatasetError(
                f"{line.where}: id {line.utt_id!r} says {line.rest!r}, but {first.where} says {first.rest!r}; "
                "keep one of the two lines"
            )
        repeated += 1
    if repeated:
        names = ", ".join(sorted({line.path.name for line in lines}))
        notes.append(f"{names}: {repeated} duplicate lines (same id, same content) counted once")
    return table
