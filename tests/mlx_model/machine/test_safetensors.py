"""Weights that are computed with where they lie in their file. Oracle: the same weights in MLX's memory."""

from __future__ import annotations

import dataclasses
import gc
import json
import threading
from pathlib import Path

import numpy as np
import pytest

import mlx_model
from mlx_model import engines
from mlx_model.config.paraformer import ParaformerConfig
from mlx_model.engines import cpu_engine, lanes
from mlx_model.errors import CheckpointError
from mlx_model.machine.blas import mx, tree_flatten
from mlx_model.machine.safetensors import header_of, map_tensors, views_of
from mlx_model.models.paraformer import Model
from tests.mlx_model.asr_models import TOKENS
from tests.mlx_model.engines.test_cpu_rows import WIDE, packed_model
from tests.mlx_model.engines.test_lanes import random_model

engine_only = pytest.mark.skipif(not cpu_engine.available(), reason="needs x86-64 with AVX2, and a C compiler")


def saved(folder: Path, model: Model, config: ParaformerConfig, shards: int = 1) -> Path:
    """Write a converted directory, its tensors spread over so many files."""
    folder.mkdir()
    weights = dict(tree_flatten(model.parameters()))
    files = ["model.safetensors"] if shards == 1 else [f"model-{part}.safetensors" for part in range(shards)]
    placed = {name: files[number % shards] for number, name in enumerate(sorted(weights))}
    for file in files:
        mx.save_safetensors(str(folder / file), {name: weights[name] for name in weights if placed[name] == file})
    if shards > 1:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}), "utf-8")
    (folder / "config.json").write_text(json.dumps(config.to_dict()), "utf-8")
    (folder / "tokens.json").write_text(json.dumps(TOKENS, ensure_ascii=False), "utf-8")
    return folder


def quantised(bits: int) -> tuple[Model, ParaformerConfig]:
    model = packed_model(WIDE, bits)
    names = [name.removesuffix(".scales") for name, _ in tree_flatten(model.parameters()) if name.endswith(".scales")]
    return model, dataclasses.replace(WIDE, quantization={"bits": bits, "group_size": 32, "modules": names})


@engine_only
@pytest.mark.parametrize(
    ("bits", "dtype"),
    [(None, mx.float32), (8, mx.float32), (6, mx.float32), (4, mx.float32), (None, mx.float16), (None, mx.bfloat16),
     (8, mx.float16), (4, mx.bfloat16)],
)  # fmt: skip
@pytest.mark.parametrize("shards", [1, 3])
def test_a_loaded_model_computes_from_its_files(tmp_path: Path, bits: int | None, dtype: mx.Dtype, shards: int):
    made, config = (random_model(WIDE), WIDE) if bits is None else quantised(bits)
    made.set_dtype(dtype)
    directory = saved(tmp_path / "model", made, config, shards)
    model, feats, sizes = mlx_model.load(directory), mx.random.normal((2, 60, 560)), mx.array([60, 23])
    engines.fit(made)
    got, expected = (np.array(side(feats, sizes).logits.astype(mx.float32)) for side in (model, made))
    np.testing.assert_array_equal(got, expected)
    assert engines.in_force(model)[0] == "CPU engine"
    for name in sorted(engines.mappable(model)):
        weight = dict(tree_flatten(made.parameters()))[name]
        assert mx.array_equal(dict(tree_flatten(model.parameters()))[name], weight)


@engine_only
def test_mlx_holds_none_of_the_mapped_weights(tmp_path: Path):
    size = dataclasses.replace(WIDE.encoder, linear_units=4096, num_blocks=3)
    config = dataclasses.replace(WIDE, encoder=size)
    directory = saved(tmp_path / "model", random_model(config), config)
    feats, sizes = mx.random.normal((1, 60, 560)), mx.array([60])
    mx.eval(feats)
    gc.collect()  # other tests' models
    before = mx.get_active_memory()
    model = mlx_model.load(directory)
    output = model(feats, sizes)
    mx.eval(output)
    used = mx.get_active_memory() - before
    assert used < 0.25 * (directory / "model.safetensors").stat().st_size
    with lanes.exactly(1):
        mx.eval(model(feats, sizes))
    assert mx.get_active_memory() - before > 0.75 * (directory / "model.safetensors").stat().st_size  # it can tell


