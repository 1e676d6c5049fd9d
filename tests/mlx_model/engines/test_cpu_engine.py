"""The CPU engine's operations. Oracle: NumPy in float64.

Quantised weights: MLX's own restoration of them, then NumPy in float64.
"""

from __future__ import annotations

import itertools
import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model import engines
from mlx_model.engines import cpu_engine
from mlx_model.machine.blas import mx
from mlx_model.parts.basic import DepthwiseConv1d, LayerNorm, Linear
from mlx_model.parts.quantized import restore_weight
from tests.mlx_model.engines.test_cpu_rows import WIDE
from tests.mlx_model.engines.test_lanes import random_model

pytestmark = pytest.mark.skipif(not cpu_engine.available(), reason="needs x86-64 with AVX2, and a C compiler")
SIZES = st.integers(1, 300)
INPUTS = st.integers(1, 88).map(lambda vectors: 8 * vectors)


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def linear(weight: np.ndarray, bias: np.ndarray | None) -> Linear:
    made = Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    made.weight = mx.array(weight)
    if bias is not None:
        made.bias = mx.array(bias)
    return made


def starts(*lengths: int) -> np.ndarray:
    return np.cumsum([0, *lengths]).astype(np.int32)


@settings(deadline=None)
@given(rows=SIZES, inputs=INPUTS, outputs=st.integers(1, 200), biased=st.booleans(), relu=st.booleans())
def test_product(rows: int, inputs: int, outputs: int, biased: bool, relu: bool):
    x, weight, bias = normal(0, rows, inputs), normal(1, outputs, inputs), normal(2, outputs) if biased else None
    product = cpu_engine.Product(linear(weight, bias))
    exact = x.astype(np.float64) @ weight.astype(np.float64).T + (0 if bias is None else bias)
    exact = np.maximum(exact, 0) if relu else exact
    got = product(x, relu=relu)
    np.testing.assert_allclose(got[:, :outputs], exact, atol=1e-6 * inputs)
    if not relu:
        y = normal(3, *got.shape)
        before = y.copy()
        product.add(x, y)
        np.testing.assert_allclose(y[:, :outputs], (before + got)[:, :outputs], atol=1e-6 * inputs)


@settings(deadline=None)
@given(
    rows=SIZES, inputs=INPUTS, outputs=st.integers(1, 200), biased=st.booleans(), relu=st.booleans(),
    bits=st.sampled_from([8, 6, 4]), group_size=st.sampled_from([32, 64, 128]),
)  # fmt: skip
def test_product_with_quantised_weights(
    rows: int, inputs: int, outputs: int, biased: bool, relu: bool, bits: int, group_size: int
):
    x, weight, bias = normal(0, rows, inputs), normal(1, outputs, inputs), normal(2, outputs) if biased else None
    packed = linear(weight, bias).to_quantized(group_size, bits)
    parts = packed.weight, packed.scales, packed.biases
    restored = np.array(restore_weight(*parts, group_size=group_size, bits=bits), np.float64)[:, :inputs]
    exact = x.astype(np.float64) @ restored.T + (0 if bias is None else bias)
    exact = np.maximum(exact, 0) if relu else exact
    product = cpu_engine.Product(packed)
    got = product(x, relu=relu)
    np.testing.assert_allclose(got[:, :outputs], exact, atol=1e-6 * inputs)
    np.testing.assert_array_equal(product(x[-1:], relu=relu), got[-1:])  # whatever it is batched with
    if not relu:
        y = normal(3, *got.shape)
        before = y.copy()
        product.add(x, y)
        np.testing.assert_allclose(y[:, :outputs], (before + got)[:, :outputs], atol=1e-6 * inputs)


