"""Int8 dynamic products. Oracles: NumPy in int64 for sums, the closed form in float32 for what is made of them, and MLX
on the same integers for a whole model."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from mlx_model import engines, loading
from mlx_model.engines import cpu_engine, cpu_int8
from mlx_model.engines.cpu_bodies import runs
from mlx_model.engines.cpu_int8 import BODIES, Int8Product
from mlx_model.machine.blas import mx
from mlx_model.machine.numerics import precision
from mlx_model.parts.basic import Linear
from mlx_model.parts.int8 import MOST_INPUTS, STEPS, Int8Linear, can_round, round_weight
from tests.mlx_model.engines.test_cpu_engine import normal
from tests.mlx_model.engines.test_cpu_rows import WIDE
from tests.mlx_model.engines.test_lanes import random_model

needs_engine = pytest.mark.skipif(not cpu_engine.available(), reason="the engine's threads are not here")
HERE = [name for name, body in BODIES.items() if not body.flags or runs(body)]  # others: by the same C, elsewhere
# Inputs: part of a chunk, whole ones, more than one slab. Outputs: less than a panel, more than a unit. Rows: a tile's
# part, whole tiles, more than one block.
SHAPES = [(1, 1, 1), (33, 5, 7), (64, 70, 13), (560, 33, 12), (1100, 150, 200)]


@pytest.fixture(params=HERE)
def body(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let one body compute."""
    library = cpu_int8.load(BODIES[request.param])
    monkeypatch.setattr(cpu_int8, "kernels", lambda: library)
    return request.param


def layer(weight: np.ndarray, scales: np.ndarray, bias: np.ndarray | None = None) -> Int8Linear:
    made = Int8Linear(weight.shape[1], len(weight), bias=bias is not None)
    made.weight, made.scales = mx.array(weight), mx.array(scales)
    if bias is not None:
        made.bias = mx.array(bias)
    return made


def integers(seed: int, *shape: int, largest: int = STEPS) -> np.ndarray:
    return np.random.default_rng(seed).integers(-largest, largest + 1, shape)


@needs_engine
@pytest.mark.parametrize("largest", [64, 127], ids=["sums of 16 bits", "larger"])
@pytest.mark.parametrize(("inputs", "outputs", "rows"), SHAPES)
def test_sums_are_those_of_integers(body: str, inputs: int, outputs: int, rows: int, largest: int):
    """A row with 127 in it is rounded to itself; sums are returned as float32."""
    weight, x = integers(0, outputs, inputs, largest=largest), integers(1, rows, inputs)
    x[:, 0] = STEPS
    product = Int8Product(layer(weight.astype(np.int8), np.ones(outputs, np.float32)))
    found = product(x.astype(np.float32))[:, :outputs]
    np.testing.assert_array_equal(found, (x.astype(np.int64) @ weight.T.astype(np.int64)).astype(np.float32))


@needs_engine
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sums_do_not_saturate(body: str, sign: int):
    """Every product 127 x 127; the second layer's neighbours are 128 together: the most that 16 bits are given."""
    x = np.full((3, 2048), STEPS, np.float32) * sign
    x[1, ::2] *= -1
    for weight in (np.full((17, 2048), STEPS), np.tile([127, 1], (17, 1024)), np.full((17, 2048), -64)):
        product = Int8Product(layer(weight.astype(np.int8), np.ones(17, np.float32)))
        exact = (x.astype(np.int64) @ weight.T.astype(np.int64)).astype(np.float32)
        np.testing.assert_array_equal(product(x)[:, :17], exact)


