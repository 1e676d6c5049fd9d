"""The first lines of a file, by which its format is told, and the file that a folder stands for. Stdlib only."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlx_model.errors import DatasetError
from parity.cer.lists import read_lines, shown

Role = Literal["reference", "hypothesis"]
LINES = 200  # of a file, by which its format is told; a file that changes after them is refused where it does
# What a folder of texts is known to hold: our own run, FunASR's and Kaldi's output, a Kaldi data directory.
KNOWN: dict[Role, tuple[str, ...]] = {
    "reference": ("ref.txt", "text"),
    "hypothesis": ("hyp.txt", "1best_recog/text", "text"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The first lines of a file that are not blank, without their ends; `numbers` are theirs, `whole` says: all."""

    path: Path
    lines: tuple[str, ...]
    numbers: tuple[int, ...]
    whole: bool

    @classmethod
    def of(cls, path: Path) -> Head:
        """Return the head of a file.

        Raises:
            DatasetError: it cannot be read, is not UTF-8, or is UTF-16 or binary all the same (NUL bytes).
        """
        rows = list(itertools.islice(read_lines(path), LINES + 1))
        for number, line in rows:
            if "\0" in line:
                raise DatasetError(f"{shown(path)}:{number}: holds a NUL byte: UTF-16, or no text; expected UTF-8 text")
        whole, rows = len(rows) <= LINES, rows[:LINES]
        if whole and len(rows) == 1 and "\r" in rows[0][1]:
            raise DatasetError(
                f"{shown(path)}: its lines end in a carriage return alone; convert it first, for example: "
                rf"tr '\r' '\n' < {shown(path.name)}"
            )
        texts, numbers = [line for _, line in rows], [number for number, _ in rows]
        return cls(path=path, lines=tuple(texts), numbers=tuple(numbers), whole=whole)

    def where(self, place: int = 0) -> str:
        """Return `file:line` of a line of the head."""
        return f"{shown(self.path)}:{self.numbers[place]}"


def file_of(path: Path, role: Role) -> Path:
    """Return the file itself, or the file of texts that a folder holds.

    Raises:
        DatasetError: a folder that holds none, or several.
    """
    if not os.path.isdir(path):
        return path
    found = [path / name for name in KNOWN[role] if os.path.isfile(path / name)]
    if not found:
        names = ", ".join(KNOWN[role])
        raise DatasetError(f"{shown(path)}: is a folder without {names}; expected a file of `ID text` lines")
    return found[0]
