"""That the FunASR that runs is its checkpoint: opened without executing anything, every tensor compared bit for bit.

Runs beside torch; must not import mlx.
"""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from mlx_model.errors import CheckpointError


def prove(model: Any, checkpoint: str) -> None:
    """Raise CheckpointError unless every tensor of the model equals the checkpoint's, bit for bit.

    FunASR's loader keeps random weights for missing keys and wrong shapes, with a line in the log.
    Mirrors the unwrapping in funasr/train_utils/load_pretrained_model.py.
    """
    import torch

    state = state_of(Path(checkpoint))
    for wrapper in ("state_dict", "model_state_dict", "model"):
        state = state.get(wrapper, state)
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    own = model.state_dict()
    if not own.keys() & state.keys():  # ERes2NetV2SV holds 3D-Speaker's network, and reads its bare checkpoint itself
        state = {f"model.{name}": tensor for name, tensor in state.items()}
    for name, tensor in own.items():
        if name not in state:
            raise CheckpointError(f"{checkpoint}: {name} is missing; FunASR would run with random weights there")
        if not torch.equal(tensor.cpu(), state[name].to(tensor.dtype)):
            raise CheckpointError(
                f"{checkpoint}: {name} {tuple(state[name].shape)} was not loaded into the model's {tuple(tensor.shape)}"
            )


def state_of(checkpoint: Path) -> Any:
    """Return what a checkpoint holds, nothing in it executed.

    FunASR's own torch.load does the same from here on: the switch that would make it run code is taken away, and the
    numpy numbers of a trainer's state are allowed.

    Raises:
        CheckpointError: it cannot be read so.
    """
    import torch

    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
    scalar = np.float64(0).__reduce__()[0]
    safe: list[Any] = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    safe += [np.dtype, *(type(np.dtype(code)) for code in ("f8", "f4", "i8", "i4", "?"))]
    torch.serialization.add_safe_globals(safe)
    with checkpoint.open("rb") as stream:
        mapped = stream.read(4) == b"PK\x03\x04"
    try:
        return torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=mapped)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError, AttributeError, OSError) as error:
        reason = " ".join(str(error).split())
        wanted = re.search(r"GLOBAL (\S+)", reason)
        if wanted:
            reason = f"its pickle asks for {wanted[1]}, which could run code"
        raise CheckpointError(f"{checkpoint} was not given to FunASR: {reason[:200]}") from error
