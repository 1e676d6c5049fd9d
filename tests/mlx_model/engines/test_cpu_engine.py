"""The CPU engine. Oracles: NumPy in float64 for its kernels, the plain modules for what is built of them.

Quantised weights: MLX's own restoration of them, then NumPy in float64.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import itertools
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model.config.paraformer import ParaformerConfig
from mlx_model.engines import cpu_engine, cpu_network, lanes
from mlx_model.machine.blas import mx, nn, tree_flatten
from mlx_model.machine.safetensors import map_tensors
from mlx_model.models.paraformer import Model, ParaformerOutput
from mlx_model.parts.basic import DepthwiseConv1d, LayerNorm, Linear, restore_weight
from tests.mlx_model.asr_models import CONFIG
from tests.mlx_model.engines.test_lanes import random_model

pytestmark = pytest.mark.skipif(not cpu_engine.available(), reason="needs x86-64 with AVX2, and a C compiler")
WIDE = dataclasses.replace(
    CONFIG,
    encoder=dataclasses.replace(CONFIG.encoder, output_size=64, attention_heads=2, linear_units=272),
    decoder=dataclasses.replace(CONFIG.decoder, attention_heads=4, linear_units=96),
    predictor=dataclasses.replace(CONFIG.predictor, idim=64),
)
EXTRA = dataclasses.replace(WIDE, decoder=dataclasses.replace(WIDE.decoder, num_blocks=3, sanm_shfit=7))
SIZES = st.integers(1, 300)
INPUTS = st.integers(1, 88).map(lambda vectors: 8 * vectors)
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
    finite = np.where(np.isfinite(exact), exact, 0).reshape(-1, 8)
    module = Linear(8, len(finite), bias=False)
    module.weight = mx.where(mx.array(np.isfinite(exact)), codes, 0).astype(dtype).reshape(-1, 8)
    got = cpu_engine.Product(module)(np.eye(8, dtype=np.float32))[:, : len(finite)]
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
    size = vectors * cpu_engine.kernels().engine_width()
    norm = LayerNorm(size)
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


def test_what_is_not_a_number_stays_visible():
    x = normal(0, 7, 64)
    x[3, 5] = np.nan
    at, block = starts(7), DepthwiseConv1d(64, 3, 0)
    norm = LayerNorm(64)
    results = [
        cpu_engine.Product(linear(normal(1, 64, 64), None))(x, relu=True),
        cpu_engine.Norm(norm)(x, norm.eps),
        cpu_engine.attend(x, x, x, at, at, 2),
    ]
    memory = np.zeros_like(x)
    cpu_engine.Memory(block).add(x, at, memory, block.left)
    assert all(np.isnan(result[3]).any() for result in [*results, memory])
    assert np.isnan(results[2][:, :32]).all()  # every query of that head saw the key


def packed_model(config: ParaformerConfig, bits: int) -> Model:
    """Return a random model whose linear layers of encoder and decoder are all quantised."""
    model = random_model(config)
    for part in (model.encoder, model.decoder):
        nn.quantize(part, group_size=32, bits=bits, class_predicate=lambda _, module: isinstance(module, Linear))
    return model


def both(
    config: ParaformerConfig, lengths: list[int], bits: int | None = None
) -> tuple[ParaformerOutput, ParaformerOutput]:
    model = random_model(config) if bits is None else packed_model(config, bits)
    mx.random.seed(1)
    feats, sizes = mx.random.normal((len(lengths), max(lengths), 560)), mx.array(lengths)
    with lanes.exactly(1):
        plain = model(feats, sizes)
        mx.eval(plain)
    model.prepare()
    assert model.encoder._engine is not None
    return plain, model(feats, sizes)


@pytest.mark.parametrize("config", [WIDE, EXTRA, dataclasses.replace(WIDE, predictor_class="CifPredictor")])
@pytest.mark.parametrize("lengths", [[50], [40, 7, 33], [2, 3], [1], [200, 1]])
def test_a_prepared_model_computes_the_same(config: ParaformerConfig, lengths: list[int]):
    assert_same(*both(config, lengths), lengths)


@pytest.mark.parametrize("bits", [8, 6, 4])
def test_a_prepared_quantised_model_computes_the_same(bits: int):
    assert_same(*both(EXTRA, [40, 7, 33], bits), [40, 7, 33])


def assert_same(plain: ParaformerOutput, prepared: ParaformerOutput, lengths: list[int]) -> None:
    counts = plain.token_num.tolist()
    assert prepared.token_num.tolist() == counts
    np.testing.assert_array_equal(np.array(prepared.fires), np.array(plain.fires))
    assert prepared.logits.shape == plain.logits.shape
    for b, (frames, tokens) in enumerate(zip(lengths, counts, strict=True)):  # type: ignore[arg-type]
        for name, size in (("encoder_out", frames), ("logits", tokens)):
            got, expected = (np.array(getattr(side, name))[b, :size] for side in (prepared, plain))
            np.testing.assert_allclose(got, expected, atol=3e-5, rtol=3e-5)


@pytest.mark.parametrize("bits", [None, 8, 4])
def test_no_bit_depends_on_the_batch_or_the_threads(bits: int | None):
    model = random_model(WIDE) if bits is None else packed_model(WIDE, bits)
    model.prepare()
    mx.random.seed(1)
    feats, lengths = mx.random.normal((4, 90, 560)), [90, 31, 64, 2]
    together = np.array(model.encoder(feats, mx.arange(90)[None] < mx.array(lengths)[:, None]))
    for b, size in enumerate(lengths):
        alone = np.array(model.encoder(feats[b : b + 1, :size], None))
        np.testing.assert_array_equal(alone[0], together[b, :size])
        assert not together[b, size:].any()
    with ThreadPoolExecutor(4) as pool:
        several = list(pool.map(lambda _: cpu_network.Encoder()(model.encoder, feats, None), range(8)))
    assert all(np.array_equal(np.array(several[0]), np.array(other)) for other in several)


def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with every part the engine computes."""
    calls: list[str] = []
    for cls in (cpu_network.Encoder, cpu_network.Decoder):

        def call(self: Any, *args: Any, cls: Any = cls, run: Any = cls.__call__) -> Any:
            calls.append(cls.__name__)
            return run(self, *args)

        monkeypatch.setattr(cls, "__call__", call)
    return calls


