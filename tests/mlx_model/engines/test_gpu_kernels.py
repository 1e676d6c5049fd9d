"""The fused kernels. Oracle: MLX's own operations in float32, which test_gpu.py holds against the plain path."""

from __future__ import annotations

import numpy as np
import pytest

from mlx_model.engines import gpu_kernels
from mlx_model.engines.gpu_kernels import Memory, padding_of, relu_and_norm, sum_and_norm
from mlx_model.machine.blas import mx
from mlx_model.parts.basic import DepthwiseConv1d, LayerNorm, length_mask
from mlx_model.parts.sanm import forward_fsmn

on_cuda = pytest.mark.skipif(not gpu_kernels.on_cuda(), reason="our own kernels are written for CUDA; none here")
TOLERANCE = {mx.float32: 2e-5, mx.float16: 2e-2, mx.bfloat16: 2e-1}  # of sums up to 10, rounded once
# batch, steps, channels, columns of the source, the memory's first one, shift, taps
SHAPES = [
    (1, 1, 512, 1536, 1024, 0, 11),
    (3, 37, 512, 1536, 1024, 0, 11),
    (2, 50, 144, 432, 288, 0, 15),
    (2, 33, 512, 512, 0, 5, 11),
    (2, 33, 512, 512, 0, 7, 11),  # every tap lies in the past
    (16, 300, 512, 1536, 1024, 0, 11),
    (7, 301, 512, 1536, 1024, 0, 11),  # an odd number of rows each, and many
    (1, 70, 2048, 2048, 0, 0, 3),
    (2, 9, 34, 40, 6, 1, 2),
]


def numbers(*shape: int, dtype: mx.Dtype = mx.float32) -> mx.array:
    return mx.random.normal(shape).astype(dtype)


def parts(shape: tuple[int, ...], dtype: mx.Dtype) -> tuple[LayerNorm, mx.array, mx.array, Memory]:
    """Return a norm, what is added to what, and a memory; recordings of a batch differ in length."""
    batch, steps, size, columns, first, shift, taps = shape
    mx.random.seed(steps)
    norm, block = LayerNorm(size, 1e-12), DepthwiseConv1d(size, taps, shift)
    norm.weight, norm.bias = numbers(size, dtype=dtype), numbers(size, dtype=dtype)
    block.weight = numbers(size, taps, 1, dtype=dtype)
    lengths = mx.array([max(1, steps - 3 * row) for row in range(batch)])
    memory = Memory(block, numbers(batch * steps, columns, dtype=dtype), first, padding_of(length_mask(lengths, steps)))
    return norm, numbers(batch * steps, size, dtype=dtype), numbers(batch * steps, size, dtype=dtype), memory


def exact(norm: LayerNorm, added: list[mx.array], memory: Memory | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the same by the plain path's modules, in float32 on the CPU."""
    with mx.stream(mx.cpu):
        total = sum((part.astype(mx.float32) for part in added), mx.array(0.0))
        if memory is not None:
            (batch, steps), size = memory.padding.keep.shape, memory.block.weight.shape[0]
            block = DepthwiseConv1d(size, memory.block.weight.shape[1], 0)
            block.weight, block.left, block.right = (
                memory.block.weight.astype(mx.float32),
                memory.block.left,
                memory.block.right,
            )
            columns = memory.source[:, memory.first : memory.first + size].astype(mx.float32)
            total = total + forward_fsmn(block, columns.reshape(batch, steps, size), memory.padding.keep).reshape(
                -1, size
            )
        return np.array(total), normalised(norm, np.array(total))


def normalised(norm: LayerNorm, x: np.ndarray) -> np.ndarray:
    gain, shift = (np.array(part.astype(mx.float32), np.float64) for part in (norm.weight, norm.bias))
    centred = x.astype(np.float64) - x.mean(axis=1, keepdims=True, dtype=np.float64)
    return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + norm.eps) * gain + shift


def assert_close(found: mx.array, expected: np.ndarray, rows: np.ndarray | slice = slice(None)) -> None:
    np.testing.assert_allclose(
        np.array(found.astype(mx.float32))[rows],
        expected[rows],
        atol=TOLERANCE[found.dtype],
        rtol=TOLERANCE[found.dtype] / 5,
    )


def check(shape: tuple[int, ...], dtype: mx.Dtype) -> None:
    norm, residual, added, memory = parts(shape, dtype)
    kept = np.array(memory.padding.keep).reshape(-1)
    for one, other, remembered in (
        (residual, added, memory), (residual, added, None), (residual, None, memory),
    ):  # fmt: skip
        terms = (one,) if other is None else (one, other)
        total, normed = sum_and_norm(norm, terms, remembered)
        want = exact(norm, list(terms), remembered)
        for found, expected in zip((total, normed), want, strict=True):
            assert_close(found, expected, kept)
    rectified = relu_and_norm(norm, residual)
    assert_close(rectified, normalised(norm, np.maximum(np.array(residual.astype(mx.float32)), 0)))


@pytest.mark.parametrize("shape", SHAPES)
def test_operations_sum_remember_and_normalise(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gpu_kernels, "_fits", lambda *_: False)
    check(shape, mx.float32)


@on_cuda
@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_kernel_does_too(shape: tuple[int, ...], dtype: mx.Dtype):
    norm, residual, _, memory = parts(shape, dtype)
    assert gpu_kernels._fits(norm, residual, memory)
    check(shape, dtype)


@on_cuda
def test_nan_stays():
    norm, x, _, _ = parts(SHAPES[1], mx.float16)
    x[5, 7] = float("nan")
    broken = np.isnan(np.array(relu_and_norm(norm, x), np.float32)).any(axis=1)
    assert np.flatnonzero(broken).tolist() == [5]


def test_what_does_not_fit_is_left_to_mlx(monkeypatch: pytest.MonkeyPatch):
    """An odd width, a very wide one, many taps, weights in another precision than what they meet."""
    monkeypatch.setattr(gpu_kernels, "on_cuda", lambda: True)
    norm, x, _, memory = parts(SHAPES[1], mx.float32)
    assert gpu_kernels._fits(norm, x, memory)
    assert not gpu_kernels._fits(LayerNorm(33, 1e-12), numbers(4, 33), None)
    assert not gpu_kernels._fits(LayerNorm(10_000, 1e-12), numbers(1, 10_000), None)
    assert not gpu_kernels._fits(norm, x.astype(mx.float16), memory)
    assert not gpu_kernels._fits(norm, x, memory._replace(block=DepthwiseConv1d(512, 41, 0)))
    assert not gpu_kernels._fits(norm, x, memory._replace(first=1023))
    wide = LayerNorm(1030, 1e-12)  # two at a time are more threads than have registers
    assert not gpu_kernels._fits(wide, numbers(4, 1030), None)


def test_lengths_lie_side_by_side():
    """What MLX would copy for every kernel that reads it: an array of which one number stands for several."""
    lengths = padding_of(length_mask(mx.array([3, 1]), 3)).lengths
    assert np.asarray(lengths).strides == (16, 4)
    assert lengths.tolist() == [[3] * 4, [1] * 4]
