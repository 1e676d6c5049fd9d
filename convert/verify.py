"""Re-opens what was written, inverts every operation, and compares bit for bit with the source. Pure numpy.

Where the stored precision holds every value of the source exactly, the stored tensor is cast back and must give the
source's own bits; where it does not, it must equal the source after the same rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from convert.checkpoint import Checkpoint
from convert.dtypes import cast, is_exact
from convert.safetensors_file import SafetensorsReader
from convert.weight_map import Assignment
from mlx_model.errors import OutputError


class Written:
    """The tensors of one or several safetensors files of an output directory."""

    def __init__(self, files: Sequence[Path]):
        self._readers = [SafetensorsReader(path) for path in files]
        self._where = {name: reader for reader in self._readers for name in reader.infos}

    @property
    def names(self) -> set[str]:
        """Names of all stored tensors."""
        return set(self._where)

    def dtype(self, name: str) -> str:
        """Return a tensor's stored precision."""
        return self._where[name].infos[name].dtype

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's stored shape."""
        return self._where[name].infos[name].shape

    def read(self, name: str) -> np.ndarray:
        """Return one tensor in its storage type."""
        return self._where[name].read(name)


def verify(
    files: Sequence[Path],
    plan: Sequence[Assignment],
    checkpoint: Checkpoint,
    cmvn: dict[str, np.ndarray],
) -> None:
    """Compare the written files with the source, every tensor and every bit.

    Args:
        files: the safetensors files just written.
        plan: the fate of every source tensor.
        checkpoint: the source, read a second time here.
        cmvn: target name -> values, float32.

    Raises:
        OutputError: anything differs; what was written must not be used.
    """
    for difference in differences(Written(files), plan, checkpoint, cmvn):
        raise OutputError(
            f"verification failed: {difference}; the disk or the memory of this machine is at fault, or the source "
            "changed meanwhile"
        )


def differences(
    written: Written, plan: Sequence[Assignment], checkpoint: Checkpoint, cmvn: dict[str, np.ndarray]
) -> Iterator[str]:
    """Yield what of the written tensors is not the source's, as `verify` compares them; nothing where all are."""
    expected = {item.target for item in plan if item.target is not None} | set(cmvn)
    if written.names != expected:
        yield f"the written tensors differ by {sorted(written.names ^ expected)[:5]}"
    for name in sorted(cmvn.keys() & written.names):
        yield from _difference(name, written.read(name), cmvn[name])
    for item in plan:
        if item.target is None or item.target not in written.names:
            continue
        stored_dtype, source_dtype = written.dtype(item.target), checkpoint.infos[item.source].dtype
        inverted = item.op.invert(written.read(item.target))
        source = checkpoint.read(item.source)
        if is_exact(source_dtype, stored_dtype):
            inverted = cast(inverted, stored_dtype, source_dtype, item.target)
        else:
            source = cast(source, source_dtype, stored_dtype, item.source)
        yield from _difference(item.source, inverted, source)
        del source
        checkpoint.release(item.source)


def _difference(name: str, found: np.ndarray, expected: np.ndarray) -> Iterator[str]:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        yield f"{name!r} reads back as {found.dtype} {found.shape}, not {expected.dtype} {expected.shape}"
    elif not np.array_equal(_bits(found), _bits(expected)):
        differing = int((_bits(found) != _bits(expected)).sum())
        yield f"{differing} of {expected.size} values of {name!r} read back differently"


def _bits(array: np.ndarray) -> np.ndarray:
    """View floats as integers: 0.0 and -0.0 differ, and NaN equals itself."""
    integers = {2: np.uint16, 4: np.uint32, 8: np.uint64}
    if array.dtype.kind != "f":
        return array
    return array.view(integers[array.dtype.itemsize])
