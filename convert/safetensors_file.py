"""safetensors files tensor by tensor: a strict reader and a streaming writer that never hold more than one tensor.

The public library's numpy side knows no bfloat16 and wants the whole model in memory to save it. Pure numpy and
stdlib; the header is read in mlx_model/machine/safetensors.py, which says the layout.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from convert.dtypes import BY_CODE, PRECISIONS
from mlx_model.errors import CheckpointError
from mlx_model.machine.safetensors import STORAGE, header_of


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
        self._entries = header_of(path)
        self.infos = {
            name: TensorInfo(name=name, shape=entry.shape, dtype=BY_CODE[entry.code].name)
            for name, entry in self._entries.items()
        }

    def read(self, name: str) -> np.ndarray:
        """Return one tensor in its storage type (uint16 bits for bfloat16)."""
        info, entry = self.infos[name], self._entries[name]
        data = np.fromfile(self.path, dtype=STORAGE[entry.code], count=info.size, offset=entry.start)
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
