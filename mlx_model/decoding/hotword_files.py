"""Where hotwords are read from: files and, only when asked for, addresses. Stdlib only."""

from __future__ import annotations

import io
import os
import re
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from mlx_model.errors import UsageError

MAX_BYTES = 64 << 20  # a million hotwords have less
TIMEOUT_S = 30
LISTS = (".txt", ".csv", ".tsv", ".lst", ".list", ".json", ".jsonl")  # how names of lists end
WEIGHTED = re.compile(r"(.*\S)\s+[-+]?\d+(?:\.\d+)?")  # a line of the runtime's format: "word 20"


class Words(tuple[str, ...]):
    """Hotwords as they were read, and what there was to say about it, one line each."""

    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, words: Iterable[str], *notes: str) -> Self:
        """Return words with notes."""
        found = cls(words)
        found.notes = notes
        return found


def is_file(text: str) -> bool:
    """Return whether a text names something that can be read: a file, a pipe; no directory."""
    path = os.path.expanduser(text)
    return os.path.exists(path) and not os.path.isdir(path)


def missing(text: str) -> bool:
    """Return whether a text, which names no file, was meant to: a path, or it ends as lists' names do."""
    text = text.strip()
    return text.startswith(("/", "./", "../", "~")) or text.lower().endswith(LISTS)


def read(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        UsageError: it cannot be read, or is too large.
    """
    try:
        with path.expanduser().open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"hotwords: {path}: {error.strerror}") from None
    return _bounded(data, str(path))


def fetched(url: str, allowed: bool) -> bytes:
    """Return what an address holds.

    Raises:
        UsageError: it was not allowed, is no address of the web, cannot be fetched, or is too large.
    """
    if not allowed:
        raise UsageError(
            f"hotwords: {url[:200]} is fetched only when asked for: --option hotword_urls=on; or save it to a file"
        )
    try:
        if not url.lower().startswith(("http://", "https://")):
            raise ValueError("no address of the web")
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            data = answer.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"hotwords: {url[:200]} cannot be fetched: {error}") from None
    return _bounded(data, url)


def _bounded(data: bytes, named: str) -> bytes:
    if len(data) > MAX_BYTES:
        raise UsageError(f"hotwords: {named[:200]} is larger than {MAX_BYTES} bytes, too large for a list of words")
    return data


def lines_of(data: bytes, named: str) -> Words:
    """Return the hotwords of a list: one a line, blanks around it and blank lines left out, as is a byte order mark.

    Where at least half of the lines end in a number of their own, that is the weight of FunASR's runtime, and is set
    aside with a note; fewer are part of their hotwords.

    Raises:
        UsageError: it is not UTF-8.
    """
    lines = [line for raw in _text(data, named, "utf-8-sig").splitlines() if (line := " ".join(raw.split()))]
    weighted = [WEIGHTED.fullmatch(line) for line in lines]
    count = sum(found is not None for found in weighted)
    if count and 2 * count >= len(lines):
        said = f"hotwords: {named}: the weights of {count} of {len(lines)} lines were set aside; models have none"
        words = (line if found is None else found[1] for line, found in zip(lines, weighted, strict=True))
        return Words.of(words, said)
    if count:
        said = f"hotwords: {named}: {count} of {len(lines)} lines end in a number, which was taken for a part of them"
        return Words.of(lines, said)
    return Words.of(lines, *([] if lines else [f"hotwords: {named} holds none"]))


def raw_lines(data: bytes, named: str) -> list[str]:
    """Return every line as FunASR reads it.

    Raises:
        UsageError: it is not UTF-8.
    """
    return io.StringIO(_text(data, named, "utf-8"), newline=None).readlines()


def _text(data: bytes, named: str, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UsageError(f"hotwords: {named[:200]}: line {line} is not UTF-8; save the list as UTF-8") from None
