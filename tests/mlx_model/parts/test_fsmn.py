"""The FSMN in MLX. Oracle: the taps' sum written out in numpy; that the network is FunASR's is test_vad.py's matter."""

from __future__ import annotations

import numpy as np
import pytest

from mlx_model import ops_cpu
from mlx_model.config.parts import FSMNConfig
from mlx_model.machine.blas import mx, tree_flatten
from mlx_model.parts.fsmn import FSMN, FSMNBlock, Softmax

SIZES = {"input_dim": 10, "input_affine_dim": 6, "fsmn_layers": 2, "linear_dim": 8, "proj_dim": 4,
         "output_affine_dim": 6, "output_dim": 5}  # fmt: skip


def config(lorder: int, lstride: int, rorder: int = 0, rstride: int = 0) -> FSMNConfig:
    return FSMNConfig(lorder=lorder, lstride=lstride, rorder=rorder, rstride=rstride, **SIZES)


def random(model, seed: int = 0):
    mx.random.seed(seed)
    model.load_weights([(name, mx.random.normal(value.shape)) for name, value in tree_flatten(model.parameters())])
    return model


def written_out(x: np.ndarray, left: np.ndarray, right: np.ndarray | None, lstride: int, rstride: int) -> np.ndarray:
    """x_t + sum_k left_k x_{t - (K-1-k) lstride} + sum_k right_k x_{t + (k+1) rstride}, zero outside."""
    out = x.copy()
    for t in range(len(x)):
        for k in range(left.shape[1]):
            at = t - (left.shape[1] - 1 - k) * lstride
            out[t] += left[:, k] * x[at] if at >= 0 else 0
        for k in range(0 if right is None else right.shape[1]):
            at = t + (k + 1) * rstride
            out[t] += right[:, k] * x[at] if at < len(x) else 0
    return out


@pytest.mark.parametrize("short", [0, 150])
@pytest.mark.parametrize("sizes", [(3, 1), (4, 2), (1, 1), (20, 1), (3, 1, 2, 1), (2, 3, 3, 2), (3, 1, 1, 4)])
def test_taps_are_what_funasr_s_convolutions_sum(sizes, short: int, monkeypatch):
    """Both ways of computing them: the one for chunks and the one for long recordings."""
    monkeypatch.setattr(ops_cpu, "SHORT", short)
    block = random(FSMNBlock(4, config(*sizes)))
    x = np.random.default_rng(1).standard_normal((17, 4)).astype(np.float32)
    out, _ = block(mx.array(x[None]))
    right = None if block.conv_right is None else np.array(block.conv_right.weight)[..., 0, 0]
    expected = written_out(x, np.array(block.conv_left.weight)[..., 0, 0], right, sizes[1], [*sizes, 0, 0][3])
    # Sums of at most 24 products of numbers around 1, in float32.
    np.testing.assert_allclose(np.array(out)[0], expected, atol=1e-5)


@pytest.mark.parametrize("sizes", [(3, 1), (4, 2), (1, 1)])
@pytest.mark.parametrize("cut", [1, 2, 5])
def test_a_stream_equals_the_whole(sizes, cut: int):
    model = random(FSMN(config(*sizes)))
    x = mx.random.normal((1, 13, 10))
    cache: dict = {}
    parts = [model(x[:, at : at + cut], cache) for at in range(0, 13, cut)]
    # The same float32 sums; matrix products of other sizes add up in another order.
    np.testing.assert_allclose(np.array(mx.concatenate(parts, axis=1)), np.array(model(x)), atol=1e-6)
    assert {name: value.shape for name, value in cache.items()} == {
        f"cache_layer_{layer}": (1, (sizes[0] - 1) * sizes[1], 4) for layer in range(2)
    }


def test_in_linear1_has_no_activation():
    model = random(FSMN(config(2, 1)))
    x = mx.random.normal((1, 3, 10))
    inner = model.in_linear1(x)
    assert float(inner.min()) < 0  # a ReLU here would have cut it
    expected = mx.maximum(model.in_linear2(inner), 0)
    for block in model.fsmn:
        expected = block(expected)
    logits = model.out_linear2(model.out_linear1(expected))
    np.testing.assert_allclose(np.array(model(x)), np.array(mx.softmax(logits, axis=-1)), atol=1e-6)


@pytest.mark.parametrize(("dtype", "error"), [(mx.float16, 4e-4), (mx.bfloat16, 3e-3), (mx.float32, 6e-7)])
def test_probabilities_of_16_bit_scores_are_computed_in_float32(dtype: mx.Dtype, error: float):
    """Oracle: numpy in float64. The errors are a rounding of the result; in 16 bits MLX's own are 2e-3 and 1.3e-2."""
    scores = mx.array(np.random.default_rng(0).standard_normal((1, 50, 248)) * 5).astype(dtype)
    exact = np.exp(np.array(scores.astype(mx.float32), dtype=np.float64))
    exact /= exact.sum(axis=-1, keepdims=True)
    found = Softmax()(scores)
    assert found.dtype == dtype
    assert np.linalg.norm(np.array(found.astype(mx.float32)) - exact) < error * np.linalg.norm(exact)
