"""Rows on the CPU's own kernels. Oracle: the plain modules; quantised weights too."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from mlx_model import engines
from mlx_model.config.paraformer import ParaformerConfig
from mlx_model.engines import cpu_engine
from mlx_model.engines.cpu_bodies import kernels
from mlx_model.engines.cpu_rows import Recordings, Rows
from mlx_model.machine.blas import mx, nn, tree_flatten
from mlx_model.models.paraformer import Model, ParaformerOutput
from mlx_model.parts.basic import DepthwiseConv1d, Linear
from tests.mlx_model.asr_models import CONFIG
from tests.mlx_model.engines.test_lanes import random_model

pytestmark = pytest.mark.skipif(not cpu_engine.available(), reason="needs x86-64 with AVX2, and a C compiler")
WIDE = dataclasses.replace(
    CONFIG,
    encoder=dataclasses.replace(CONFIG.encoder, output_size=64, attention_heads=2, linear_units=272),
    decoder=dataclasses.replace(CONFIG.decoder, attention_heads=2, linear_units=96),  # heads of 32, for every body
    predictor=dataclasses.replace(CONFIG.predictor, idim=64),
)
HALVES = [mx.float16, mx.bfloat16]
# Heads of 24: whole vectors, and neither heads nor rows are whole panels.
RAGGED = dataclasses.replace(
    CONFIG,
    encoder=dataclasses.replace(CONFIG.encoder, output_size=72, attention_heads=3, linear_units=88),
    decoder=dataclasses.replace(CONFIG.decoder, attention_heads=3, linear_units=104),
    predictor=dataclasses.replace(CONFIG.predictor, idim=72),
)
EXTRA = dataclasses.replace(WIDE, decoder=dataclasses.replace(WIDE.decoder, num_blocks=3, sanm_shfit=7))


def exact64(array: mx.array) -> np.ndarray:
    """Return what 16 bits hold, by MLX's exact cast, in float64."""
    return np.array(array.astype(mx.float32), np.float64)


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
    with engines.plain():
        plain = model(feats, sizes)
        mx.eval(plain)
    engines.fit(model)
    assert engines.in_force(model)[0] == "CPU engine"
    return plain, model(feats, sizes)


@pytest.mark.parametrize("config", [WIDE, EXTRA, dataclasses.replace(WIDE, predictor_class="CifPredictor")])
@pytest.mark.parametrize("lengths", [[50], [40, 7, 33], [2, 3], [1], [200, 1]])
def test_a_prepared_model_computes_the_same(config: ParaformerConfig, lengths: list[int]):
    assert_same(*both(config, lengths), lengths)


@pytest.mark.parametrize("lengths", [[50], [40, 7, 33]])
def test_rows_that_are_no_whole_panels(lengths: list[int]):
    """Of the first block, which adds nothing to its input, a product is made for the memory to be added to."""
    if 72 % kernels().engine_lanes():
        pytest.skip("such rows are no whole vectors here: MLX computes them")
    assert_same(*both(RAGGED, lengths), lengths)


def test_hidden_rows_of_whole_pages():
    """They lie apart, and what follows them (a product in the encoder, a norm in the decoder) reads them so."""
    encoder, decoder = (dataclasses.replace(part, linear_units=1024) for part in (WIDE.encoder, WIDE.decoder))
    config = dataclasses.replace(WIDE, encoder=encoder, decoder=decoder)
    hidden = cpu_engine.Product(random_model(config).encoder.encoders[0].feed_forward.w_1)(
        np.zeros((2, 64), np.float32), relu=True
    )
    assert hidden.shape == (2, 1024)
    assert hidden.strides == (4 * 1040, 4)
    assert_same(*both(config, [40, 7, 33]), [40, 7, 33])


def test_a_memory_is_added_to_hidden_rows_of_whole_pages():
    product, block = Linear(16, 1024), DepthwiseConv1d(1024, 3, 0)
    random = np.random.default_rng(0)
    x, v = (random.standard_normal((9, width), np.float32) for width in (16, 1024))
    of = Recordings(starts=np.array([0, 9], np.int32), steps=9, dtype=mx.float32, operations={})
    found = (Rows(of, x).linear(product).relu() + Rows(of, v).memory(block)).array
    remembered = np.array(block(mx.array(v)[None]))[0] + v
    expected = np.maximum(x @ np.array(product.weight).T + np.array(product.bias), 0) + remembered
    np.testing.assert_allclose(found, expected, atol=1e-5)


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
    engines.fit(model)
    mx.random.seed(1)
    feats, lengths = mx.random.normal((4, 90, 560)), [90, 31, 64, 2]
    together = np.array(model.encoder(feats, mx.arange(90)[None] < mx.array(lengths)[:, None]))
    for b, size in enumerate(lengths):
        alone = np.array(model.encoder(feats[b : b + 1, :size], None))
        np.testing.assert_array_equal(alone[0], together[b, :size])
        assert not together[b, size:].any()
    with ThreadPoolExecutor(4) as pool:
        several = list(pool.map(lambda _: model.encoder(feats, None), range(8)))
    assert all(np.array_equal(np.array(several[0]), np.array(other)) for other in several)