@engine_only
def test_any_thread_may_call_a_loaded_model(tmp_path: Path):
    model = mlx_model.load(saved(tmp_path / "model", random_model(WIDE), WIDE))
    waveform = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.1
    expected, found = model.recognize([waveform]), []
    thread = threading.Thread(target=lambda: found.append(model.recognize([waveform])))
    thread.start()
    thread.join()
    assert found == [expected]


@engine_only
def test_a_file_that_ends_early_is_refused(tmp_path: Path):
    directory = saved(tmp_path / "model", random_model(WIDE), WIDE)
    path = directory / "model.safetensors"
    whole = path.read_bytes()
    for size in (len(whole) - 4, len(whole) // 2, 20):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"not a whole safetensors file|truncated"):
            mlx_model.load(directory)


@engine_only
def test_what_cannot_be_mapped_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    directory = saved(tmp_path / "model", random_model(WIDE), WIDE)
    feats, sizes = mx.random.normal((1, 60, 560)), mx.array([60])
    expected = np.array(mlx_model.load(directory)(feats, sizes).logits)

    def refused(*_args: object, **_options: object) -> None:
        raise OSError(19, "No such device")

    monkeypatch.setattr("mmap.mmap", refused)
    model = mlx_model.load(directory)
    assert engines.in_force(model)[0] == "CPU engine"
    np.testing.assert_array_equal(np.array(model(feats, sizes).logits), expected)


def test_views_of_what_can_be_computed_with(tmp_path: Path):
    arrays = {
        "a": mx.arange(12, dtype=mx.float32).reshape(3, 4),
        "b": mx.arange(5, dtype=mx.uint32),
        "half": mx.array([1.5, -2.0, 6e-8], mx.float16),
        "brain": mx.array([1.5, -2.0, 1e38], mx.bfloat16),
        "signed": mx.arange(3, dtype=mx.int32),
        "other": mx.zeros((3,)),
    }
    path = tmp_path / "t.safetensors"
    mx.save_safetensors(str(path), arrays)
    found = map_tensors(path, {"a", "b", "half", "brain", "signed", "absent"})
    assert found.keys() == {"a", "b", "half", "brain"}
    arrays["brain"] = arrays["brain"].view(mx.uint16)  # NumPy has none
    for name, array in found.items():
        np.testing.assert_array_equal(array, np.array(arrays[name]))
        assert array.dtype == np.array(arrays[name]).dtype
        assert not array.flags.writeable
        assert not array.flags.owndata


def test_a_files_bytes_and_the_file_give_the_same(tmp_path: Path):
    """Oracle: what was written. A scalar and an empty tensor have views too."""
    from safetensors.numpy import save

    arrays = {"s": np.array(7.0), "e": np.zeros((0, 4), np.float32), "b": np.array([True, False])}
    path = tmp_path / "t.safetensors"
    path.write_bytes(save(arrays, {"made": "here"}))
    views = views_of(np.fromfile(path, np.uint8), path)
    assert {name: (entry.code, entry.shape) for name, entry in header_of(path).items()} == {
        "s": ("F64", ()), "e": ("F32", (0, 4)), "b": ("BOOL", (2,)),
    }  # fmt: skip
    assert views.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(views[name], array)


@pytest.mark.parametrize("read", [header_of, lambda path: map_tensors(path, {"a"})])
def test_surplus_bytes_are_damage_to_every_reader(tmp_path: Path, read):
    path = tmp_path / "t.safetensors"
    mx.save_safetensors(str(path), {"a": mx.zeros((3,))})
    size = path.stat().st_size
    with path.open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(CheckpointError, match=f"has {size + 1} bytes, its header describes {size}: truncated or dam"):
        read(path)
