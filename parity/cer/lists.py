"""Reading text lists: UTF-8 only, every complaint on one line, with file and line number.

Stdlib and mlx_model.errors only. Lines end at a line feed alone (`str.splitlines` would also cut at U+2028 or a form
feed inside a transcript), and a line with an id only is an empty text, never a line to skip: dropping it hides errors.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_model.errors import DatasetError

# What separates an id from its text: white space, and what looks like none at all (zero width, a byte order mark of a
# file that was appended), which would otherwise be part of an id that nobody finds again.
_GAP = "\\s\u200b\u2060\ufeff"
_ID_AND_REST = re.compile(f"[\u200b\u2060\ufeff]*([^{_GAP}]+)[{_GAP}]*(.*)", re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_BOM = "\N{ZERO WIDTH NO-BREAK SPACE}".encode()


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
        return f"{shown(self.path)}:{self.number}"


def shown(path: str | os.PathLike[str]) -> str:
    """Return the path as a message may hold it: itself, or quoted where it would break the line or hide a character."""
    name = os.fspath(path)
    return name if name.isprintable() else repr(name)


def quoted(value: object, limit: int = 80) -> str:
    """Return `repr(value)`, shortened: a line of a million characters must not become an error message as long."""
    text = value if isinstance(value, str) else repr(value)
    cut = text[:limit]
    return (repr(cut) if isinstance(value, str) else cut) + (f"... ({len(text)} characters)" if cut != text else "")


def decoded_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, line without its line feed) of every line, blank ones too, without a byte order mark.

    Raises:
        DatasetError: the file cannot be read, or is not UTF-8 (with the line of the first bad byte).
    """
    number, line, content = 0, b"", b""
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                # A byte order mark would become part of the first id, and that utterance would be reported missing.
                content = line.removeprefix(_BOM) if number == 1 else line
                yield number, content.removesuffix(b"\n").decode("utf-8")
    except UnicodeDecodeError as error:
        encoding = _encoding(line, number)
        way = f"convert the file first, for example: iconv -f {encoding} -t UTF-8 {shown(path.name)}"
        raise DatasetError(
            f"{shown(path)}:{number}: not UTF-8 (byte 0x{content[error.start]:02x}); "
            f"{way if encoding else 'expected a text file in UTF-8'}"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DatasetError(f"{shown(path)}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _encoding(line: bytes, number: int) -> str | None:
    """Return what a line that is not UTF-8 may be encoded in; None where it is no text of either kind."""
    if number == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "UTF-16"
    try:
        text = line.decode("gb18030")
        return "GB18030" if all(character.isprintable() or character.isspace() for character in text) else None
    except UnicodeDecodeError:
        return None


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, line without its end) of every line that is not blank.

    Raises:
        DatasetError: as `decoded_lines`.
    """
    for number, line in decoded_lines(path):
        if line.strip():
            yield number, line.removesuffix("\r")


def id_lines(path: Path) -> Iterator[IdLine]:
    """Yield the `ID rest...` lines of a Kaldi-style list in file order.

    Raises:
        DatasetError: as `read_lines`, or a line that begins with white space, where its id cannot be told.
    """
    for number, line in read_lines(path):
        utt_id, rest = id_of(line)
        if not utt_id:
            raise DatasetError(f"{shown(path)}:{number}: begins with white space; expected `ID text`, the id first")
        yield IdLine(path=path, number=number, utt_id=utt_id, rest=rest)


def id_of(line: str) -> tuple[str, str]:
    """Return the id that a line begins with ("" where white space comes first), and what follows the gap after it."""
    match = _ID_AND_REST.match(line)
    return (match[1], match[2]) if match is not None else ("", line)


def read_id_lines(path: Path) -> list[IdLine]:
    """Return all of `id_lines`; errors as there."""
    return list(id_lines(path))


def read_json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (`file:line`, object) of every line that is not blank, each line one JSON object.

    Raises:
        DatasetError: as `read_lines`, or a line is not a JSON object.
    """
    for number, line in read_lines(path):
        where = f"{shown(path)}:{number}"
        entry = parse_json(line, where)
        if not isinstance(entry, dict):
            raise DatasetError(f"{where}: holds a {type(entry).__name__}; expected an object, as {{...}}")
        yield where, entry


def parse_json(text: str, where: str) -> Any:
    """Return the value that the JSON text holds.

    Raises:
        DatasetError: not JSON, or JSON made to break its reader (a number of 5,000 digits, 100,000 brackets).
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DatasetError(f"{where}: not JSON ({error.msg} at column {error.colno}); expected one object") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else "a number is too long"
        raise DatasetError(f"{where}: not usable JSON ({reason}); expected one object") from error


def check_characters(text: str, where: str) -> str:
    r"""Return the text, or raise DatasetError where it holds half of a surrogate pair (JSON's \ud800, no character)."""
    if _SURROGATE.search(text):
        raise DatasetError(f"{where}: holds half of a surrogate pair (\\ud8..), which is no character; mend the escape")
    return text


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
                f"{line.where}: id {quoted(line.utt_id)} says {quoted(line.rest)}, but {first.where} says "
                f"{quoted(first.rest)}; keep one of the two lines"
            )
        repeated += 1
    if repeated:
        names = ", ".join(sorted({shown(line.path.name) for line in lines}))
        notes.append(f"{names}: {repeated} duplicate lines (same id, same content) counted once")
    return table


def csv_rows(path: Path, separator: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of every row that is not blank, quoted as RFC 4180 says.

    Raises:
        DatasetError: not CSV.
    """
    reader = csv.reader((line + "\n" for _, line in decoded_lines(path)), strict=True, delimiter=separator)
    while True:
        number = reader.line_num + 1  # where the row begins: a quoted text may run over several lines
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise DatasetError(f"{shown(path)}:{number}: not CSV ({error}); is a quote missing?") from error
        if fields is None:
            return
        if any(field.strip() for field in fields):
            yield number, fields
