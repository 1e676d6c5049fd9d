"""One audio file, or its bytes, as decoders open it; its first part only, where more than one recording lies in it.

Stdlib only.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, BinaryIO, cast

from mlx_model.errors import AudioError
from mlx_model.files.names import shown

Source = str | Path | bytes | BinaryIO


@dataclass(frozen=True, slots=True, kw_only=True)
class Medium:
    """Where the bytes are: `path` of a regular file, or `content`. `name` is for messages.

    `head` stands in place of as many bytes at the start, and the file ends at byte `end`: what `container.survey`
    found out about a header whose sizes do not fit.
    """

    name: str
    path: str | None = None
    content: bytes = b""
    size: int
    start: int = 0
    end: int | None = None
    head: bytes = b""

    @property
    def is_plain(self) -> bool:
        """Return whether decoders may have the file itself."""
        return self.path is not None and not (self.start or self.head) and self.end is None

    def part(self, *, start: int = 0, end: int | None = None, head: bytes = b"") -> Medium:
        """Return the bytes from `start` to `end`, the first of them replaced by `head`."""
        return replace(self, start=start, end=end, head=head)

    def open(self, *, for_callbacks: bool = False) -> BinaryIO:
        """Return the bytes as a new binary file.

        Args:
            for_callbacks: a library written in C will read it, where an exception cannot be raised: see `Window`.

        Raises:
            OSError: the file has gone, or may not be read.
        """
        whole = io.BytesIO(self.content) if self.path is None else open(self.path, "rb")  # noqa: SIM115  # the caller's
        if self.is_plain and not for_callbacks:
            return whole
        return cast(BinaryIO, Window(whole, self.start, self.size if self.end is None else self.end, self.head))


class Window(io.RawIOBase):
    """Bytes [start, end) of a file with `head` in place of the first ones.

    A seek to before the start stays put: libraries ask for it where a header is damaged, and what their callbacks raise
    they print, with a traceback.
    """

    def __init__(self, file: BinaryIO, start: int, end: int, head: bytes = b""):
        self._file, self._start, self._length, self._head = file, start, max(end - start, 0), head
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the place, counted from the window's start."""
        return self._at

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place that is not before the start, and return it."""
        target = offset + (0, self._at, self._length)[whence]
        if target >= 0:
            self._at = target
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Read up to the window's end."""
        view = memoryview(buffer).cast("B")
        count = min(len(view), self._length - self._at)
        if count <= 0:  # also far behind the end, where no file can be asked to go
            return 0
        self._file.seek(self._start + self._at)
        found = self._file.read(count)
        view[: len(found)] = found
        replaced = self._head[self._at : self._at + len(found)]
        view[: len(replaced)] = replaced
        self._at += len(found)
        return len(found)

    def close(self) -> None:
        """Close the file beneath as well."""
        self._file.close()
        super().close()


def opened(source: Source) -> Medium:
    """Return a path that is a non-empty regular file, or the bytes themselves.

    Raises:
        AudioError: missing, empty, a directory, a pipe, or not readable.
    """
    if isinstance(source, (str, Path)):
        return _file(os.fspath(source))
    if isinstance(source, bytes):
        name, content = "<bytes>", source
    else:
        given = getattr(source, "name", "<stream>")
        name = shown(given) if isinstance(given, (str, os.PathLike)) else f"<stream {given!r}>"
        try:
            if source.seekable():
                source.seek(0)
            content = source.read()
        except (OSError, ValueError) as error:  # ValueError: it is closed
            raise AudioError(f"{name}: cannot be read: {reason(error)}") from None
    if not content:
        raise AudioError(f"{name}: empty, 0 bytes")
    return Medium(name=name, content=content, size=len(content))


def _file(path: str) -> Medium:
    name = shown(path)
    try:
        state = os.stat(path)
        with open(path, "rb") if S_ISREG(state.st_mode) else io.BytesIO():
            pass
    except FileNotFoundError:
        raise AudioError(f"{name}: not found") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name, or what no file system can hold
        raise AudioError(f"{name}: cannot be opened: {reason(error)}") from None
    if S_ISDIR(state.st_mode):
        raise AudioError(f"{name}: is a directory, expected an audio file")
    if not S_ISREG(state.st_mode):
        raise AudioError(f"{name}: is a pipe or device, expected an audio file; save the stream first")
    if not state.st_size:
        raise AudioError(f"{name}: empty, 0 bytes")
    return Medium(name=name, path=path, size=state.st_size)


def reason(error: BaseException) -> str:
    """Return what an exception says, on one line."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(words.split()).rstrip(".").encode("utf-8", "backslashreplace").decode("utf-8")
