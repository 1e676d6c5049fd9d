"""Which device computes here, and on how many cores: the only file that asks. Imports MLX, and no layer."""

from __future__ import annotations

import functools
import os

from mlx_model.machine import blas
from mlx_model.machine.blas import mx


def on_gpu() -> bool:
    """Whether MLX computes on a GPU, whose own kernels are then the better ones."""
    return mx.default_device().type == mx.DeviceType.gpu


@functools.cache
def cores() -> int:
    """Return how many cores this process may use, as a BLAS counts them."""
    limits = [os.environ.get(name, "") for name in blas.THREAD_VARIABLES]
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([usable, *(int(limit) for limit in limits if limit.isdigit() and int(limit) > 0)])
