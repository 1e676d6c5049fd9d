"""Weight files: names, shapes and precisions first, then one tensor at a time, whatever was put around the weights.

What a file is, its content says (file_kind.py). A checkpoint is hostile until shown otherwise: nothing in it is
executed (torch_pickle.py). torch is needed for files older than torch 1.6 only (legacy_file.py); no import of it here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from convert import lora
from convert.dtypes import PRECISIONS
from convert.file_kind import JSON, LEGACY_TORCH, SAFETENSORS, file_kind
from convert.safetensors_file import SafetensorsReader, TensorInfo
from convert.tensor_names import plain_names
from convert.torch_file import TorchFile, read_torch_zip
from convert.torch_tensors import OddTensor
from convert.unwrap import Tensor, is_tensor, kinds, shown, unwrap
from mlx_model.errors import CheckpointError

INDEX_LIMIT = 50_000_000  # bytes of a model.safetensors.index.json
MAX_TENSORS = 200_000
MAX_NOTES = 12  # about entries that are no tensors


class Checkpoint(Protocol):
    """What conversion needs of a weight file."""

    infos: dict[str, TensorInfo]
    notes: list[str]
    files: list[Path]

    def read(self, name: str) -> np.ndarray:
        """Return one tensor in its storage type (uint16 bits for bfloat16); do not change it."""
        ...

    def check(self) -> None:
        """Compare all bytes with the file's own checksums, where it has any; `read` does so for those it returns."""
        ...

    def release(self, name: str) -> None:
        """Say that a tensor is not needed for now, so that its memory can be given back."""
        ...


def open_checkpoint(
    path: Path, *, config: Mapping[str, Any] | None = None, evidence: Collection[str] = (), inside: str = ""
) -> Checkpoint:
    """Return the weights at `path`: what torch.save wrote, a safetensors file or a sharded index of them.

    Args:
        path: the file; its name does not matter.
        config: config.yaml, which says rank and alpha where the checkpoint holds LoRA.
        evidence: patterns of names that the model has, so that an attribute put in front of all names is recognised.
        inside: the attribute whose name released files leave away, see `Family`.

    Raises:
        CheckpointError: not a checkpoint, truncated, damaged, or a pickle that wants to run code.
        DependencyError: a file older than torch 1.6 without torch installed.
    """
    notes: list[str] = []
    try:
        shards = _index_files(path) if file_kind(path) == JSON else [path]
        parts = [_part(file) for file in shards]
        stored: dict[Any, Any] = {}
        for file, part in zip(shards, parts, strict=True):
            notes += part.notes
            for name, tensor in _state_dict(file, part.content, notes).items():
                if name in stored:
                    raise CheckpointError(f"{file} holds tensor {name!r}, which stands in another file as well")
                stored[name] = tensor
        tensors = lora.merge(path, _named(path, stored, evidence, notes, inside), config or {}, notes)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    files = list(dict.fromkeys([path, *shards]))
    return _Opened(tensors, notes, files, [part.check for part in parts])


class _Opened:
    """A Checkpoint: tensors by name."""

    def __init__(
        self, tensors: dict[str, Tensor], notes: list[str], files: list[Path], checks: Sequence[Callable[[], None]]
    ):  # fmt: skip
        self._tensors, self.notes, self.files, self._checks = tensors, notes, files, checks
        self.infos = {
            name: TensorInfo(name=name, shape=tensor.shape, dtype=tensor.dtype) for name, tensor in tensors.items()
        }

    def read(self, name: str) -> np.ndarray:
        """Return one tensor; a view of the mapped file where its values lie there in order."""
        return self._tensors[name].read()

    def check(self) -> None:
        """Compare all bytes with the file's own checksums."""
        for check in self._checks:
            check()

    def release(self, name: str) -> None:
        """Give the memory of the tensor's mapped pages back."""
        self._tensors[name].release()


