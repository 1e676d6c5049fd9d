"""The BLAS choice, each case in a process of its own because it is made once, before mlx.core is loaded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mlx_model.machine import blas, openblas
from tests.conftest import ROOT

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="MLX brings its own BLAS on macOS")


def python(code: str, **environment: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    variables = {key: value for key, value in os.environ.items() if key != "MLX_FUNASR_BLAS"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**variables, **environment},
        check=True,
    )
    return done.stdout.strip()


STATUS = "from mlx_model.machine.blas import status; s = status(); print(s.needed, s.library, s.warning() is not None)"
PRODUCT = """
import numpy as np
{first}
{second}
rng = np.random.default_rng(0)
a, b = rng.standard_normal((2, 300, 300)).astype(np.float32)
exact = a.astype(np.float64) @ b
for value in (np.array(mx.array(a) @ mx.array(b)), (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()):
    assert np.abs(value - exact).max() < 1e-3, np.abs(value - exact).max()
print("right")
"""


@LINUX
def test_none_is_honoured_and_not_nagged_about():
    assert python(STATUS, MLX_FUNASR_BLAS="none") == "False None False"


@LINUX
def test_a_library_that_is_none_is_said_so():
    code = "from mlx_model.machine.blas import status; print(status().warning())"
    warning = python(code, MLX_FUNASR_BLAS="/nowhere/libblas.so")
    assert "/nowhere/libblas.so" in warning
    assert "pip install" in warning


@LINUX
def test_too_late_is_said_so():
    warning = python("import mlx.core; from mlx_model.machine.blas import status; print(status().warning())")
    assert "import mlx_model first" in warning


@LINUX
def test_the_best_library_is_found_here():
    """The test environment installs the extra `cpu`, so there is one."""
    needed, library, warned = python(STATUS).split()
    assert (needed, warned) == ("True", "False")
    assert "mkl" in library or "openblas" in library


SPEED = """
import time
from mlx_model.machine.blas import mx
a = mx.random.normal((768, 768))
mx.eval(a @ a)
start = time.perf_counter()
mx.eval(a @ a)
print(time.perf_counter() - start)
"""


@LINUX
def test_pypis_openblas_computes_mlxs_products():
    if openblas.library() is None:
        pytest.skip("scipy-openblas32 is not installed (extra cpu)")
    assert python(STATUS, MLX_FUNASR_BLAS="openblas").split()[1] == openblas.library()
    # The bundled reference BLAS takes 0.1 s for this product, OpenBLAS 0.01 s: not a speed bar, but which one it was.
    ours = min(float(python(SPEED, MLX_FUNASR_BLAS="openblas")) for _ in range(3))
    bundled = min(float(python(SPEED, MLX_FUNASR_BLAS="none")) for _ in range(3))
    assert ours < bundled / 2


@LINUX
@pytest.mark.reference
@pytest.mark.parametrize("order", [0, 1])
def test_products_are_right_beside_torch_in_either_order(order: int):
    """Oracle: float64 numpy. Where MKL is the best here, it takes over torch's sgemm too; it must be a right one."""
    imports = ["from mlx_model.machine.blas import mx", "import torch"]
    first, second = imports if order == 0 else reversed(imports)
    assert python(PRODUCT.format(first=first, second=second)) == "right"


def test_the_package_alone_loads_no_mlx():
    assert python("import sys, mlx_model; print('mlx.core' in sys.modules)") == "False"


def test_graphs_are_small_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch):
    """On Linux alone: Apple's GPUs read the same variables."""
    names = ("MLX_MAX_OPS_PER_BUFFER", "MLX_MAX_MB_PER_BUFFER")
    for platform, given, expected in (
        ("linux", None, ("30", "100")), ("linux", "7", ("7", "100")), ("darwin", None, (None, None)),
    ):  # fmt: skip
        for name in names:
            monkeypatch.setenv(name, "")  # so that it is as before afterwards
            monkeypatch.delenv(name)
        if given:
            monkeypatch.setenv(names[0], given)
        monkeypatch.setattr(blas.sys, "platform", platform)
        blas._ask_for_small_graphs()
        assert tuple(map(blas.os.environ.get, names)) == expected
