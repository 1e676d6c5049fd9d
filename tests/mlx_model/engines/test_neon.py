"""The body of cpu_engine.c for ARM, cross-compiled and run under qemu-user: its results, not its speed.

Oracles: NumPy in float64; of products also the body for AVX2, bit for bit, where this machine has it. No load may reach
behind an array (foreign_processor.c sees to it). Debian's packages: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross,
qemu-user-static.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_model.engines import cpu_bodies
from mlx_model.machine.blas import mx
from mlx_model.machine.bodies import BODIES
from mlx_model.parts.quantized import quantize_weight, restore_weight
from tests.mlx_model.engines.test_cpu_engine import normal, starts

COMPILER = "aarch64-linux-gnu-gcc"
EMULATOR = next((found for found in map(shutil.which, ("qemu-aarch64-static", "qemu-aarch64")) if found), None)
pytestmark = [
    pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"no {COMPILER}: apt install gcc-aarch64-linux-gnu"),
    pytest.mark.skipif(EMULATOR is None, reason="qemu-aarch64 is not here: apt install qemu-user-static"),
]
PRODUCT, NORM, MEMORY, ATTENTION, LSTM, RECALL, SOFTMAX = range(7)  # as foreign_processor.c numbers them
WIDTH, ROWS = 8, (1, 5, 12, 13, 50)  # outputs in a panel; rows of less than a tile, of one, of more
NOTHING = np.empty(0, np.float32)
Call = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("neon") / "engine"
    sources = [str(cpu_bodies.SOURCE), str(Path(__file__).with_name("foreign_processor.c"))]
    command = [COMPILER, *BODIES["neon"].options, "-Wall", "-Werror", "-static", *sources, "-lm", "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def call(program: Path) -> Call:
    """Return what one call leaves in its last array."""

    def run(which: int, numbers: list[int], *arrays: np.ndarray) -> np.ndarray:
        laid = [np.ascontiguousarray(array) for array in arrays]
        given = struct.pack(f"<{len(numbers) + 3}q", which, len(numbers), *numbers, len(laid))
        given += b"".join(struct.pack("<q", array.nbytes) + array.tobytes() for array in laid)
        done = subprocess.run([str(EMULATOR), str(program)], input=given, capture_output=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, b"4 lanes\n")
        return np.frombuffer(done.stdout, np.float32).reshape(laid[-1].shape)

    return run


def wide(outputs: int) -> int:
    """Return outputs rounded up to whole panels."""
    return -(-outputs // WIDTH) * WIDTH


def weights(kind: str, outputs: int, inputs: int) -> tuple[np.ndarray, np.ndarray, list[int], list[np.ndarray]]:
    """Return (bytes as they lie, what they say, [kind, group, groups], [scales, biases]) of a random weight."""
    weight = mx.array(normal(0, outputs, inputs))
    if kind in ("4", "6", "8"):
        packed, scales, biases = quantize_weight(weight, 32, int(kind))
        factors = [np.array(scales.astype(mx.float32)), np.array(biases.astype(mx.float32))]
        said = np.array(restore_weight(packed, scales, biases, group_size=32, bits=int(kind)))[:, :inputs]
        return np.array(packed), said, [int(kind), 32, scales.shape[1]], factors
    typed = weight.astype(getattr(mx, kind))
    lie = np.array(typed.view(mx.uint16)) if kind != "float32" else np.array(typed)
    code = {"float32": 32, "float16": 16, "bfloat16": 17}[kind]
    return lie, np.array(typed.astype(mx.float32)), [code, 0, 0], [NOTHING, NOTHING]


def by_avx2(lie: np.ndarray, bias: np.ndarray, settings: list[int], factors: list[np.ndarray], x: np.ndarray) -> Any:
    """Return what the body for AVX2 makes of the same product, with ReLU; None where it cannot run."""
    if not cpu_bodies.runs(BODIES["avx2"]):
        return None
    outputs, kind, group, groups = len(lie), *settings
    width = -(-outputs // 16) * 16
    bias = np.pad(bias, (0, width - len(bias)))
    address = [array.ctypes.data if array.size else None for array in (lie, bias, *factors)]
    given = cpu_bodies.LinearStruct(
        weights=address[0], bias=address[1], n=outputs, k=x.shape[1], relu=1, kind=kind, group=group, groups=groups,
        scales=address[2], biases=address[3],
    )  # fmt: skip
    y = np.empty((len(x), width), np.float32)
    cpu_bodies.load(BODIES["avx2"], 1).engine_product(given, len(x), x.ctypes.data, x.shape[1], y.ctypes.data, width, 0)
    return y[:, :outputs]


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16", "8", "6", "4"])
def test_products(call: Call, kind: str):
    """More than two slabs of inputs, of numbers in float32 no whole vectors; 70 outputs: part of a panel."""
    outputs, inputs = 70, 543 if kind == "float32" else 544
    lie, said, settings, factors = weights(kind, outputs, inputs)
    bias = np.pad(normal(1, outputs), (0, wide(outputs) - outputs))
    for rows in ROWS:
        x, y = normal(2, rows, inputs), normal(3, rows, wide(outputs))
        exact = x.astype(np.float64) @ said.astype(np.float64).T + bias[:outputs]
        numbers = [outputs, inputs, 1, *settings, rows, wide(outputs)]
        relu = call(PRODUCT, [*numbers, 0], lie, bias, *factors, x, y)[:, :outputs]
        np.testing.assert_allclose(relu, np.maximum(exact, 0), atol=1e-6 * inputs)
        if (same := by_avx2(lie, bias[:outputs], settings, factors, x)) is not None:
            np.testing.assert_array_equal(relu, same)
    numbers[2] = 0
    added = call(PRODUCT, [*numbers, 1], lie, NOTHING, *factors, x, y)[:, :outputs]
    np.testing.assert_allclose(added, exact - bias[:outputs] + y[:, :outputs], atol=1e-6 * inputs)


def test_norm(call: Call):
    x, gain, shift = normal(0, 37, 48), normal(1, 48), normal(2, 48)
    got = call(NORM, [37, 48], x, gain, shift, np.array([1e-5], np.float32), np.empty_like(x))
    centred = x.astype(np.float64) - x.mean(axis=1, dtype=np.float64, keepdims=True)
    exact = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5) * gain + shift
    np.testing.assert_allclose(got, exact, atol=2e-6)


def test_memory(call: Call):
    """Two recordings, whose edges are zeros to each other."""
    at, taps, y, v = starts(20, 13), normal(0, 5, 12), normal(1, 33, 12), normal(2, 33, 12)
    got = call(MEMORY, [2, 12, 5, 2, 12], at, taps, v, y)
    exact = y.astype(np.float64) + v
    for begin, end in ((0, 20), (20, 33)):
        padded = np.pad(v[begin:end].astype(np.float64), ((2, 2), (0, 0)))
        exact[begin:end] += sum(padded[tap : tap + end - begin] * taps[tap] for tap in range(5))
    np.testing.assert_allclose(got, exact, atol=2e-6)


@pytest.mark.parametrize("size", [16, 20])  # of a head: whole panels, and part of one
def test_attention(call: Call, size: int):
    heads, queries, keys = 2, starts(150, 9), starts(40, 31)
    q, k, v = normal(0, 159, heads * size), normal(1, 71, heads * size), normal(2, 71, heads * size)
    room = np.zeros(2 * (71 + 3 * WIDTH) * heads * wide(size), np.float32)
    numbers = [2, heads, size, heads * size, heads * size]
    got = call(ATTENTION, numbers, queries, keys, q, k, v, room, np.empty_like(q))
    for u in range(2):
        rows, others = slice(*queries[u : u + 2]), slice(*keys[u : u + 2])
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            scores = q[rows, own].astype(np.float64) @ k[others, own].T / np.sqrt(size)
            likely = np.exp(scores - scores.max(axis=1, keepdims=True))
            exact = likely / likely.sum(axis=1, keepdims=True) @ v[others, own]
            np.testing.assert_allclose(got[rows, own], exact, atol=3e-6)


def test_lstm(call: Call):
    """Two directions of four recordings; gates in torch's order: input, forget, cell, output."""
    batch, steps, size = 4, 7, 16
    weight = [normal(seed, 4 * size, size) / 4 for seed in (0, 1)]
    gates = normal(2, 2, batch, steps, 4 * size)
    got = call(LSTM, [2, batch, steps, size, 32], *weight, gates, np.empty((2, batch, steps, size), np.float32))
    for direction in (0, 1):
        h = c = np.zeros((batch, size))
        for step in range(steps):
            sums = gates[direction, :, step] + h @ weight[direction].astype(np.float64).T
            i, f, g, o = np.split(sums, 4, axis=1)
            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            h = np.tanh(c) / (1 + np.exp(-o))
            np.testing.assert_allclose(got[direction, :, step], h, atol=2e-6)


def test_taps_behind_a_past(call: Call):
    """Two recordings of a stream, three taps two frames apart, one frame of past fewer than they reach."""
    at, taps, y, v, past = starts(7, 5), normal(0, 3, 12), normal(1, 12, 12), normal(2, 12, 12), normal(3, 2, 3, 12)
    got = call(RECALL, [2, 12, 3, 2, 3], at, taps, past, v, y)
    exact = y.astype(np.float64)
    for u, (begin, end) in enumerate(((0, 7), (7, 12))):
        frames = np.concatenate([np.zeros((1, 12)), past[u], v[begin:end]])  # four before the first: the first tap's
        exact[begin:end] += sum(frames[2 * tap : 2 * tap + end - begin] * taps[tap] for tap in range(3))
    np.testing.assert_allclose(got, exact, atol=2e-6)


def test_softmax(call: Call):
    x = 3 * normal(0, 20, 11)
    likely = np.exp(x - x.max(axis=1, keepdims=True), dtype=np.float64)
    got = call(SOFTMAX, [20, 11], x, np.empty_like(x))
    np.testing.assert_allclose(got, likely / likely.sum(axis=1, keepdims=True), atol=1e-6)
