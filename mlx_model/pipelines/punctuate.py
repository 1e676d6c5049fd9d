"""Texts of a command line, with punctuation: which texts are meant, pieces of one text as they come, the document."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlx_model.errors import UsageError
from mlx_model.files.names import shown
from mlx_model.roles import StreamingPunctuator
from mlx_model.text.results import Punctuated

MAX_BYTES = 1 << 30  # the largest file of texts that is read
FORMATS = ("text", "json")


def check_format(format: str) -> None:
    """Raise UsageError for an unknown format."""
    if format not in FORMATS:
        raise UsageError(f"unknown format {format!r}; use {', '.join(FORMATS)}")


def texts_of(given: Sequence[str]) -> Iterator[str]:
    """Yield the texts that are named: each as it stands, of `@FILE` and of - (standard input) every line, as it comes.

    Raises:
        UsageError: a file cannot be read, or is not UTF-8; - is given twice, or standard input is closed.
    """
    if list(given).count("-") > 1:
        raise UsageError("- (standard input) is given twice; it can be read once")
    files = {item: _file(item) for item in given if item.startswith("@")}  # all, before the first one is read
    for item in given:
        if item == "-":
            yield from _lines(_stdin(), "standard input")
        elif item in files:
            with files[item].open("rb") as stream:
                yield from _lines(stream, shown(files[item]))
        else:
            yield item


def _file(item: str) -> Path:
    path = Path(item[1:])
    try:
        if not path.is_file():
            raise UsageError(f"{shown(path)}: no such file (a text that begins with @ names one)")
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{shown(path)}: more than {MAX_BYTES} bytes; cut it into several files")
        path.open("rb").close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{shown(path)}: cannot be read: {reason}") from None
    return path


def _stdin() -> Any:
    if sys.stdin is None or sys.stdin.closed:
        raise UsageError("standard input is closed; - reads texts from it, one a line")
    return sys.stdin.buffer


def _lines(stream: Any, where: str) -> Iterator[str]:
    """Yield the lines of a file of bytes, without the ends of lines and a mark in front of the first."""
    lines = iter(stream)
    number = 0
    while True:
        try:
            line = next(lines)
        except StopIteration:
            return
        except OSError as error:
            raise UsageError(f"{where}: cannot be read: {error.strerror}") from None
        number += 1
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"{where}: line {number} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
        yield text.rstrip("\r\n")


def stream(
    model: StreamingPunctuator, pieces: Iterator[str], options: Any = None, *, as_funasr: bool = False
) -> Iterator[Punctuated]:
    """Yield the pieces of one text with their punctuation; the last one ends it.

    A piece is said when it is there, and not when the next one is: so the end is a piece of its own, without words, of
    the last word's mark alone. As FunASR there is none.
    """
    cache = model.new_cache()
    for piece in pieces:
        result, cache = model.punctuate_next(piece, cache, options, as_funasr=as_funasr)
        yield result
    if not as_funasr:
        result, _ = model.punctuate_next("", cache, options, is_final=True)
        yield result


def to_document(results: Sequence[Punctuated], **about: Any) -> dict[str, Any]:
    """Return the `--json` document: schema, results in input order, numerics."""
    return {"schema": "punctuate/1", "results": [dataclasses.asdict(result) for result in results], **about}


def document(format: str, results: Sequence[Punctuated], **about: Any) -> str:
    """Return results in a format: a text a line, or JSON."""
    if format == "json":
        return json.dumps(to_document(results, **about), ensure_ascii=False, indent=1)
    return "\n".join(" ".join(result.text.splitlines()) for result in results)
