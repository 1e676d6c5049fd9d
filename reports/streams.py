"""stdin, stdout and stderr as a command finds them: closed, full, broken, or of an encoding that cannot hold results.

What stdout cannot encode is escaped, names of files that are no text are printed as their bytes, and an error in
writing is a `StdoutError`, so that it is told from all others. Stdlib only.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import re
import sys
from typing import Any

ESCAPES = "mlx-funasr-escapes"
NOT_ASCII = re.compile(r"[^\x00-\x7f]")
SURROGATE = re.compile(r"[\ud800-\udfff]")

_escaped: set[str] = set()  # encodings that could not hold what was printed


class StdoutError(Exception):
    """stdout cannot be written. No OSError: libraries treat those of a broken pipe in their own ways."""

    def __init__(self, error: OSError):
        super().__init__(error.strerror or str(error))
        self.broken = error.errno == errno.EPIPE


class _Stdout(io.FileIO):
    """File descriptor 1, whose errors have a name of their own."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise StdoutError(error) from error


class _Stderr(io.FileIO):
    """File descriptor 2. Talk that nobody can read is lost; the work goes on."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def fill() -> None:
    """Give missing file descriptors 0 to 2 to the null device, before another file gets their numbers.

    Reading such a stdin and writing to such a stdout fail, as they would with the closed ones.
    """
    for number, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            found = os.open(os.devnull, flags)
            if found != number:
                os.dup2(found, number)
                os.close(found)
            os.set_inheritable(number, True)


def prepare() -> None:
    """Replace this process's own stdout and stderr by those described above; what others have put there is left."""
    codecs.register_error(ESCAPES, _escape)
    fill()
    if sys.stdout is sys.__stdout__:
        sys.stdout = _wrapped(sys.stdout, _Stdout(1, "w", closefd=False))
    if sys.stderr is sys.__stderr__:
        sys.stderr = _wrapped(sys.stderr, _Stderr(2, "w", closefd=False))
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")


def stdout_is_closed() -> bool:
    """Whether the process was started without a stdout."""
    return sys.__stdout__ is None and isinstance(getattr(sys.stdout, "buffer", None), io.BufferedWriter)


def abandon() -> None:
    """Let nothing that is still buffered for stdout be tried again: it cannot be written."""
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
    with contextlib.suppress(OSError, ValueError, StdoutError):
        sys.stdout.flush()


def put(text: str, *, as_json: bool = False, flush: bool = False) -> None:
    """Print a result on stdout; JSON stays JSON, whatever the encoding can hold."""
    if as_json:
        text = as_encodable_json(text, getattr(sys.stdout, "encoding", None) or "utf-8")
    print(text, flush=flush)


def as_encodable_json(text: str, encoding: str) -> str:
    r"""Return a JSON text in which what an encoding cannot hold is written as \uXXXX.

    Characters beyond ASCII stand in a JSON text's strings only, so that an escape may always take their place.
    """
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        unicode = codecs.lookup(encoding).name.startswith("utf")
        return (SURROGATE if unicode else NOT_ASCII).sub(_json_escape, text)
    return text


def remark() -> str | None:
    """Return one line on what was escaped so far, None where nothing was."""
    if not _escaped:
        return None
    name = ", ".join(sorted(_escaped))
    return f"stdout is {name}, which cannot hold all that was printed: the rest was escaped (PYTHONIOENCODING=utf-8)"


def _wrapped(stream: io.TextIOWrapper | Any, raw: io.FileIO) -> io.TextIOWrapper:
    encoding = "utf-8" if stream is None else stream.encoding
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    through = bool(getattr(stream, "write_through", False))
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding, ESCAPES, line_buffering=raw.isatty() or raw.fileno() == 2,
        write_through=through,
    )  # fmt: skip


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return what is printed for one character: its byte where it stands for one, else its escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":
        return bytes([ord(character) - 0xDC00]), error.start + 1
    _escaped.add(error.encoding)
    return character.encode("ascii", "backslashreplace").decode("ascii"), error.start + 1


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))
