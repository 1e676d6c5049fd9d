"""What really computes here, and how exactly: device, float32 mode, engine, BLAS, precision. Every result carries it.

Nothing is decided here: each entry asks what `Model.__call__` asks (`Model.engine`), or measures. Paths are left out,
since results are published.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from mlx_model.machine import blas
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.device import on_gpu

EXACT, REDUCED = "exact", "tf32"
LARGEST_ERROR = 1e-5  # of a float32 product, relative: rounding leaves 1e-7, ten bits of mantissa 3e-4
FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/:;,()]+/)+")


class Numerics(TypedDict):
    """What a result says of how it was computed.

    `float32` is "exact" or "tf32"; `float32_error` the relative error of a product where that was measured, else None.
    `engine` and `precision` are "" where no model is at hand.
    """

    device: str
    float32: str
    float32_error: float | None
    engine: str
    blas: str
    precision: str


def numerics(model: Any = None) -> Numerics:
    """Return what computes on this machine, and this model if one is given."""
    mode, error = float32_mode()
    return Numerics(
        device=device(),
        float32=mode,
        float32_error=error,
        engine="" if model is None else model.engine,
        blas=blas_name(),
        precision="" if model is None else precision(model),
    )


def device() -> str:
    """Return MLX's default device, a GPU with its name."""
    if not on_gpu():
        return "cpu"
    name = mx.device_info().get("device_name", "")  # pyright: ignore[reportAttributeAccessIssue]
    return f"gpu: {name}" if name else "gpu"


@functools.cache
def _measured_error() -> float:
    return product_error()


def float32_mode() -> tuple[str, float | None]:
    """Return whether float32 products are exact here, and their error where that had to be measured.

    A CPU computes nothing but float32. On a GPU it was asked for before MLX was loaded (`blas.float32_setting`); where
    somebody else loaded MLX first, or the user asked for something else, one product is measured, once.
    """
    setting = blas.float32_setting()
    if not on_gpu() or (setting.value == "0" and not setting.late):
        return EXACT, None
    error = _measured_error()
    return (EXACT if error < LARGEST_ERROR else REDUCED), error


def product_error() -> float:
    """Return the relative error of one float32 matrix product here: 1e-7 in true float32, 3e-4 with TF32.

    The setting in the environment says what was asked for; this says what happens. Oracle: float64 on the host.
    """
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 256, 256)).astype(np.float32)
    exact = a.astype(np.float64) @ b
    return float(np.linalg.norm(np.array(mx.array(a) @ mx.array(b)) - exact) / np.linalg.norm(exact))


def float32_warning() -> str | None:
    """Return what to tell the user once where float32 products are not exact, None where they are."""
    mode, error = float32_mode()
    if mode == EXACT:
        return None
    setting = blas.float32_setting()
    told = f"float32 products are rounded to TF32 here (relative error {error:.1e}, exact ones have 1e-7)"
    if setting.ours or setting.value == "0":
        return f"{told}: mlx.core was imported before mlx_model; import mlx_model first, or set {blas.TF32}=0"
    return f"{told}, as {blas.TF32}={setting.value} asks for; unset it for exact float32"


def blas_name() -> str:
    """Return the BLAS in use by its file's name, and why it is that one."""
    found = blas.status()
    library = Path(found.library).name if found.library and not on_gpu() else "MLX's own"
    return f"{library} ({FOLDERS.sub('', found.reason)})"


def precision(model: Any) -> str:
    """Return what the network's numbers are kept in: float32, bfloat16, "8-bit g64", "4/8-bit g64, rest float16".

    "int8 dynamic": weights of 8 bits, and what they are multiplied with is rounded to 8 as it comes.
    """
    modules = list(model.modules())
    packed = {(module.bits, module.group_size) for module in modules if isinstance(module, nn.QuantizedLinear)}
    kept = str(model.dtype).rpartition(".")[2]
    weights = [module.get("weight") for module in modules]
    if any(isinstance(weight, mx.array) and weight.dtype == mx.int8 for weight in weights):
        return f"int8 dynamic, rest {kept}"
    if not packed:
        return kept
    bits, groups = ("/".join(map(str, sorted(set(sizes)))) for sizes in zip(*packed, strict=True))
    return f"{bits}-bit g{groups}, rest {kept}"


def in_words(found: Numerics) -> str:
    """Return numerics as one line."""
    parts = [f"device {found['device']}", f"float32 {found['float32']}", f"BLAS {found['blas']}"]
    parts += [f"engine {found['engine']}"] if found["engine"] else []
    parts += [f"precision {found['precision']}"] if found["precision"] else []
    return "; ".join(parts)
