"""safetensors files as NumPy arrays on the file itself: read when touched, shared by all processes that map it.

MLX copies what it loads. The layout: 8 bytes header length, a JSON header {name: {dtype, shape, data_offsets}}, then
the data.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Collection
from pathlib import Path

import numpy as np

from mlx_model.errors import CheckpointError

# What the CPU engine reads. NumPy has no bfloat16: its bits.
DTYPES = {"F32": np.dtype("<f4"), "U32": np.dtype("<u4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


def map_tensors(path: Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """Return those of the named tensors that the file holds in one of `DTYPES`, each a read-only view of the file.

    None where the file system cannot map files.

    Args:
        path: a safetensors file that a library has opened before, so that its header is known to be one.
        names: of tensors; what the file does not hold is left out.

    Raises:
        CheckpointError: the file ends before a tensor does.
    """
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
        try:
            file = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError:  # some of those that stand for a network
            return {}
    if hasattr(mmap, "MADV_WILLNEED"):
        file.madvise(mmap.MADV_WILLNEED)  # the disk starts now, in large pieces
    found = {}
    for name in names & header.keys():
        entry = header[name]
        if entry["dtype"] not in DTYPES:
            continue
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        if end > len(file):
            raise CheckpointError(f"{path}: not a whole safetensors file, {name} ends early; convert the source again")
        numbers = np.frombuffer(file, DTYPES[entry["dtype"]], math.prod(entry["shape"]), start)
        found[name] = numbers.reshape(entry["shape"])
    return found
