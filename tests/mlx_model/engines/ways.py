"""Every way a model can be computed, and models for all of them: what tests of several files share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mlx_model.engines import cpu_engine, lanes
from mlx_model.machine import device

needs_engine = pytest.mark.skipif(not cpu_engine.available(), reason="needs x86-64 with AVX2, and a C compiler")


@contextlib.contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Let everything take the GPU's way, with MLX's own kernels, on whatever device there is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "on_gpu", lambda: True)
        yield


@contextlib.contextmanager
def as_on_two_cores() -> Iterator[None]:
    """Let lanes be in force, two of them, however many cores and whichever BLAS this process may use."""
    with pytest.MonkeyPatch.context() as patch, lanes.exactly(2):
        for module in (device, lanes):
            patch.setattr(module, "few_cores", lambda: True)
        yield


WAYS: dict[str, Callable[[], Any]] = {
    "engine": contextlib.nullcontext,
    "lanes": as_on_two_cores,
    "gpu": as_on_a_gpu,
}
NAMES = {"CPU engine": "engine", "lanes": "lanes", "GPU path": "gpu"}
ways = pytest.mark.parametrize("way", [pytest.param("engine", marks=needs_engine), "lanes", "gpu"])
