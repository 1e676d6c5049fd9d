"""The CPU engine's operations. Oracle: NumPy in float64.

Quantised weights: MLX's own restoration of them, then NumPy in float64.
"""

from __future__ import annotations

import copy
import itertools
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model import engines
from mlx_model.engines import cpu_bodies, cpu_engine
from mlx_model.machine.blas import mx
from mlx_model.machine.safetensors import map_tensors
from mlx_model.parts.basic import DepthwiseConv1d, LayerNorm, Linear
from mlx_model.parts.fsmn import Taps
from mlx_model.parts.quantized import restore_weight
from tests.mlx_model.engines.test_cpu_rows import WIDE
from tests.mlx_model.engines.test_lanes import random_model

pytestmark = pytest.mark.skipif(not cpu_engine.available(), reason="needs x86-64 with AVX2, and a C compiler")
SIZES = st.integers(1, 300)
INPUTS = st.integers(1, 700)
HALVES = [mx.float16, mx.bfloat16]


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def linear(weight: np.ndarray, bias: np.ndarray | None) -> Linear:
    made = Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    made.weight = mx.array(weight)
    if bias is not None:
        made.bias = mx.array(bias)
    return made


def exactly(array: mx.array) -> np.ndarray:
    """Return what 16 bits hold, by MLX's exact cast, in float64."""
    return np.array(array.astype(mx.float32), np.float64)


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
    beside = np.concatenate([x, np.full((rows, 3), np.nan, np.float32)], axis=1)[:, :inputs]  # of something wider
    np.testing.assert_array_equal(product(beside, relu=relu), got)
    if not relu:
        y = normal(3, *got.shape)
        before = y.copy()
        product.add(x, y)
        np.testing.assert_allclose(y[:, :outputs], (before + got)[:, :outputs], atol=1e-6 * inputs)


@settings(deadline=None)
@given(
    rows=SIZES, inputs=INPUTS, outputs=st.integers(1, 200), biased=st.booleans(), relu=st.booleans(),
    dtype=st.sampled_from(HALVES), is_mapped=st.booleans(),
)  # fmt: skip
def test_product_with_weights_of_16_bits(
    rows: int, inputs: int, outputs: int, biased: bool, relu: bool, dtype: mx.Dtype, is_mapped: bool
):
    """In float32's rounding of what the weights say, far below their own; from MLX's memory and from a file."""
    x, module = normal(0, rows, inputs), linear(normal(1, outputs, inputs), normal(2, outputs) if biased else None)
    module.set_dtype(dtype)
    exact = x.astype(np.float64) @ exactly(module.weight).T + (exactly(module.bias) if biased else 0)
    exact = np.maximum(exact, 0) if relu else exact
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        mx.save_safetensors(str(path), {"weight": module.weight})
        found = map_tensors(path, {"weight"})["weight"]
        product = cpu_engine.Product(module, (lambda *_: found) if is_mapped else cpu_engine.in_memory)
        got = product(x, relu=relu)
    np.testing.assert_allclose(got[:, :outputs], exact, atol=1e-6 * inputs)
    np.testing.assert_array_equal(product(x[-1:], relu=relu), got[-1:])  # whatever it is batched with


@pytest.mark.parametrize("dtype", HALVES)
def test_every_number_of_16_bits_is_what_it_is(dtype: mx.Dtype):
    """All 65,536, by an input that takes one weight each: what is not finite is left out, as 0 times it is NaN."""
    codes = mx.array(np.arange(1 << 16, dtype=np.uint16)).view(dtype)
    exact = np.array(codes.astype(mx.float32))
    finite = np.where(np.isfinite(exact), exact, 0).reshape(-1, 16)
    module = Linear(16, len(finite), bias=False)
    module.weight = mx.where(mx.array(np.isfinite(exact)), codes, 0).astype(dtype).reshape(-1, 16)
    got = cpu_engine.Product(module)(np.eye(16, dtype=np.float32))[:, : len(finite)]
    np.testing.assert_array_equal(got.T, finite)


