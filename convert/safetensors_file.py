"""safetensors files tensor by tensor: a strict reader and a streaming writer that never hold more than one tensor.

The public library's numpy side knows no bfloat16 and wants the whole model in memory to save it. Pure numpy and
stdlib. The layout: 8 bytes header length, a JSON header {name: {dtype, shape, data_offsets}}, then the raw data.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from convert.dtypes import BY_CODE, PRECISIONS
from mlx_model.errors import CheckpointError

HEADER_LIMIT = 100_000_000  # bytes; the limit of the safetensors library itself


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """A tensor's name, shape and precision (a key of dtypes.PRECISIONS), known before its data are read."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the data."""
        return self.size * PRECISIONS[self.dtype].storage.itemsize


class SafetensorsReader:
    """One safetensors file: `infos` in file order, `read(name)` copies one tensor into memory."""

    def __init__(self, path: Path):
        """Parse and check the header of `path`; CheckpointError where it is not a whole safetensors file."""
        self.path = path
        try:
            with path.open("rb") as stream:
                length = int.from_bytes(stream.read(8), "little")
                actual = os.fstat(stream.fileno()).st_size
                if not 2 <= length <= min(HEADER_LIMIT, actual - 8):
                    raise CheckpointError(
                        f"{path} is not a safetensors file, or it is truncated (header of {length} bytes)"
                    )
                header = json.loads(stream.read(length).decode("utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise CheckpointError(f"{path} is not a safetensors file: its header is not JSON ({error})") from error
        self._start = 8 + length
        self._offsets: dict[str, tuple[int, int]] = {}
        self.infos: dict[str, TensorInfo] = {}
        self._parse(header)
        expected = self._start + max((end for _, end in self._offsets.values()), default=0)
        if actual != expected:
            raise CheckpointError(f"{path} has {actual} bytes, its header describes {expected}: truncated or damaged")

    def _parse(self, header: Any) -> None:
        if not isinstance(header, dict):
            raise CheckpointError(f"{self.path}: the header is a {type(header).__name__}, expected an object")
        for name, entry in header.items():
            if name != "__metadata__":
                self._parse_entry(name, entry)
        position = 0
        for begin, end in sorted(self._offsets.values()):
            if begin != position:
                raise CheckpointError(f"{self.path}: its tensors overlap or leave a gap at byte {begin}")
            position = end

    def _parse_entry(self, name: str, entry: Any) -> None:
        try:
            code, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{self.path}: tensor {name!r} has a malformed header entry") from error
        numbers = (*shape, begin, end)
        if not all(isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in numbers):
            raise CheckpointError(f"{self.path}: tensor {name!r} has a malformed shape or offset")
        if not isinstance(code, str) or code not in BY_CODE:
            raise CheckpointError(f"{self.path}: tensor {name!r} has the unknown element type {code!r}")
        info = TensorInfo(name=name, shape=shape, dtype=BY_CODE[code].name)
        if end - begin != info.nbytes:
            raise CheckpointError(
                f"{self.path}: tensor {name!r} has {end - begin} bytes, its shape needs {info.nbytes}"
            )
        self.infos[name], self._offsets[name] = info, (begin, end)

    def read(self, name: str) -> np.ndarray:
        """Return one tensor in its storage type (uint16 bits for bfloat16)."""
        info, (begin, _) = self.infos[name], self._offsets[name]
        storage = PRECISIONS[info.dtype].storage
        data = np.fromfile(self.path, dtype=storage, count=info.size, offset=self._start + begin)
        if data.size != info.size:
            raise CheckpointError(f"{self.path}: tensor {name!r} ends early; the file changed while it was read")
        return data.reshape(info.shape)


class SafetensorsWriter:
    """Writes one file: the header first, then every tensor of `infos` in `order`, each through `write`."""

    def __init__(self, path: Path, infos: Sequence[TensorInfo], metadata: Mapping[str, str]):
        # Widest elements first keeps every tensor aligned, as the safetensors library does.
        self.order = sorted(infos, key=lambda info: (-PRECISIONS[info.dtype].storage.itemsize, info.name))
        self._pending = iter(self.order)
        header: dict[str, Any] = {"__metadata__": dict(metadata)}
        position = 0
        for info in self.order:
            header[info.name] = {
                "dtype": PRECISIONS[info.dtype].code,
                "shape": list(info.shape),
                "data_offsets": [position, position + info.nbytes],
            }
            position += info.nbytes
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
        text += b" " * (-len(text) % 8)
        self._stream = path.open("xb")
        self._stream.write(len(text).to_bytes(8, "little") + text)

    def write(self, name: str, array: np.ndarray) -> None:
        """Append the next tensor; it must be the one `order` says, of the announced size."""
        info = next(self._pending)
        assert (info.name, info.shape) == (name, array.shape), f"{name} {array.shape} is not {info}"
        storage = PRECISIONS[info.dtype].storage
        assert array.dtype == storage, f"{name}: {array.dtype} is not {storage}"
        self._stream.write(np.ascontiguousarray(array).data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        assert kind is not None or next(self._pending, None) is None, "not every announced tensor was written"


def shards(infos: Sequence[TensorInfo], limit: int) -> Iterator[list[TensorInfo]]:
    """Yield groups of tensors of at most `limit` bytes each, in order; a larger single tensor stands alone."""
    group: list[TensorInfo] = []
    total = 0
    for info in infos:
        if group and total + info.nbytes > limit:
            yield group
            group, total = [], 0
        group.append(info)
        total += info.nbytes
    if group:
        yield group
