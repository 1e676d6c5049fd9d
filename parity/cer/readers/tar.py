"""The files inside a tar, each with the place of its bytes, so that one can be read without the others. Stdlib only.

Nothing is ever unpacked under the name it has in the archive.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from mlx_model.errors import DatasetError
from parity.cer.lists import quoted, shown

_BLOCK = 512


class Member(NamedTuple):
    """A regular file inside a tar: `size` bytes from `offset` on."""

    name: str
    offset: int
    size: int


def members(path: Path) -> Iterator[Member]:
    """Yield the regular files of a tar that is not compressed; folders, links and devices are passed over.

    Raises:
        DatasetError: not a tar, compressed, damaged, cut short, or a name is absolute, climbs or is not UTF-8.
    """
    where = shown(path)
    try:
        total = os.stat(path).st_size
        # "r:" refuses compressed archives: there, reaching one file means unpacking all that stand before it.
        with tarfile.open(path, "r:") as archive:
            end = 0
            while (info := archive.next()) is not None:
                # Python's tarfile goes round for ever where a damaged header says a negative size (CVE-2025-8194).
                if info.size < 0 or info.offset_data <= end or archive.offset < info.offset_data:
                    raise DatasetError(f"{where}: damaged at byte {info.offset}; expected a tar that unpacks cleanly")
                end = info.offset_data
                if not info.isreg() or info.issparse():
                    continue
                if info.offset_data + info.size > total:
                    raise DatasetError(f"{where}: ends inside {quoted(info.name)}; it was cut short")
                yield Member(_checked(info.name, where), info.offset_data, info.size)
            _check_end(path, archive.offset, where)
    except tarfile.ReadError as error:
        raise DatasetError(f"{where}: not an uncompressed tar ({error}); expected a .tar, gunzip a .tar.gz") from error
    except (OSError, tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DatasetError(f"{where}: cannot be read as a tar: {quoted(reason)}") from error


def _checked(name: str, where: str) -> str:
    if os.path.isabs(name) or ".." in name.split("/") or not name.isprintable():
        raise DatasetError(f"{where}: member {quoted(name)} is absolute, climbs or is no plain text; refused")
    return name


def _check_end(path: Path, offset: int, where: str) -> None:
    """Refuse a tar whose end is missing: tarfile stops there in silence, and what followed would go unnoticed."""
    with open(path, "rb") as file:
        file.seek(offset)
        block = file.read(_BLOCK)
    if len(block) < _BLOCK or block.strip(b"\0"):
        found = "is damaged" if len(block) == _BLOCK else "ends without its end mark: it was cut short"
        raise DatasetError(f"{where}: {found} (byte {offset}); expected a tar that unpacks cleanly")


class Window(io.RawIOBase):
    """A member's bytes as a file of their own, opened by `Window.open`.

    A seek before its start stays there: libsndfile, which may be told to by a damaged header, cannot be sent an error.
    """

    def __init__(self, path: Path, member: Member):
        self._file = open(path, "rb")  # noqa: SIM115 (closed by close)
        self._member, self._at = member, 0

    @classmethod
    def open(cls, path: Path, member: Member) -> BinaryIO:
        """Return the member's bytes as a buffered file."""
        return io.BufferedReader(cls(path, member))

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def seekable(self) -> bool:
        """Whether it can seek: yes."""
        return True

    def tell(self) -> int:
        """Return the position, in bytes from the member's beginning."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move, and return the new position."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._member.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer as far as the member goes, and return how far that is."""
        view = memoryview(buffer)[: max(0, self._member.size - self._at)]
        self._file.seek(self._member.offset + self._at)
        count = self._file.readinto(view)
        self._at += count
        return count

    def close(self) -> None:
        """Close the archive too."""
        self._file.close()
        super().close()
