"""The files inside a tar, each with the place of its bytes, so that one can be read without the others.

Nothing is ever unpacked under the name it has in the archive.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mlx_model.audio.medium import Window
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


def open_member(path: Path, member: Member) -> BinaryIO:
    """Return a member's bytes as a buffered file of their own; closing it closes the archive."""
    archive = open(path, "rb")  # noqa: SIM115 (closed by the window)
    return io.BufferedReader(Window(archive, member.offset, member.offset + member.size))
