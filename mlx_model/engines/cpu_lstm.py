"""An LSTM's recurrence on a kernel of our own (`engine_lstm` of cpu_engine.c); what it reads is kept on the module.

MLX computes a step as a product of one row, some activations and their copies: 1.3 ms at width 512, where reading the
weights takes a tenth of that. Here a thread takes one direction of some recordings through all steps. Weights are read
as they lie, once a step for all of its recordings; states are float32; sums are in one order whatever a recording is
batched with, so that its bits do not depend on that. For lists of hotwords, hundreds side by side, this takes less time
than MLX's products of many rows and its activations on one thread, too.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mlx_model.engines import cpu_engine
from mlx_model.engines.cpu_engine import KINDS, in_memory
from mlx_model.machine import device
from mlx_model.machine.blas import mx
from mlx_model.machine.kept import Kept, kind_of

KEPT = "_recurrences"  # the attribute of a module under which what was made of its weights stands, by their names


class Recurrence:
    """The recurrences of one layer, one for each weight (4H, H); H is whole vectors."""

    def __init__(self, weights: Sequence[mx.array], arrays: Sequence[np.ndarray]):
        self._kept = [Kept(weight) for weight in weights]
        self._arrays = arrays  # which the addresses are of
        self._addresses = (ctypes.c_void_p * len(arrays))(*(each.ctypes.data for each in arrays))
        self._kind = KINDS[weights[0].dtype]

    def is_of(self, weights: Sequence[Any]) -> bool:
        """Whether these are the weights that this was made of, with what was in them."""
        return all(kept.is_still(weight) for kept, weight in zip(self._kept, weights, strict=True))

    def __deepcopy__(self, memo: dict[int, Any]) -> Recurrence:
        return self  # nothing in it changes; a copied module has other arrays, and gets one of its own

    @staticmethod
    def can(weights: Sequence[Any], size: int) -> bool:
        """Whether the kernel knows these weights, and they fit each other and states of this width."""
        return size % cpu_engine.kernels().engine_lanes() == 0 and all(
            isinstance(weight, mx.array)
            and weight.shape == (4 * size, size)
            and weight.dtype in KINDS
            and weight.dtype == weights[0].dtype
            for weight in weights
        )

    def __call__(self, gates: Float[np.ndarray, "K B T G"]) -> Float[np.ndarray, "K B T H"]:
        """Return the states, from zero states on; gates are what inputs and biases add to them."""
        *shape, width = gates.shape
        states = np.empty((*shape, width // 4), np.float32)
        kernel = cpu_engine.kernels().engine_lstm
        kernel(*shape, width // 4, self._kind, self._addresses, gates.ctypes.data, states.ctypes.data)
        return states


def recur(gates: Float[mx.array, "K B T G"], module: Any, names: Sequence[str]) -> Float[mx.array, "K B T H"] | None:
    """Return the states of a module's recurrences with the weights of these names; None where MLX is to compute."""
    if device.on_gpu() or gates.dtype != mx.float32 or not cpu_engine.available():
        return None
    weights = [module.get(name) for name in names]
    if kind_of(module) != "LSTM" or not Recurrence.can(weights, gates.shape[3] // 4):
        return None
    made: dict[tuple[str, ...], Recurrence] = vars(module).setdefault(KEPT, {})
    found = made.get(tuple(names))
    if found is None or not found.is_of(weights):
        found = made[tuple(names)] = Recurrence(weights, [in_memory(module, name) for name in names])
    return mx.array(found(np.ascontiguousarray(np.asarray(gates))))