def closed_form(x: np.ndarray, weight: np.ndarray, scales: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """The file's formula: everything in float32 but the sums."""
    largest = np.abs(x).max(axis=1, keepdims=True)
    steps = np.rint(x * (np.float32(STEPS) / largest)).astype(np.int64)
    y = (steps @ weight.T.astype(np.int64)).astype(np.float32) * (scales * (largest / np.float32(STEPS)))
    return y if bias is None else y + bias


@needs_engine
@pytest.mark.parametrize("biased", [True, False])
def test_what_is_made_of_sums_is_the_closed_form(body: str, biased: bool):
    """To the bit: bias, ReLU, and what is added to; a row alone is the row in a batch."""
    weight, scales = round_weight(normal(0, 96, 600))  # whole panels of every body, so that `add` is given whole rows
    bias, x, before = normal(1, 96) if biased else None, normal(2, 50, 600), normal(3, 50, 96)
    product = Int8Product(layer(weight, scales, bias))
    y = closed_form(x, weight, scales, bias)
    np.testing.assert_array_equal(product(x), y)
    np.testing.assert_array_equal(product(x, relu=True), np.maximum(y, 0))
    np.testing.assert_array_equal(product(x[7:8]), y[7:8])
    added = before.copy()
    product.add(x, added)
    np.testing.assert_array_equal(added, y + before)
    wider = np.concatenate([x, normal(4, 50, 96)], axis=1)  # of which x is some columns
    np.testing.assert_array_equal(product(wider[:, :600]), y)


@needs_engine
def test_odd_rows(body: str):
    """Zeros and numbers too small to have steps give the bias; NaN and infinity stay visible, in their row alone."""
    weight, scales = round_weight(normal(0, 8, 40))
    x, bias = normal(1, 5, 40), normal(2, 8)
    x[0], x[1], x[2, 3], x[3, 5] = 0.0, 1e-38, np.nan, np.inf
    found = Int8Product(layer(weight, scales, bias))(x)[:, :8]
    np.testing.assert_array_equal(found[:2], np.stack([bias, bias]))
    assert np.isnan(found[2:4]).all()
    np.testing.assert_array_equal(found[4:], closed_form(x[4:], weight, scales, bias))


@needs_engine
def test_mlx_computes_the_same_bits():
    """Sums below 2^24 are exact in float32; both round after each operation. Zeros and NaN, too."""
    weight, scales = round_weight(normal(0, 70, 560))
    linear, x = layer(weight, scales, normal(1, 70)), normal(2, 9, 560)
    x[0], x[1, 4] = 0.0, np.nan
    found = cpu_engine.operation(linear)(x)[:, :70]
    with engines.plain():
        np.testing.assert_array_equal(np.array(linear(mx.array(x))), found)


@pytest.mark.parametrize("kind", ["normal", "outliers", "even", "odd"])
def test_weights_are_rounded_to_the_nearest_step(kind: str):
    """Steps by hand: |w| / 127 at least, and neighbours 128 together at most; half a step off at most."""
    weight = normal(0, 40, 301 if kind == "odd" else 300)
    weight = np.abs(weight) // 1 + 1 if kind == "even" else weight
    weight[:, 10] *= 30.0 if kind == "outliers" else 1.0
    weight[3] = 0.0
    codes, scales = round_weight(weight)
    wide = np.abs(codes.astype(int))
    assert wide.max() <= STEPS
    pairs = np.pad(wide, [(0, 0), (0, wide.shape[1] % 2)]).reshape(len(wide), -1, 2).sum(axis=2)
    assert pairs.max() <= 128
    assert pairs[[row for row in range(40) if row != 3]].max(axis=1).min() >= 127  # and no smaller than need be
    assert (np.abs(codes * scales[:, None].astype(float) - weight) <= 0.5001 * scales[:, None]).all()
    assert scales[3] == 0.0
    assert not codes[3].any()


def test_a_sum_that_may_leave_32_bits_is_not_taken():
    assert can_round((8, MOST_INPUTS))
    assert not can_round((8, MOST_INPUTS + 1))
    assert MOST_INPUTS * STEPS * STEPS < 2**31


def rounded_model():
    model = random_model(WIDE)
    names = [f"{part}.{name}" for part in ("encoder", "decoder") for name, each in model[part].named_modules()
             if isinstance(each, Linear) and name != "output_layer"]  # fmt: skip
    layers = dict(model.named_modules())
    made = {name: Int8Linear.from_linear(layers[name]) for name in names}
    loading.put(model, made)
    return model


@needs_engine
def test_a_model_is_that_of_mlx():
    """1e-3 of the largest: attention and norms round otherwise; an input near half a step may fall to either side."""
    model = rounded_model()
    engines.fit(model)
    mx.random.seed(1)
    feats, sizes = mx.random.normal((2, 31, 560)), mx.array([31, 17])
    with engines.plain():
        plain = np.array(model.encoder(feats, mx.arange(31)[None] < sizes[:, None]))
    found = np.array(model.encoder(feats, mx.arange(31)[None] < sizes[:, None]))
    np.testing.assert_allclose(found[0], plain[0], atol=1e-3 * np.abs(plain).max())
    np.testing.assert_allclose(found[1, :17], plain[1, :17], atol=1e-3 * np.abs(plain).max())
    assert f"int8 by {cpu_int8.in_words()}" in model.engine
    assert precision(model) == "int8 dynamic, rest float32"


@needs_engine
def test_changes_are_taken_at_once():
    """A scale or weight that was replaced or written into. Oracle: the layer by MLX."""
    linear = layer(*round_weight(normal(0, 40, 64)), normal(1, 40))
    x = normal(2, 5, 64)
    for change in (lambda: None, lambda: linear.update({"scales": linear.scales * 2}), lambda: linear.update(
        {"weight": -linear.weight}), lambda: linear.update({"bias": linear.bias + 1})):  # fmt: skip
        change()
        found = cpu_engine.operation(linear)(x)[:, :40]
        np.testing.assert_array_equal(np.array(linear.by_mlx(mx.array(x))), found)
    linear.scales = linear.scales[:3]  # they no longer fit
    assert cpu_engine.operation(linear) is None


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ({"avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni"}, "avx512-vnni"),
        ({"avx2", "fma", "f16c", "avx_vnni"}, "avx-vnni"),
        ({"avx2", "fma", "f16c"}, "avx2"),
        (set(), "portable"),
    ],
)
def test_a_processor_gets_the_body_of_its_instructions(flags: set[str], name: str, monkeypatch: pytest.MonkeyPatch):
    """And where the compiler does not know those, the next one."""
    asked: list[str] = []

    def load(body: cpu_int8.Body) -> ctypes.CDLL:
        asked.append(body.words)
        if len(asked) == 1 and flags:
            raise OSError("unknown option")
        return ctypes.CDLL(None)

    monkeypatch.setattr(cpu_int8, "runs", lambda body: body.flags <= flags)
    monkeypatch.setattr(cpu_int8, "load", load)
    found, _ = cpu_int8.best()
    able = [each for each, body in BODIES.items() if body.automatic and body.flags <= flags]
    assert asked[0] == BODIES[name].words
    assert found == (able[1] if flags else name)
