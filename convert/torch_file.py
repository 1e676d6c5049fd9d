"""A file written by torch.save (zip format, torch 1.6 and later), opened without torch: what it holds.

torch_zip.py gives the records, torch_pickle.py reads the pickle without executing it, torch_tensors.py builds tensors
as views of the records. They are as torch.load gives them, bit for bit. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert import torch_pickle
from convert.file_kind import what_archive
from convert.torch_tensors import Builder
from convert.torch_zip import TorchZip
from mlx_model.errors import CheckpointError

SMALL_RECORD = 1000  # bytes of byteorder


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchFile:
    """What a torch file holds: plain values, dicts, and tensors. `check` compares every byte with its checksums."""

    content: Any
    notes: list[str]
    check: Callable[[], None]


def read_torch_zip(path: Path) -> TorchFile:
    """Return what the torch file at `path` holds; no tensor is read yet.

    Raises:
        CheckpointError: truncated, damaged, TorchScript or another archive, or a pickle that asks for code.
    """
    archive = TorchZip(path)
    if "data.pkl" not in archive.records or "constants.pkl" in archive.records:
        raise CheckpointError(f"{path} {what_archive(archive.names)}")
    archive.check_stored()
    order = archive.read("byteorder", SMALL_RECORD) if "byteorder" in archive.records else b"little"
    if order != b"little":
        found = "on a big-endian machine" if order == b"big" else f"with the byte order {order!r}"
        raise CheckpointError(f"{path} was written {found}; load it with torch and save it again on a usual one")
    data = archive.read("data.pkl", torch_pickle.PICKLE_LIMIT)
    try:
        builder = Builder(archive)
        content = torch_pickle.load(data, builder.known(), builder.storage)
    except torch_pickle.RefusedPickleError as error:
        raise refused(path, str(error)) from error
    except torch_pickle.DamagedPickleError as error:
        raise archive.damaged(str(error)) from error
    notes = []
    if archive.unsummed:
        notes.append(
            f"{path.name} was saved without checksums (torch.serialization.set_crc32_options): a damaged byte in it "
            "would not be noticed"
        )
    return TorchFile(content=content, notes=notes, check=archive.check_all)


def refused(path: Path, wanted: str) -> CheckpointError:
    """Return the error for a pickle that asks for the global `wanted`."""
    return CheckpointError(
        f"{path} was refused: its pickle asks for {wanted[:200]}, which could run code. Only plain tensors are read; "
        "if you trust the file, save its state dict again with torch.save(model.state_dict(), ...)"
    )
