"""Texts a line: Kaldi's `ID text`, NIST's trn `text (ID)`, and lines without ids that are paired by their number.

Stdlib only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mlx_model.errors import DatasetError
from parity.cer.lists import IdLine, decoded_lines, id_lines, quoted, read_lines, shown
from parity.cer.texts.head import Head, Role

_TRN = re.compile(r"(?P<text>.*?)[ \t]*\((?P<id>[^()\s]+)\)\s*", re.DOTALL)
_ALTERNATIVES = re.compile(r"\{[^{}]*/[^{}]*\}")


def read_kaldi(path: Path, role: Role) -> Iterator[IdLine]:
    """Yield the lines of a file of `ID text` lines."""
    return id_lines(path)


def is_comment(line: str) -> bool:
    """Whether NIST's tools pass over a line."""
    return line.startswith(";;")


def is_trn(head: Head) -> bool:
    """Whether every line ends with an id in parentheses, another one on each."""
    found = [_TRN.fullmatch(line) for line in head.lines if not is_comment(line)]
    ids = [match["id"] for match in found if match is not None]
    return bool(ids) and len(ids) == len(found) and len(set(ids)) == len(ids)


def read_trn(path: Path, role: Role) -> Iterator[IdLine]:
    """Yield the lines of a trn file.

    Raises:
        DatasetError: a line without an id at its end, or with alternatives, of which sclite would take the better.
    """
    for number, line in read_lines(path):
        if is_comment(line):
            continue
        match = _TRN.fullmatch(line)
        if match is None:
            raise DatasetError(f"{shown(path)}:{number}: no id in parentheses at its end; expected trn, `text (id)`")
        refuse_alternatives(match["text"], f"{shown(path)}:{number}")
        yield IdLine(path=path, number=number, utt_id=match["id"], rest=match["text"].strip())


def refuse_alternatives(text: str, where: str) -> None:
    """Raise DatasetError where NIST's `{ a / b }` stands in a text."""
    if match := _ALTERNATIVES.search(text):
        raise DatasetError(
            f"{where}: holds alternatives, {quoted(match[0])}, which only sclite scores; keep one of them"
        )


def read_plain(path: Path, role: Role) -> Iterator[IdLine]:
    """Yield every line, blank ones too, under its own number."""
    for number, line in decoded_lines(path):
        yield IdLine(path=path, number=number, utt_id=str(number), rest=line.strip())