@dataclass(frozen=True, slots=True, eq=False)
class _SafetensorsTensor:
    reader: SafetensorsReader
    info: TensorInfo

    @property
    def shape(self) -> tuple[int, ...]:
        return self.info.shape

    @property
    def dtype(self) -> str:
        return self.info.dtype

    def read(self) -> np.ndarray:
        return self.reader.read(self.info.name)

    def release(self) -> None:
        """Do nothing: nothing is held between reads."""


def _part(path: Path) -> TorchFile:
    """Return what one file holds."""
    kind = file_kind(path)
    if kind == SAFETENSORS:
        reader = SafetensorsReader(path)
        content = {name: _SafetensorsTensor(reader, info) for name, info in reader.infos.items()}
        return TorchFile(content=content, notes=[], check=_no_checksums)
    if kind == LEGACY_TORCH:
        from convert.legacy_file import read_legacy

        return read_legacy(path)
    if kind == JSON:
        raise CheckpointError(f"{path} is JSON, not a weight file; an index names the files themselves")
    return read_torch_zip(path)


def _no_checksums() -> None:
    """A safetensors file has none to compare with."""


def _state_dict(path: Path, content: Any, notes: list[str]) -> dict[Any, Any]:
    """Return the tensors of the weights inside `content`, under the names they have there."""
    state = unwrap(path, content, notes)
    tensors = {name: value for name, value in state.items() if is_tensor(value)}
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors (found {kinds(state.values())}); expected a state dict")
    if all(getattr(value, "shape", None) == (0,) for value in tensors.values()):
        raise CheckpointError(
            f"{path} holds the names of {len(tensors)} tensors and no values, as DeepSpeed's ZeRO stage 3 leaves them; "
            "gather the weights with DeepSpeed's zero_to_fp32.py and convert what it writes"
        )
    others = {name: value for name, value in state.items() if not is_tensor(value)}
    for name in list(others)[:MAX_NOTES]:
        kind = type(others[name]).__name__
        notes.append(f"entry {shown(name)!r} of the checkpoint is a {kind}, not a tensor: ignored")
    if len(others) > MAX_NOTES:
        notes.append(f"{len(others) - MAX_NOTES} more entries of the checkpoint are no tensors: ignored")
    return tensors


def _named(
    path: Path, stored: Mapping[Any, Any], evidence: Collection[str], notes: list[str], inside: str
) -> dict[str, Tensor]:
    if len(stored) > MAX_TENSORS:
        raise CheckpointError(f"{path} holds more than {MAX_TENSORS} tensors; not a model")
    tensors: dict[str, Tensor] = {}
    for name, plain in plain_names(path, stored, evidence, notes, inside).items():
        tensor = stored[name]
        if isinstance(tensor, OddTensor):
            raise CheckpointError(f"{path}: tensor {plain!r} is a {tensor.kind} tensor; expected plain dense numbers")
        if tensor.dtype not in PRECISIONS:
            raise CheckpointError(f"{path}: tensor {plain!r} is a {tensor.dtype} tensor; expected plain dense numbers")
        tensors[plain] = tensor
    return tensors


def _index_files(path: Path) -> list[Path]:
    if path.stat().st_size > INDEX_LIMIT:
        raise CheckpointError(f"{path} is larger than {INDEX_LIMIT} bytes; not an index of weight files")
    try:
        names = json.loads(path.read_text("utf-8"))["weight_map"].values()
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"{path} is a text file, not a checkpoint, nor an index of one: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is JSON, but no index of weight files (no `weight_map` of names)") from error
    files: list[Path] = []
    for name in dict.fromkeys(str(name) for name in names):
        if Path(name).name != name:
            raise CheckpointError(f"{path}: {name!r} is not a file name beside the index")
        if not (path.parent / name).is_file():
            raise CheckpointError(f"{path} names {name}, which is not there")
        files.append(path.parent / name)
    if not files:
        raise CheckpointError(f"{path} is an index of no files; its `weight_map` is empty")
    return files
