"""Every operation and every kernel of ours has its path on an Apple GPU, and engines/README.md names it.

Oracles: the syntax trees of ops.py and gpu_kernels.py; the formulas in NumPy, where Metal's path is walked on the CPU.
"""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_model import ops, ops_conv, ops_stream
from mlx_model.engines import gpu_kernels
from mlx_model.engines.gpu_kernels import Memory, padding_of, relu_and_norm, sum_and_norm
from mlx_model.machine.blas import mx
from mlx_model.parts.basic import DepthwiseConv1d, LayerNorm

PACKAGE = Path(ops.__file__).parent
DOCUMENT = (PACKAGE / "engines/README.md").read_text("utf-8")
# Of ops.py what computes nothing: which engine, where a stack begins and ends, in which order a model's steps run.
NO_OPERATIONS = {
    "only", "chosen", "offered", "in_words", "enter", "ahead", "compile_steps", "leave", "through", "start",
}  # fmt: skip


def first_column(heading: str) -> set[str]:
    """Return the names in backquotes of a table's first column."""
    table = DOCUMENT.split(f"| {heading} ", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return {name for line in table for name in re.findall(r"`(\w+)`", line.split("|")[1])}


def defined(module: Any) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(inspect.getsource(module))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def calls(function: ast.AST) -> set[str]:
    found = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    return {called.id for called in found if isinstance(called, ast.Name)}


def test_every_operation_is_in_the_table():
    public = {name for module in (ops, ops_stream, ops_conv) for name in defined(module) if not name.startswith("_")}
    assert first_column("operation of `ops.py`, `ops_stream.py` and `ops_conv.py`") == public - NO_OPERATIONS
    of_rows = {name for name, member in vars(ops.Rows).items() if inspect.isfunction(member) and name[0] != "_"}
    assert of_rows - {"beside", "like", "leave", "start"} <= public  # what rows compute is an operation


def test_every_kernel_is_in_the_table():
    """And whatever writes one in a language of CUDA stands in that one file."""
    kernels: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("cuda_kernel", "metal_kernel")):
                assert path.name == "gpu_kernels.py"
                kernels.add(ast.literal_eval(node.args[0]))
    assert kernels == first_column("kernel of `gpu_kernels.py`")


def test_whatever_asks_for_a_kernel_asks_first_whether_it_fits():
    asking = {name: calls(function) for name, function in defined(gpu_kernels).items() if "_kernel" in calls(function)}
    assert set(asking) == {"sum_and_norm", "relu_and_norm"}
    assert all("_fits" in called for called in asking.values())


def test_nothing_is_asked_of_mlx_that_metal_lacks():
    """float64 and linear algebra: on the CPU's stream or in the file for CPUs, or not at all."""
    for path in [path for path in PACKAGE.rglob("*.py") if path.name != "ops_cpu.py"]:
        for line in path.read_text("utf-8").splitlines():
            assert "mx.linalg" not in line, path
            assert "mx.float64" not in line or "mx.cpu" in line, f"{path}: {line.strip()}"


@pytest.fixture
def on_metal(monkeypatch: pytest.MonkeyPatch):
    """As on an Apple GPU: there is no CUDA, and a kernel for it would be an error."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a CUDA kernel was asked for")

    monkeypatch.setattr(gpu_kernels, "on_cuda", lambda: False)
    monkeypatch.setattr(mx.fast, "cuda_kernel", refuse)


def normed(x: np.ndarray, norm: LayerNorm) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + norm.eps)
    return scaled * np.array(norm.weight, np.float64) + np.array(norm.bias, np.float64)


def test_the_plain_path_computes_what_the_kernel_does(on_metal: None):
    """Two recordings of 6 and 4 frames, what stands in the padding being anything."""
    rng = np.random.default_rng(0)
    norm, block = LayerNorm(8, 1e-5), DepthwiseConv1d(8, 3, 0)
    norm.weight, norm.bias = (mx.array(rng.standard_normal(8).astype(np.float32)) for _ in range(2))
    block.weight = mx.array(rng.standard_normal((8, 3, 1)).astype(np.float32))
    residual, added, wide = (rng.standard_normal((12, size)).astype(np.float32) for size in (8, 8, 24))
    keep = np.arange(6)[None] < np.array([6, 4])[:, None]
    memory = Memory(block, mx.array(wide), 8, padding_of(mx.array(keep)))
    total, found = sum_and_norm(norm, (mx.array(residual), mx.array(added)), memory)
    v = wide[:, 8:16].astype(np.float64).reshape(2, 6, 8) * keep[:, :, None]
    around = np.pad(v, ((0, 0), (1, 1), (0, 0)))
    taps = np.array(block.weight, np.float64)[:, :, 0]
    remembered = v + sum(around[:, tap : tap + 6] * taps[:, tap] for tap in range(3))
    exact = residual.astype(np.float64) + added + remembered.reshape(12, 8)
    there = keep.reshape(-1)
    np.testing.assert_allclose(np.array(total)[there], exact[there], atol=2e-6)
    np.testing.assert_allclose(np.array(found)[there], normed(exact, norm)[there], atol=5e-6)
    np.testing.assert_allclose(
        np.array(relu_and_norm(norm, mx.array(added))), normed(np.maximum(added, 0).astype(np.float64), norm), atol=5e-6
    )