def test_sums_are_made_in_place_where_nobody_else_sees_it():
    """Oracle: NumPy; and the addresses of arrays. Whoever still holds an array finds it as it was."""
    linear, given = Linear(32, 32, bias=False), mx.random.normal((1, 7, 32), key=mx.random.key(0))
    linear.weight = mx.eye(32)
    of = Recordings(starts=np.array([0, 7], np.int32), steps=7, dtype=mx.float32, operations={})
    x = Rows(of, cpu_engine.rows_of(given, of.starts))
    before = np.array(given)[0]

    total = x + x.linear(linear)  # `x` is known here, and to the product that waits
    np.testing.assert_array_equal(total.array, 2 * before)
    np.testing.assert_array_equal(x.array, before)

    part, place = total.split(2)[0], total.array.ctypes.data  # a view of it
    again = total + x.linear(linear)
    del total
    np.testing.assert_array_equal(again.array, 3 * before)
    assert again.array.ctypes.data != place
    np.testing.assert_array_equal(part.array, 2 * before[:, :16])

    place = again.array.ctypes.data
    last = again + x.linear(linear)
    del again
    np.testing.assert_array_equal(last.array, 4 * before)
    assert last.array.ctypes.data == place
    np.testing.assert_array_equal(x.array, before)


def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with every stack the engine computes."""
    calls: list[str] = []
    leave = Rows.leave

    def note(self: Rows) -> Any:
        calls.append("left")
        return leave(self)

    monkeypatch.setattr(Rows, "leave", note)
    return calls


@pytest.mark.parametrize("bits", [None, 6])
def test_a_prepared_model_keeps_its_weights_and_is_copied(bits: int | None):
    model = random_model(WIDE) if bits is None else packed_model(WIDE, bits)
    before = dict(tree_flatten(model.parameters()))
    engines.fit(model)
    linear = model.encoder.encoders0[0].self_attn.linear_out
    operation = vars(linear)[cpu_engine.KEPT]
    engines.fit(model)  # nothing more to do
    assert vars(linear)[cpu_engine.KEPT] is operation
    after = dict(tree_flatten(model.parameters()))
    assert before.keys() == after.keys()
    assert all(after[name] is before[name] for name in before)
    assert engines.in_force(copy.deepcopy(model))[0] == "CPU engine"


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
    engines.fit(model)
    first = np.array(model(feats, sizes).logits)
    assert calls == ["left", "left"]
    change(model)
    with engines.plain():
        expected = np.array(model(feats, sizes).logits)
    got = np.array(model(feats, sizes).logits)
    assert got.shape != first.shape or np.abs(got - first).max() > 1e-2
    np.testing.assert_allclose(got, expected, atol=3e-5, rtol=3e-5)
    assert calls[2:] == ["left", "left"]  # at once, with what is new


def test_where_modules_are_watched_the_engine_rests(monkeypatch: pytest.MonkeyPatch):
    calls = watched(monkeypatch)
    model = random_model(WIDE)
    engines.fit(model)
    with engines.plain():
        mx.eval(model(mx.random.normal((1, 40, 560)), mx.array([40])))
    assert not calls


@pytest.mark.parametrize("config", [CONFIG, dataclasses.replace(WIDE, decoder=CONFIG.decoder)])
def test_widths_that_are_no_whole_vectors_are_left_to_mlx(config: ParaformerConfig):
    heads_of_4 = dataclasses.replace(config, decoder=dataclasses.replace(config.decoder, linear_units=20))
    model = Model(heads_of_4)
    engines.fit(model)
    assert "CPU engine" not in engines.in_force(model)


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
    engines.fit(model)
    assert engines.in_force(model)[0] == "CPU engine"
    exact = copy.deepcopy(model)
    exact.set_dtype(mx.float32)
    shapes = (2, 40, 560), (2, 9, 64), (2, 40, 64)
    given = [mx.random.normal(shape, key=mx.random.key(i)).astype(dtype) for i, shape in enumerate(shapes)]
    ways: dict[str, list[np.ndarray]] = {}
    for name, side, forced in (("engine", model, False), ("plain", model, True), ("exact", exact, True)):
        feats, embeds, memory = (x.astype(side.dtype) for x in given)
        with engines.plain() if forced else contextlib.nullcontext():
            hidden, logits = side.encoder(feats, None), side.decoder(embeds, None, memory, None)
        assert hidden.dtype == logits.dtype == side.dtype
        ways[name] = [exact64(hidden), exact64(logits)]
    rounding = 2.0**-8 if dtype == mx.bfloat16 else 2.0**-11
    for engine, plain, truth in zip(*ways.values(), strict=True):
        error, before = (np.linalg.norm(side - truth) / np.linalg.norm(truth) for side in (engine, plain))
        assert error < before
        assert error < 4 * rounding
