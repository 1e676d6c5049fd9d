"""The zip archive that torch.save writes (torch 1.6 and later): where each record lies, its bytes, its CRC-32.

The records are stored, not compressed, so a record is a range of the file. zipfile reads the directory; what it leaves
open is checked here: that records lie where the directory says, do not overlap, are neither compressed nor encrypted,
and have one name each. Stdlib and numpy; no torch.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mlx_model.errors import CheckpointError

DIRECTORY_LIMIT = 24_000_000  # bytes; a checkpoint's directory has about 100 bytes a tensor
CHUNK = 16 << 20  # bytes of a record that are mapped at a time while its checksum is computed
LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of the name and of the extra field
ENCRYPTED = 0x1
# What a damaged directory makes zipfile raise.
UNREADABLE = (
    zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error, EOFError, IndexError, OSError,
)  # fmt: skip


@dataclass(slots=True)
class Record:
    """One record: its name without the archive's folder, where its bytes lie, and their CRC-32."""

    name: str
    start: int
    size: int
    crc: int
    checked: bool = False


class TorchZip:
    """An archive's records by name, and their bytes. `unsummed` says that torch was told to write no checksums."""

    def __init__(self, path: Path):
        """Read and check the directory of `path`.

        Raises:
            CheckpointError: truncated, damaged, or not laid out as torch lays it out.
        """
        self.path = path
        self._compressed: str | None = None
        with path.open("rb") as stream:
            self.size = os.fstat(stream.fileno()).st_size
            self._map = _map(stream)
            entries, end = self._directory(stream)
            self.names = [entry.orig_filename for entry in entries]
            # torch names the archive's one folder after the file, and the first record tells it.
            self._folder = self.names[0].partition("/")[0] + "/" if self.names else ""
            located = self._locate(stream, entries, end)
            self.records = {
                name.removeprefix(self._folder): record for name, record in located.items()
                if name.startswith(self._folder)
            }  # fmt: skip
        self.unsummed = bool(self.records) and not any(record.crc for record in self.records.values())

    def _directory(self, stream: BinaryIO) -> tuple[list[zipfile.ZipInfo], int]:
        try:
            archive = zipfile.ZipFile(_Bounded(stream))  # type: ignore[arg-type]
        except UNREADABLE as error:
            reason = str(error).strip() or type(error).__name__
            raise self.damaged(f"its zip directory cannot be read ({reason})") from error
        return archive.infolist(), archive.start_dir

    def _locate(self, stream: BinaryIO, entries: list[zipfile.ZipInfo], directory: int) -> dict[str, Record]:
        found: dict[str, Record] = {}
        free = 0  # the first byte that no record has claimed yet
        for entry in sorted(entries, key=lambda entry: entry.header_offset):
            name = entry.orig_filename
            if name in found:
                raise self.damaged(f"its directory names {name!r} twice")
            if entry.header_offset < free or (not found and entry.header_offset):
                raise self.damaged(f"record {name!r} overlaps another or does not begin where the archive does")
            if entry.flag_bits & ENCRYPTED:
                raise CheckpointError(f"{self.path} is an encrypted archive; torch.save writes none. Decrypt it first")
            start = self._data_start(stream, entry)
            free = start + entry.compress_size
            if free > directory:
                raise self.damaged(f"record {name!r} of {entry.compress_size} bytes reaches beyond the records")
            found[name] = Record(name.removeprefix(self._folder), start, entry.file_size, entry.CRC)
            stored = entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size
            if not stored and name.startswith(self._folder):
                self._compressed = name
        return found

    def check_stored(self) -> None:
        """Raise CheckpointError where a record is compressed, which torch's own reader cannot map either."""
        if self._compressed is not None:
            raise CheckpointError(
                f"{self.path}: record {self._compressed!r} is compressed or its sizes contradict each other; "
                "torch.save stores records as they are. Load the file with torch and save it again"
            )

    def _data_start(self, stream: BinaryIO, entry: zipfile.ZipInfo) -> int:
        stream.seek(entry.header_offset)
        head = stream.read(LOCAL_HEADER.size)
        if len(head) < LOCAL_HEADER.size or not head.startswith(b"PK\x03\x04"):
            raise self.damaged(f"record {entry.orig_filename!r} does not lie where the directory says")
        _, name, extra = LOCAL_HEADER.unpack(head)
        return entry.header_offset + LOCAL_HEADER.size + name + extra

    def read(self, name: str, limit: int) -> bytes:
        """Return the bytes of a small record, checked against their CRC-32."""
        record = self.records[name]
        if record.size > limit:
            raise self.damaged(f"record {name!r} has {record.size} bytes, expected fewer than {limit}")
        self.check(record)
        return self.span(record.start, record.size).tobytes()

    def check(self, record: Record) -> None:
        """Compare a record with its CRC-32, once, in pieces that are given back when the record is large.

        Raises:
            CheckpointError: a byte differs from what torch.save wrote.
        """
        if record.checked or self.unsummed:
            return
        crc = 0
        for begin in range(record.start, record.start + record.size, CHUNK):
            length = min(CHUNK, record.start + record.size - begin)
            crc = zlib.crc32(self.span(begin, length).data, crc)
            if record.size > CHUNK:
                self.forget(begin, length)
        if crc != record.crc:
            raise self.damaged(
                f"record {record.name!r} has the checksum {crc:08x}, the archive says {record.crc:08x}; "
                "copy or download the file again"
            )
        record.checked = True

    def check_all(self) -> None:
        """Compare every record with its CRC-32, those of the optimizer too; each is given back at once."""
        for record in self.records.values():
            if not record.checked:
                self.check(record)
                self.forget(record.start, record.size)

    def span(self, start: int, length: int) -> np.ndarray:
        """Return bytes of the file as uint8: a view of the mapped file, read where its file system cannot map."""
        if not length:
            return np.empty(0, np.uint8)
        if self._map is not None:
            return np.frombuffer(self._map, np.uint8, length, start)
        found = np.fromfile(self.path, np.uint8, length, offset=start)
        if found.size != length:
            raise self.damaged("it ends early; the file changed while it was read")
        return found

    def forget(self, start: int, length: int) -> None:
        """Give the memory of mapped bytes back; they come from the page cache if they are read again."""
        begin = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (start + length) // mmap.PAGESIZE * mmap.PAGESIZE
        if self._map is not None and end > begin and hasattr(mmap, "MADV_DONTNEED"):
            with contextlib.suppress(OSError):  # advice: refused, it costs memory and nothing else
                self._map.madvise(mmap.MADV_DONTNEED, begin, end - begin)

    def damaged(self, reason: str) -> CheckpointError:
        """Return the error for a file that is not as torch.save wrote it."""
        return CheckpointError(f"{self.path} cannot be read as a checkpoint, it is truncated or damaged: {reason}")


def _map(stream: BinaryIO) -> mmap.mmap | None:
    try:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # some network and container file systems cannot
        return None


class _Bounded:
    """A stream for zipfile that does not read a directory of any size: each entry becomes an object."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if size > DIRECTORY_LIMIT:
            raise zipfile.BadZipFile(f"a directory of {size} bytes")
        return self._stream.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