@pytest.mark.parametrize("bits", [None, 6])
def test_a_prepared_model_keeps_its_weights_and_is_copied(bits: int | None):
    model = random_model(WIDE) if bits is None else packed_model(WIDE, bits)
    before = dict(tree_flatten(model.parameters()))
    model.prepare()
    engine = model.encoder._engine
    model.prepare()  # nothing more to do
    assert model.encoder._engine is engine
    after = dict(tree_flatten(model.parameters()))
    assert before.keys() == after.keys()
    assert all(after[name] is before[name] for name in before)
    assert copy.deepcopy(model).encoder._engine is engine


def replace_weight(model: Model) -> None:
    linear_out = model.encoder.layers[1].self_attn.linear_out
    linear_out.weight = linear_out.weight * 2


def replace_norm(model: Model) -> None:
    model.decoder.update({"after_norm": {"bias": model.decoder.after_norm.bias + 1}})


def replace_layer(model: Model) -> None:
    nn.quantize(model.encoder, group_size=32, bits=4, class_predicate=lambda path, _: path.endswith("w_1"))


@pytest.mark.parametrize("change", [replace_weight, replace_norm, replace_layer])
def test_parameters_that_were_replaced_are_computed_with(
    change: Callable[[Model], None], monkeypatch: pytest.MonkeyPatch
):
    calls = watched(monkeypatch)
    model, feats, sizes = random_model(WIDE), mx.random.normal((1, 40, 560)), mx.array([40])
    model.prepare()
    first = np.array(model(feats, sizes).logits)
    assert calls == ["Encoder", "Decoder"]
    change(model)
    with lanes.exactly(1):
        expected = np.array(model(feats, sizes).logits)
    got = np.array(model(feats, sizes).logits)
    assert got.shape != first.shape or np.abs(got - first).max() > 1e-2
    np.testing.assert_allclose(got, expected, atol=3e-5, rtol=3e-5)
    assert calls[2:] == ["Encoder", "Decoder"]  # at once, with what is new


def test_where_modules_are_watched_the_engine_rests(monkeypatch: pytest.MonkeyPatch):
    calls = watched(monkeypatch)
    model = random_model(WIDE)
    model.prepare()
    with lanes.exactly(1):
        mx.eval(model(mx.random.normal((1, 40, 560)), mx.array([40])))
    assert not calls


@pytest.mark.parametrize("config", [CONFIG, dataclasses.replace(WIDE, decoder=CONFIG.decoder)])
def test_widths_that_are_no_whole_vectors_are_left_to_mlx(config: ParaformerConfig):
    heads_of_4 = dataclasses.replace(config, decoder=dataclasses.replace(config.decoder, linear_units=20))
    model = Model(heads_of_4)
    model.prepare()
    assert model.encoder._engine is None


@pytest.mark.parametrize("bits", [None, 8])
@pytest.mark.parametrize("dtype", HALVES)
def test_a_model_of_16_bits_computes_in_float32(dtype: mx.Dtype, bits: int | None):
    """Oracle: the plain modules in float32, with the same weights. What enters and leaves is rounded to 16 bits.

    Half precision of the plain modules, which round everything, is farther from it.
    """
    model = random_model(EXTRA)
    model.set_dtype(dtype)
    if bits is not None:
        for part in (model.encoder, model.decoder):
            nn.quantize(part, group_size=32, bits=bits, class_predicate=lambda _, module: isinstance(module, Linear))
    model.prepare()
    exact = copy.deepcopy(model)
    exact.set_dtype(mx.float32)
    shapes = (2, 40, 560), (2, 9, 64), (2, 40, 64)
    given = [mx.random.normal(shape, key=mx.random.key(i)).astype(dtype) for i, shape in enumerate(shapes)]
    ways: dict[str, list[np.ndarray]] = {}
    for name, side, forced in (("engine", model, False), ("plain", model, True), ("exact", exact, True)):
        feats, embeds, memory = (x.astype(side.dtype) for x in given)
        with lanes.exactly(1) if forced else contextlib.nullcontext():
            hidden, logits = side.encoder(feats, None), side.decoder(embeds, None, memory, None)
        assert hidden.dtype == logits.dtype == side.dtype
        ways[name] = [exactly(hidden), exactly(logits)]
    rounding = 2.0**-8 if dtype == mx.bfloat16 else 2.0**-11
    for engine, plain, truth in zip(*ways.values(), strict=True):
        error, before = (np.linalg.norm(side - truth) / np.linalg.norm(truth) for side in (engine, plain))
        assert error < before
        assert error < 4 * rounding


def test_other_machines_are_left_to_mlx(monkeypatch: pytest.MonkeyPatch):
    for change in ({"machine": lambda: "aarch64"}, {"flags": set}, {"flags": lambda: {"avx2", "fma"}}):
        cpu_engine.kernels.cache_clear()
        cpu_engine.available.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(platform, "machine", change.get("machine", platform.machine))
            patch.setattr(cpu_engine, "_processor_flags", change.get("flags", cpu_engine._processor_flags))
            model = random_model(WIDE)
            model.prepare()
            assert model.encoder._engine is None
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