@settings(deadline=None)
@given(rows=SIZES, vectors=st.integers(1, 130))
def test_norm(rows: int, vectors: int):
    size = vectors * cpu_engine.kernels().engine_width()
    norm = LayerNorm(size, 1e-12)
    norm.weight, norm.bias = mx.array(normal(1, size)), mx.array(normal(2, size))
    x = normal(0, rows, size) * 3 + 5
    centred = x.astype(np.float64) - x.astype(np.float64).mean(axis=1, keepdims=True)
    scale = np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-12)
    exact = centred / scale * np.array(norm.weight, np.float64) + np.array(norm.bias, np.float64)
    np.testing.assert_allclose(cpu_engine.Norm(norm)(x, norm.eps), exact, atol=5e-6)


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(1, 11), st.integers(0, 9))
def test_memory_stays_within_its_utterance(lengths: list[int], taps: int, shift: int):
    """Oracle: the module, one utterance after the other; windows in the past, in the future and cropped."""
    block = DepthwiseConv1d(32, taps, shift)
    block.weight = mx.array(normal(1, 32, taps, 1))
    wide = normal(0, sum(lengths), 96)
    v, y, at = wide[:, 32:64], normal(2, sum(lengths), 32), starts(*lengths)
    expected = y.copy()
    for start, stop in itertools.pairwise(at):
        if stop > start:
            part = mx.array(v[start:stop])[None]
            expected[start:stop] += np.array(block(part) + part)[0]
    cpu_engine.Memory(block).add(v, at, y, block.left)
    np.testing.assert_allclose(y, expected, atol=1e-5)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 120), st.integers(1, 300)), min_size=1, max_size=4), st.floats(0.01, 30.0))
def test_attention(lengths: list[tuple[int, int]], spread: float):
    """With scores from nearly equal to so far apart that all weight lies on one key."""
    tokens, frames = starts(*(u for u, _ in lengths)), starts(*(t for _, t in lengths))
    q, kv = normal(0, tokens[-1], 64) * spread, normal(1, frames[-1], 128)
    k, v = kv[:, :64], kv[:, 64:]
    got = cpu_engine.attend(q, k, v, tokens, frames, 2)
    for b in range(len(lengths)):
        rows, keys = slice(*tokens[b : b + 2]), slice(*frames[b : b + 2])
        for head in (slice(0, 32), slice(32, 64)):
            scores = q[rows, head].astype(np.float64) @ k[keys, head].astype(np.float64).T / np.sqrt(32)
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            exact = weights / weights.sum(axis=1, keepdims=True) @ v[keys, head].astype(np.float64)
            # The scores' own float32 rounding grows with them.
            np.testing.assert_allclose(got[rows, head], exact, atol=3e-6 * max(1.0, spread))


def test_what_is_not_a_number_stays_visible():
    x = normal(0, 7, 64)
    x[3, 5] = np.nan
    at, block = starts(7), DepthwiseConv1d(64, 3, 0)
    norm = LayerNorm(64, 1e-12)
    results = [
        cpu_engine.Product(linear(normal(1, 64, 64), None))(x, relu=True),
        cpu_engine.Norm(norm)(x, norm.eps),
        cpu_engine.attend(x, x, x, at, at, 2),
    ]
    memory = np.zeros_like(x)
    cpu_engine.Memory(block).add(x, at, memory, block.left)
    assert all(np.isnan(result[3]).any() for result in [*results, memory])
    assert np.isnan(results[2][:, :32]).all()  # every query of that head saw the key


def test_other_machines_are_left_to_mlx(monkeypatch: pytest.MonkeyPatch):
    for change in ({"machine": lambda: "aarch64"}, {"flags": set}):
        cpu_engine.kernels.cache_clear()
        cpu_engine.available.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(platform, "machine", change.get("machine", platform.machine))
            patch.setattr(cpu_engine, "_processor_flags", change.get("flags", cpu_engine._processor_flags))
            model = random_model(WIDE)
            engines.fit(model)
            assert "CPU engine" not in engines.in_force(model)
        cpu_engine.kernels.cache_clear()
        cpu_engine.available.cache_clear()


FORKED = """
import os, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from mlx_model.engines import cpu_engine
at = np.array([0, 300], np.int32)
x = np.random.default_rng(0).standard_normal((300, 64)).astype(np.float32)
first = cpu_engine.attend(x, x, x, at, at, 4)
child = os.fork()
same = np.array_equal(cpu_engine.attend(x, x, x, at, at, 4), first)
if child == 0:
    os._exit(0 if same else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or (0 if same else 4))
"""


@pytest.mark.parametrize("threads", ["1", "2", "5"])
def test_every_number_of_threads_works_and_so_does_a_forks_child(threads: str):
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment.pop(name, None)
    done = subprocess.run([sys.executable, "-c", FORKED], env=environment, timeout=120, check=False)
    assert done.returncode == 0