@settings(deadline=None)
@given(
    rows=SIZES, inputs=INPUTS, outputs=st.integers(1, 200), biased=st.booleans(), relu=st.booleans(),
    bits=st.sampled_from([8, 6, 4]), group_size=st.sampled_from([32, 64, 128]),
    dtype=st.sampled_from([mx.float32, *HALVES]),
)  # fmt: skip
def test_product_with_quantised_weights(
    rows: int, inputs: int, outputs: int, biased: bool, relu: bool, bits: int, group_size: int, dtype: mx.Dtype
):
    """Quantised from each precision; the bias is of that precision, and scales are of 16 bits in all."""
    x, full = normal(0, rows, inputs), linear(normal(1, outputs, inputs), normal(2, outputs) if biased else None)
    full.set_dtype(dtype)
    packed = full.to_quantized(group_size, bits)
    parts = packed.weight, packed.scales, packed.biases
    restored = np.array(restore_weight(*parts, group_size=group_size, bits=bits), np.float64)[:, :inputs]
    exact = x.astype(np.float64) @ restored.T + (exactly(full.bias) if biased else 0)
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
@given(rows=SIZES, vectors=st.integers(1, 130), dtype=st.sampled_from([mx.float32, *HALVES]))
def test_norm(rows: int, vectors: int, dtype: mx.Dtype):
    size = vectors * cpu_engine.kernels().engine_lanes()
    norm = LayerNorm(size, 1e-12)
    norm.weight, norm.bias = mx.array(normal(1, size)).astype(dtype), mx.array(normal(2, size)).astype(dtype)
    x = normal(0, rows, size) * 3 + 5
    centred = x.astype(np.float64) - x.astype(np.float64).mean(axis=1, keepdims=True)
    scale = np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-12)
    exact = centred / scale * exactly(norm.weight) + exactly(norm.bias)
    np.testing.assert_allclose(cpu_engine.Norm(norm)(x, norm.eps), exact, atol=5e-6)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(1, 11), st.integers(0, 9),
    st.sampled_from([mx.float32, *HALVES]),
)  # fmt: skip
def test_memory_stays_within_its_utterance(lengths: list[int], taps: int, shift: int, dtype: mx.Dtype):
    """Oracle: the module in float32, one utterance after the other; windows in the past, in the future and cropped."""
    block = DepthwiseConv1d(32, taps, shift)
    half = copy.deepcopy(block)
    half.weight = mx.array(normal(1, 32, taps, 1)).astype(dtype)
    block.weight = half.weight.astype(mx.float32)
    wide = normal(0, sum(lengths), 96)
    v, y, at = wide[:, 32:64], normal(2, sum(lengths), 32), starts(*lengths)
    expected = y.copy()
    for start, stop in itertools.pairwise(at):
        if stop > start:
            part = mx.array(v[start:stop])[None]
            expected[start:stop] += np.array(block(part) + part)[0]
    cpu_engine.Memory(half).add(v, at, y, half.left)
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


@pytest.mark.parametrize("dtype", [mx.float32, *HALVES])
def test_a_small_weight_in_panels_gives_the_same_bits(dtype: mx.Dtype, monkeypatch: pytest.MonkeyPatch):
    x, module = normal(0, 7, 300), linear(normal(1, 90, 300), normal(2, 90))
    module.set_dtype(dtype)
    packed = cpu_engine.Product(module)(x)
    monkeypatch.setattr(cpu_engine, "SMALL", 0)
    np.testing.assert_array_equal(cpu_engine.Product(module)(x)[:, :90], packed[:, :90])


@pytest.mark.parametrize("dtype", [mx.float32, *HALVES])
def test_nothing_behind_a_weights_last_row_is_read(dtype: mx.Dtype):
    """It ends where a page does, and the next page may not be read: whoever does dies, so a child tries."""
    bits = {mx.float32: "float32", mx.float16: "float16", mx.bfloat16: "bfloat16"}[dtype]
    done = subprocess.run([sys.executable, "-c", AT_THE_END, bits], timeout=120, check=False)
    assert done.returncode == 0


