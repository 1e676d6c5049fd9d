"""What a look at a file's headers gives: the one value that chunk_files.py and frame_files.py return. Stdlib only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO


@dataclass(slots=True)
class Found:
    """The first recording of a file.

    It lies from `start` to `end` (None: the file's), with `head` in place of its first bytes; `seconds` is its length
    as the header has it, give or take `slack_s`; `others` are the lengths of the recordings behind it, None where that
    is not known.
    """

    start: int = 0
    end: int | None = None
    head: bytes = b""
    seconds: float | None = None
    slack_s: float = 0.1
    others: list[float | None] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


BLOCK = 1 << 20


def at(file: BinaryIO, place: int, count: int) -> bytes:
    """Return so many bytes from a place on, fewer at the file's end."""
    file.seek(place)
    return file.read(count)


def places(file: BinaryIO, words: tuple[bytes, ...], start: int, end: int) -> list[int]:
    """Return where any of the words stands between two places, in order."""
    found: list[int] = []
    overlap = max(map(len, words)) - 1
    for place in range(start, end, BLOCK):
        block = at(file, place, min(BLOCK + overlap, end - place))
        for word in words:
            index = block.find(word)
            while index >= 0:
                found.append(place + index)
                index = block.find(word, index + 1)
    return sorted(set(found))


def is_zero(file: BinaryIO, start: int, end: int) -> bool:
    """Return whether there is nothing but zeros between two places."""
    return all(not at(file, place, min(BLOCK, end - place)).strip(b"\0") for place in range(start, end, BLOCK))
