"""Weight files: names, shapes and precisions first, then one tensor at a time. The only file here that imports torch.

A checkpoint is hostile until shown otherwise: torch.load with weights_only=True, memory-mapped, on the CPU; nothing in
it is executed. torch is imported inside the functions, so that safetensors sources need none.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import pickle
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from convert.dtypes import PRECISIONS
from convert.safetensors_file import SafetensorsReader, TensorInfo
from mlx_model.errors import CheckpointError, DependencyError

if TYPE_CHECKING:
    import torch

NESTING = ("state_dict", "model_state_dict", "model")  # in FunASR's order (load_pretrained_model.py)
INDEX_LIMIT = 50_000_000  # bytes of a model.safetensors.index.json
MAX_TENSORS = 200_000
# Whatever a damaged or hostile archive makes the unpickler and the zip reader raise.
UNREADABLE = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError,
    AssertionError, ImportError, OverflowError, MemoryError, OSError,
)  # fmt: skip


class Checkpoint(Protocol):
    """What conversion needs of a weight file."""

    infos: dict[str, TensorInfo]
    notes: list[str]
    files: list[Path]

    def read(self, name: str) -> np.ndarray:
        """Return one tensor in its storage type (uint16 bits for bfloat16); do not change it."""
        ...

    def release(self, name: str) -> None:
        """Say that a tensor is not needed for now, so that its memory can be given back."""
        ...


def open_checkpoint(path: Path) -> Checkpoint:
    """Return the weights at `path`: a model.pt of any nesting, a .safetensors file or a sharded index of them.

    Raises:
        CheckpointError: not a checkpoint, truncated, or a pickle that wants to run code.
        DependencyError: a model.pt without torch installed.
    """
    with path.open("rb") as stream:
        head = stream.read(512)
    if path.name.endswith(".safetensors.index.json"):
        return SafetensorsCheckpoint(path, _index_files(path))
    if path.suffix == ".safetensors":
        return SafetensorsCheckpoint(path, [path])
    _check_head(path, head)
    return TorchCheckpoint(path, is_zip=head.startswith(b"PK"))


def _check_head(path: Path, head: bytes) -> None:
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path} is a Git LFS pointer, not the weights; fetch them with: git lfs pull")
    if head.lstrip()[:1] == b"<":
        raise CheckpointError(f"{path} is a web page, not a checkpoint (a download that failed?); fetch it again")
    what = "empty" if not head else f"not a torch checkpoint (it starts with {head[:8]!r})"
    raise CheckpointError(f"{path} is {what}; expected a file written by torch.save, or a .safetensors file")


def _index_files(path: Path) -> list[Path]:
    if path.stat().st_size > INDEX_LIMIT:
        raise CheckpointError(f"{path} is larger than {INDEX_LIMIT} bytes; not an index of safetensors files")
    try:
        names = json.loads(path.read_text("utf-8"))["weight_map"].values()
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is not an index of safetensors files: {error}") from error
    files = list(dict.fromkeys(names))
    for name in files:
        if not isinstance(name, str) or Path(name).name != name:
            raise CheckpointError(f"{path}: {name!r} is not a file name beside the index")
        if not (path.parent / name).is_file():
            raise CheckpointError(f"{path} names {name}, which is not there")
    return [path.parent / name for name in files]


class SafetensorsCheckpoint:
    """Weights in one or several safetensors files; needs no torch."""

    def __init__(self, path: Path, files: list[Path]):
        self.files = files if path in files else [path, *files]
        self.notes: list[str] = []
        self._readers: dict[str, tuple[SafetensorsReader, str]] = {}
        self.infos: dict[str, TensorInfo] = {}
        for reader in map(SafetensorsReader, files):
            for stored, info in reader.infos.items():
                name = _strip_ddp(stored)
                _check_new(name, self.infos, reader.path)
                self.infos[name] = TensorInfo(name=name, shape=info.shape, dtype=info.dtype)
                self._readers[name] = (reader, stored)

    def read(self, name: str) -> np.ndarray:
        """Return one tensor, copied from the file."""
        reader, stored = self._readers[name]
        return reader.read(stored)

    def release(self, name: str) -> None:
        """Nothing is held between reads."""


class TorchCheckpoint:
    """A file written by torch.save, memory-mapped where its format allows (all since torch 1.6)."""

    def __init__(self, path: Path, *, is_zip: bool):
        self.files = [path]
        self._mapped = is_zip
        state, self.notes = _unwrap(path, _load(path, mapped=is_zip))
        self._tensors: dict[str, torch.Tensor] = {}
        self.infos: dict[str, TensorInfo] = {}
        for stored, value in state.items():
            if not isinstance(stored, str):
                raise CheckpointError(f"{path}: a tensor's name is {stored!r}, expected text")
            info = _tensor_info(path, _strip_ddp(stored), value)
            if info is None:
                self.notes.append(
                    f"entry {stored!r} of the checkpoint is a {type(value).__name__}, not a tensor: ignored"
                )
                continue
            _check_new(info.name, self.infos, path)
            self.infos[info.name], self._tensors[info.name] = info, value
        if not self.infos:
            raise CheckpointError(f"{path} holds no tensors (found {_kinds(state)}); expected a state dict")

    def read(self, name: str) -> np.ndarray:
        """Return one tensor; a view of the mapped file where it is contiguous."""
        import torch

        tensor = self._tensors[name].detach().contiguous()
        if tensor.dtype == torch.bfloat16:
            tensor = tensor.view(torch.uint16)
        return tensor.numpy()

    def release(self, name: str) -> None:
        """Drop the tensor's pages of the mapped file; they come back from the page cache if it is read again.

        Only for memory that torch.load mapped privately and nobody has written to: there it loses nothing.
        """
        if not self._mapped or not sys.platform.startswith("linux"):
            return
        storage = self._tensors[name].untyped_storage()
        begin = -(-storage.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (storage.data_ptr() + storage.nbytes()) // mmap.PAGESIZE * mmap.PAGESIZE
        if end > begin:
            ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED)


def _load(path: Path, *, mapped: bool) -> Any:
    try:
        import torch
    except ImportError as error:
        raise DependencyError(f"reading {path.name} needs torch: pip install 'mlx-funasr[convert]'") from error

    # Training checkpoints of FunASR hold numpy scalars (losses, scores). What these names build is a number; the
    # function has one name before numpy 2 and another since.
    scalar = np.float64(0).__reduce__()[0]
    safe: list[Any] = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    safe += [np.dtype, *(type(np.dtype(code)) for code in ("f8", "f4", "i8", "i4", "?"))]
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(safe):
            warnings.simplefilter("ignore")  # notices about old formats; what matters is raised
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, str(error))) from error
    except UNREADABLE as error:
        reason = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise CheckpointError(f"{path} cannot be read as a checkpoint, it is truncated or damaged: {reason}") from error


def _refusal(path: Path, message: str) -> str:
    marker = "GLOBAL "
    if marker not in message:
        reason = message.strip().split("\n")[0][:200]
        return f"{path} cannot be read as a checkpoint, it is truncated or damaged: {reason}"
    wanted = message.split(marker, 1)[1].split()[0]
    return (
        f"{path} was refused: its pickle asks for {wanted}, which could run code. Only plain tensors are read; "
        "if you trust the file, save its state dict again with torch.save(model.state_dict(), ...)"
    )


def _unwrap(path: Path, loaded: Any) -> tuple[Mapping[Any, Any], list[str]]:
    """Return the state dict inside `loaded` and notes about what stood beside it."""
    notes: list[str] = []
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}, expected a state dict (names and tensors)")
    for key in NESTING:
        if isinstance(loaded.get(key), Mapping):
            beside = sorted(str(name) for name in loaded if name != key)
            if beside:
                notes.append(f"beside {key!r} in the checkpoint, not read: {', '.join(beside[:12])}")
            loaded = loaded[key]
    return loaded, notes


def _tensor_info(path: Path, name: str, value: Any) -> TensorInfo | None:
    import torch

    if not isinstance(value, torch.Tensor):
        return None
    dtype = str(value.dtype).removeprefix("torch.")
    if value.layout != torch.strided or value.is_quantized or value.is_meta or dtype not in PRECISIONS:
        raise CheckpointError(
            f"{path}: tensor {name!r} is a {value.layout} {dtype} tensor; expected plain dense numbers"
        )
    return TensorInfo(name=name, shape=tuple(value.shape), dtype=dtype)


def _strip_ddp(name: str) -> str:
    while name.startswith("module."):
        name = name.removeprefix("module.")
    return name


def _check_new(name: str, known: Mapping[str, TensorInfo], path: Path) -> None:
    if name in known:
        raise CheckpointError(f"{path} holds tensor {name!r} twice (with and without 'module.', or in two files)")
    if len(known) >= MAX_TENSORS:
        raise CheckpointError(f"{path} holds more than {MAX_TENSORS} tensors; not a model")


def _kinds(state: Mapping[Any, Any]) -> str:
    return ", ".join(sorted({type(value).__name__ for value in state.values()})) or "nothing"
