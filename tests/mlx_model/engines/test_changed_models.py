"""Encoder and decoder by an engine after the model was changed. Oracle: the plain modules, which take every change.

Every number that any module holds, parameters replaced and written into, layers and functions exchanged: by the CPU
engine, in lanes, and in the GPU's way (run on the CPU device).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mlx_model import engines
from mlx_model.machine.blas import mx, tree_flatten
from mlx_model.models.paraformer import Model
from tests.mlx_model.engines.test_cpu_rows import EXTRA, WIDE, packed_model
from tests.mlx_model.engines.test_lanes import random_model
from tests.mlx_model.engines.ways import WAYS, needs_engine, ways

CONFIG = dataclasses.replace(
    EXTRA, encoder=dataclasses.replace(EXTRA.encoder, num_blocks=2, sanm_shfit=1), predictor_class="CifPredictor"
)
LENGTHS = [21, 9]



def made(config: Any = CONFIG) -> Model:
    model = random_model(config)
    for name in ("weight", "bias"):  # no decision near an edge, so that rounding changes no count
        model.predictor.cif_output[name] = model.predictor.cif_output[name] * 0.01
    engines.fit(model)
    return model


def outputs(model: Model) -> dict[str, np.ndarray] | str:
    """Return what belongs to the recordings, or that there is nothing."""
    mx.random.seed(1)
    feats = mx.random.normal((len(LENGTHS), max(LENGTHS), 560)) * 0.2
    try:
        output = model(feats, mx.array(LENGTHS))
        counts = np.array(output.token_num)
        mask = np.arange(max(LENGTHS))[:, None] < np.array(LENGTHS)[:, None, None]
        valid = np.arange(counts.max())[:, None] < counts[:, None, None]
        encoder_out, logits = np.array(output.encoder_out), np.array(output.logits)
    except Exception as error:
        return f"raises {type(error).__name__}"
    return {"counts": counts, "encoder_out": np.where(mask, encoder_out, 0), "logits": np.where(valid, logits, 0)}


def agree(model: Model, way: str) -> dict[str, np.ndarray] | str:
    """Assert that an engine does what the plain modules do, and return that."""
    with engines.plain():
        plain = outputs(model)
    with WAYS[way]():
        found = outputs(model)
    if isinstance(plain, str) or isinstance(found, str):
        assert isinstance(plain, str), f"{way} {found}, the modules compute"
        assert isinstance(found, str), f"the modules {plain}, {way} computes"
        return plain
    for name, value in plain.items():
        np.testing.assert_allclose(found[name], value, atol=5e-5, rtol=5e-5, err_msg=f"{way}: {name}")
    return plain


def differ(one: Any, other: Any) -> bool:
    """Return whether two outputs are not the same."""
    if isinstance(one, str) or isinstance(other, str):
        return True
    pairs = [(one[part], other[part]) for part in ("encoder_out", "logits")]
    return any(a.shape != b.shape or float(np.abs(a - b).max()) > 1e-4 for a, b in pairs)


def numbers(model: Model) -> list[tuple[str, str, Any]]:
    """Return (module, attribute, value) of every number of encoder, predictor and decoder."""
    return [
        (name, key, value)
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if name.partition(".")[0] in ("encoder", "predictor", "decoder")
        and not key.startswith("_")
        and isinstance(value, (bool, int, float))
    ]


def others(name: str, key: str, value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if name.endswith("conv1d"):  # MLX's own, whose stride of 0 ends the process
        return [value + 1]
    if isinstance(value, int):
        return [value + 1, value - 1, 2 * value, 0, *([float(value)] if key == "heads" else [])]
    return [value * 2 + 0.125, 0.0] if key != "eps" else [1.0, 0.01]


def module_of(model: Model, name: str) -> Any:
    return dict(model.named_modules())[name]


CHANGES = [(*row[:2], other) for row in numbers(made()) for other in others(*row)]


def test_the_numbers_are_all_there():
    assert {key for _, key, _ in CHANGES} >= {
        "eps", "heads", "residual", "left", "right", "scale", "tail_threshold", "smooth_factor", "l_order",
    }  # fmt: skip


@ways
def test_every_number_reaches_every_engine(way: str):
    model, moved = made(), set()
    before = outputs(model)
    assert not isinstance(before, str)
    for name, key, other in CHANGES:
        module = module_of(model, name)
        value = getattr(module, key)
        setattr(module, key, other)
        try:
            after = agree(model, way)
        except AssertionError as error:
            raise AssertionError(f"{name}.{key} = {other}: {error}") from error
        finally:
            setattr(module, key, value)
        if differ(before, after):
            moved.add(key)
    assert moved >= {"eps", "heads", "residual", "left", "right", "scale"}


@ways
def test_a_window_that_moves_is_moved_in_every_engine(way: str):
    model = made()
    first = agree(model, way)
    for layer in (*model.encoder.layers, *model.decoder.decoders):
        block = layer.self_attn.fsmn_block  # type: ignore[union-attr]
        block.left, block.right = block.left + 2, block.right - 2
    second = agree(model, way)
    assert not isinstance(second, str)
    assert differ(first, second)


def ramp(array: mx.array) -> mx.array:
    """Return other factors for other outputs: the same for all would be lost in the next norm."""
    return mx.linspace(0.5, 2.0, len(array)).reshape(-1, *[1] * (array.ndim - 1))


def replaced(module: Any, name: str) -> None:
    module[name] = module[name] * ramp(module[name])


def written_into(module: Any, name: str) -> None:
    array = module[name]
    array *= ramp(array)


def written_by_index(module: Any, name: str) -> None:
    module[name][3:20] = 0.5


def updated(module: Any, name: str) -> None:
    module.update({name: module[name] + ramp(module[name])})


def written_and_read(module: Any, name: str) -> None:
    array = module[name]
    array += ramp(array)
    mx.eval(array)


def turned(module: Any, name: str) -> None:
    """A parameter whose rows lie apart."""
    module[name] = mx.contiguous((module[name] * ramp(module[name])).T).T


WRITES = [replaced, written_into, written_by_index, updated, written_and_read, turned]
LEAVES = (
    "encoder.encoders0.0.self_attn.linear_q_k_v", "encoder.encoders.0.feed_forward.w_2", "encoder.encoders.0.norm2",
    "encoder.encoders.0.self_attn.fsmn_block", "encoder.after_norm", "decoder.decoders.0.feed_forward.norm",
    "decoder.decoders.0.src_attn.linear_k_v", "decoder.decoders2.0.self_attn.fsmn_block", "decoder.output_layer",
)  # fmt: skip


@pytest.mark.parametrize("write", WRITES)
@ways
def test_parameters_that_change_reach_every_engine(
    write: Callable[[Any, str], None], way: str
):
    model = made()
    before = agree(model, way)
    for name in LEAVES:
        for key, _ in tree_flatten(module_of(model, name).parameters()):
            if key != "bias" or write is not turned:
                write(module_of(model, name), key)
        after = agree(model, way)
        assert not isinstance(before, str)
        assert not isinstance(after, str)
        assert differ(before, after), name
        before = after


@needs_engine
@pytest.mark.parametrize("write", WRITES[:5])
def test_weights_in_their_file_that_change(
    write: Callable[[Any, str], None], tmp_path: Any
):
    """Of a loaded model they are mapped and were never read by MLX."""
    from mlx_model.loading import load
    from tests.mlx_model.machine.test_safetensors import saved

    expected, model = made(), load(saved(tmp_path / "model", made(), CONFIG))
    for name in LEAVES[:2]:
        for each in (expected, model):
            write(module_of(each, name), "weight")
        with engines.plain():
            plain = outputs(expected)
        found = outputs(model)
        assert not isinstance(plain, str)
        assert not isinstance(found, str)
        np.testing.assert_allclose(found["logits"], plain["logits"], atol=5e-5, rtol=5e-5, err_msg=name)


@needs_engine
def test_quantised_layers_that_change():
    model = packed_model(WIDE, 8)
    engines.fit(model)
    linear = model.encoder.encoders[0].feed_forward.w_1
    before = agree(model, "engine")
    linear.scales = linear.scales * 2
    scaled = agree(model, "engine")
    linear.biases += 0.25
    shifted = agree(model, "engine")
    linear.bits = 4
    assert isinstance(agree(model, "engine"), str)
    linear.bits, linear.mode = 8, "nonsense"
    assert isinstance(agree(model, "engine"), str)
    assert differ(before, scaled)
    assert differ(scaled, shifted)


@needs_engine
def test_a_copy_is_computed_with_its_own_parameters():
    model = made()
    twin = copy.deepcopy(model)
    twin.encoder.encoders[0].norm1.eps = 1.0
    twin.encoder.encoders[0].feed_forward.w_1.weight *= 2
    one, two = agree(model, "engine"), agree(twin, "engine")
    assert differ(one, two)
