"""The one reader of a safetensors header, and NumPy arrays on the file itself. Stdlib and NumPy; loads no MLX.

The layout: 8 bytes header length, a JSON header {name: {dtype, shape, data_offsets}}, then the raw data. The public
library copies every array, and its NumPy side knows no bfloat16; MLX copies what it loads. Here an array is a view: of
a mapped file, read when touched and shared by all processes that map it, or of a file's bytes that are in memory.
"""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlx_model.errors import CheckpointError

HEADER_LIMIT = 100_000_000  # bytes; the limit of the safetensors library itself
# Element types by their code in the header -> how NumPy holds them. It has no bfloat16: its bits.
STORAGE: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"), "I32": np.dtype("<i4"), "I16": np.dtype("<i2"), "I8": np.dtype("i1"),
    "U32": np.dtype("<u4"), "U8": np.dtype("u1"), "BOOL": np.dtype("?"),
}  # fmt: skip
MAPPED = ("F32", "U32", "F16", "BF16", "I8")  # what the CPU engine computes with where it lies


class Entry(NamedTuple):
    """A tensor in a file: its element type (a key of `STORAGE`), its shape, and its bytes [start, stop) of the file."""

    code: str
    shape: tuple[int, ...]
    start: int
    stop: int

    def view(self, whole: np.ndarray) -> np.ndarray:
        """Return the tensor as a view of the file's bytes, (N,) uint8."""
        return whole[self.start : self.stop].view(STORAGE[self.code]).reshape(self.shape)


def header_of(path: Path) -> dict[str, Entry]:
    """Return {name: entry} of a safetensors file, in its header's order; `__metadata__` is left out.

    Raises:
        CheckpointError: it is not a whole safetensors file: what is wrong with it.
    """
    with path.open("rb") as stream:

        def read(start: int, stop: int) -> bytes:
            stream.seek(start)
            return stream.read(stop - start)

        return _header(read, os.fstat(stream.fileno()).st_size, path)


def views_of(whole: np.ndarray, path: Path) -> dict[str, np.ndarray]:
    """Return every tensor of a safetensors file as a view of its bytes, (N,) uint8; `path` names it in errors.

    Raises:
        CheckpointError: they are not a whole safetensors file.
    """
    header = _header(lambda start, stop: whole[start:stop].tobytes(), whole.size, path)
    return {name: entry.view(whole) for name, entry in header.items()}


def map_tensors(path: Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """Return those of the named tensors that the file holds in one of `MAPPED`, each a read-only view of the file.

    None where the file system cannot map files.

    Raises:
        CheckpointError: it is not a whole safetensors file.
    """
    with path.open("rb") as stream:
        try:
            file = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError:  # some of those that stand for a network
            return {}
    if hasattr(mmap, "MADV_WILLNEED"):
        file.madvise(mmap.MADV_WILLNEED)  # the disk starts now, in large pieces
    whole = np.frombuffer(file, np.uint8)
    try:
        header = _header(lambda start, stop: file[start:stop], whole.size, path)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; convert the source again") from error
    return {name: header[name].view(whole) for name in names & header.keys() if header[name].code in MAPPED}


def _header(read: Callable[[int, int], bytes], size: int, path: Path) -> dict[str, Entry]:
    """Return the entries of a file of `size` bytes, of which `read` gives those from one to another, all checked."""
    length = int.from_bytes(read(0, 8), "little")
    if not 2 <= length <= min(HEADER_LIMIT, size - 8):
        raise CheckpointError(f"{path} is not a safetensors file, or it is truncated (header of {length} bytes)")
    try:
        document = json.loads(read(8, 8 + length).decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a safetensors file: its header is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{path}: the header is a {type(document).__name__}, expected an object")
    first = position = 8 + length
    found = {name: _entry(path, name, item, first) for name, item in document.items() if name != "__metadata__"}
    for _, _, start, stop in sorted(found.values(), key=lambda entry: entry[2:]):
        if start != position:
            raise CheckpointError(f"{path}: its tensors overlap or leave a gap at byte {start - first}")
        position = stop
    if size != position:
        raise CheckpointError(f"{path} has {size} bytes, its header describes {position}: truncated or damaged")
    return found


def _entry(path: Path, name: str, item: Any, first: int) -> Entry:
    """Return one entry of the header; the data begin at byte `first` of the file."""
    try:
        code, shape, (begin, end) = item["dtype"], tuple(item["shape"]), item["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: tensor {name!r} has a malformed header entry") from error
    numbers = (*shape, begin, end)
    if not all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in numbers):
        raise CheckpointError(f"{path}: tensor {name!r} has a malformed shape or offset")
    if not isinstance(code, str) or code not in STORAGE:
        raise CheckpointError(f"{path}: tensor {name!r} has the unknown element type {code!r}")
    needed = math.prod(shape) * STORAGE[code].itemsize
    if end - begin != needed:
        raise CheckpointError(f"{path}: tensor {name!r} has {end - begin} bytes, its shape needs {needed}")
    return Entry(code, shape, first + begin, first + end)