AT_THE_END = """
import ctypes, mmap, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from mlx_model.engines import cpu_engine
from mlx_model.machine.blas import mx
from mlx_model.parts.basic import Linear
room = mmap.mmap(-1, 2 * mmap.PAGESIZE)
place = ctypes.addressof(ctypes.c_char.from_buffer(room))
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(place + mmap.PAGESIZE), mmap.PAGESIZE, 0) == 0
module = Linear(19, 20, bias=False)
module.set_dtype(getattr(mx, sys.argv[1]))
held = cpu_engine.in_memory(module, "weight")
weight = np.frombuffer(room, held.dtype, held.size, mmap.PAGESIZE - held.nbytes).reshape(held.shape)
weight[:] = held
x = np.random.default_rng(0).standard_normal((3, 19)).astype(np.float32)
for cpu_engine.SMALL in (0, 1 << 16):
    got = cpu_engine.Product(module, lambda *_: weight)(x)[:, :20]
    assert np.array_equal(got, cpu_engine.Product(module)(x)[:, :20])
"""


@settings(deadline=None, max_examples=50)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4), count=st.integers(1, 20), apart=st.integers(1, 3),
       has_past=st.booleans(), columns=st.booleans())  # fmt: skip
def test_taps_behind_a_past(lengths: list[int], count: int, apart: int, has_past: bool, columns: bool):
    """Every sum written out: the past of each utterance before its own rows, zeros before that."""
    at, reach = starts(*lengths), (count - 1) * apart
    v = normal(0, at[-1], 96)[:, 16:48] if columns else normal(0, at[-1], 32)
    past = normal(1, len(lengths), reach, 32) if has_past else None
    taps = Taps(32, count, apart)
    taps.weight = mx.array(normal(2, 32, count, 1, 1))
    weight, y = np.array(taps.weight)[:, :, 0, 0].T, normal(3, at[-1], 32)
    exact = y.astype(np.float64)
    for u, (start, end) in enumerate(itertools.pairwise(at)):
        before = np.zeros((reach, 32)) if past is None else past[u]
        frames = np.concatenate([before, v[start:end]]).astype(np.float64)
        for row in range(end - start):
            exact[start + row] += (frames[row : row + reach + 1 : apart] * weight).sum(axis=0)
    cpu_engine.Memory(taps).recall(v, at, y, apart, past)
    np.testing.assert_allclose(y, exact, atol=1e-5)  # 21 numbers around 1


@settings(deadline=None, max_examples=30)
@given(rows=SIZES, width=st.integers(1, 300), spread=st.sampled_from([0.01, 1.0, 30.0]))
def test_softmax(rows: int, width: int, spread: float):
    scores = spread * normal(0, rows, width + 5)[:, :width]
    exact = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    exact /= exact.sum(axis=1, keepdims=True)
    got = cpu_engine.softmax(scores)
    # A difference of scores around 100 is rounded by 4e-6; below e^-87 of the largest there is nothing.
    np.testing.assert_allclose(got, exact, rtol=1e-5 if spread > 1 else 1e-6, atol=1e-37)


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
    memory, recalled = np.zeros_like(x), np.zeros_like(x)
    cpu_engine.Memory(block).add(x, at, memory, block.left)
    cpu_engine.Memory(block).recall(x, at, recalled, 1, None)
    assert all(np.isnan(result[3]).any() for result in [*results, memory, recalled, cpu_engine.softmax(x)])
    assert np.isnan(results[2][:, :32]).all()  # every query of that head saw the key


def test_other_machines_are_left_to_mlx(monkeypatch: pytest.MonkeyPatch):
    for change in ({"machine": lambda: "aarch64"}, {"flags": set}, {"flags": lambda: {"avx2", "fma"}}):
        cpu_engine.kernels.cache_clear()
        cpu_engine.available.cache_clear()
        with monkeypatch.context() as patch:
            patch.delenv(cpu_bodies.VARIABLE, raising=False)
            patch.setattr(platform, "machine", change.get("machine", platform.machine))
            patch.setattr(cpu_bodies, "_processor_flags", change.get("flags", cpu_bodies._processor_flags))
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
first = cpu_engine.attend(x, x, x, at, at, 2)
child = os.fork()
same = np.array_equal(cpu_engine.attend(x, x, x, at, at, 2), first)
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
