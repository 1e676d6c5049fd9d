"""Files that torch.save wrote before torch 1.6, or with its zip format switched off: read by torch, if it is installed.

The only file of convert/ that imports torch, inside its functions. weights_only=True: nothing in the file is executed.
"""

from __future__ import annotations

import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convert.torch_file import TorchFile, refused
from convert.torch_tensors import OddTensor
from mlx_model.errors import CheckpointError, DependencyError

if TYPE_CHECKING:
    import torch

# Whatever a damaged or hostile file makes the unpickler raise.
UNREADABLE = (
    RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError, AssertionError, ImportError,
    OverflowError, MemoryError, RecursionError, OSError,
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class LegacyTensor:
    """A tensor that torch holds in memory."""

    tensor: torch.Tensor
    dtype: str
    shape: tuple[int, ...]

    def read(self) -> np.ndarray:
        """Return the values in their storage type (uint16 bits for bfloat16)."""
        import torch

        found = self.tensor.detach().contiguous()
        return (found.view(torch.uint16) if found.dtype == torch.bfloat16 else found).numpy()

    def release(self) -> None:
        """Do nothing: the file is in memory as a whole."""


def read_legacy(path: Path) -> TorchFile:
    """Return what the file holds, tensors as LegacyTensor or OddTensor.

    Raises:
        DependencyError: torch is not installed.
        CheckpointError: truncated, damaged, or a pickle that asks for code.
    """
    try:
        import torch
    except ImportError as error:
        raise DependencyError(
            f"{path} is in the format of torch before 1.6, which only torch reads: pip install torch; or save it again "
            "where torch is installed: torch.save(torch.load(FILE), FILE)"
        ) from error

    # Training checkpoints of FunASR hold numpy scalars (losses, scores). What these names build is a number; the
    # function has one name before numpy 2 and another since.
    scalar = np.float64(0).__reduce__()[0]
    safe: list[Any] = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    safe += [np.dtype, *(type(np.dtype(code)) for code in ("f8", "f4", "i8", "i4", "?"))]
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(safe):
            warnings.simplefilter("ignore")  # notices about old formats; what matters is raised
            content = _stand_ins(torch.load(path, map_location="cpu", weights_only=True), {})
    except pickle.UnpicklingError as error:
        marker = "GLOBAL "
        if marker in str(error):
            raise refused(path, str(error).split(marker, 1)[1].split()[0]) from error
        raise _damaged(path, error) from error
    except UNREADABLE as error:
        raise _damaged(path, error) from error
    note = f"{path.name} is in the format of torch before 1.6, which has no checksums"
    return TorchFile(content=content, notes=[note], check=lambda: None)


def _damaged(path: Path, error: BaseException) -> CheckpointError:
    reason = str(error).strip().split("\n")[0][:200] or type(error).__name__
    return CheckpointError(f"{path} cannot be read as a checkpoint, it is truncated or damaged: {reason}")


def _stand_ins(value: Any, made: dict[int, Any]) -> Any:
    """Return `value` with tensors exchanged for what the zip reader gives; `made` remembers dicts that occur again."""
    import torch

    if isinstance(value, dict):
        if id(value) not in made:
            made[id(value)] = copy = {}
            copy.update((key, _stand_ins(item, made)) for key, item in value.items())
        return made[id(value)]
    if not isinstance(value, torch.Tensor):
        return value
    if value.layout != torch.strided or value.is_quantized or value.is_meta:
        return OddTensor("quantised" if value.is_quantized else "meta" if value.is_meta else "sparse")
    return LegacyTensor(value, str(value.dtype).removeprefix("torch."), tuple(value.shape))
