"""--bits. Oracles: mx.quantize on the source's weights, nn.quantize on the unquantised model, the source elsewhere."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_model import CONFIG, TOKENS, random_tensors

import convert
from convert import quantize
from convert.packing import Affine
from mlx_model.errors import OutputError, UsageError

mx = pytest.importorskip("mlx.core")
nn = pytest.importorskip("mlx.nn")
quantized = pytest.importorskip("mlx_model.parts.quantized")

WIDTH, UNITS = 64, 96  # the features are 12 wide: neither 32 nor 64 divides all widths


@pytest.fixture
def wide_dir(make_model, monkeypatch):
    import tiny_model

    monkeypatch.setattr(tiny_model, "WIDTH", WIDTH)
    monkeypatch.setattr(tiny_model, "UNITS", UNITS)
    config = json.loads(json.dumps(CONFIG))
    config["encoder_conf"] |= {"output_size": WIDTH, "linear_units": UNITS}
    config["decoder_conf"] |= {"linear_units": UNITS}
    config["predictor_conf"] |= {"idim": WIDTH}
    return make_model(config=config, tensors=random_tensors(tiny_model.torch_shapes()))


@pytest.mark.parametrize(("bits", "group_size"), [(8, 32), (6, 32), (4, 32), (4, 64)])
def test_quantised_weights_are_those_of_nn_quantize(wide_dir, tmp_path, bits, group_size):
    mlx_model = pytest.importorskip("mlx_model")
    convert.convert(wide_dir, tmp_path / "plain")
    report = convert.convert(wide_dir, tmp_path / "out", bits=bits, group_size=group_size)
    modules = report.config["quantization"]["modules"]
    model = mlx_model.load(tmp_path / "plain")
    nn.quantize(model, group_size=group_size, bits=bits, class_predicate=lambda name, module: name in modules)
    from mlx.utils import tree_flatten

    expected, found = dict(tree_flatten(model.parameters())), mx.load(str(tmp_path / "out" / "model.safetensors"))
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert mx.array_equal(found[name], array).item(), name
    loaded = dict(tree_flatten(mlx_model.load(tmp_path / "out").parameters()))
    assert all(mx.array_equal(loaded[name], array).item() for name, array in expected.items())


@pytest.mark.parametrize(("bits", "group_size"), [(8, 32), (6, 64), (4, 128)])
def test_zeros_fill_the_last_group_and_change_no_result(wide_dir, tmp_path, bits, group_size):
    """Oracles: mx.quantize on NumPy's padding, scales and biases in 16 bits; the product with the restored weights."""
    mlx_model = pytest.importorskip("mlx_model")
    convert.convert(wide_dir, tmp_path / "plain")
    convert.convert(wide_dir, tmp_path / "out", bits=bits, group_size=group_size)
    name = "decoder.decoders.0.feed_forward.w_2"
    source = load_file(tmp_path / "plain" / "model.safetensors")[f"{name}.weight"]
    assert source.shape == (WIDTH, UNITS)
    filled = np.pad(source, [(0, 0), (0, -UNITS % group_size)])
    packed, *factors = mx.quantize(mx.array(filled), group_size=group_size, bits=bits)
    parts = (packed, *(factor.astype(mx.float16) for factor in factors))
    found = mx.load(str(tmp_path / "out" / "model.safetensors"))
    for part, expected in zip(("weight", "scales", "biases"), parts, strict=True):
        assert mx.array_equal(found[f"{name}.{part}"], expected).item(), part
    layer = mlx_model.load(tmp_path / "out").decoder.decoders[0].feed_forward.w_2
    x = np.random.default_rng(0).standard_normal((2, 5, UNITS)).astype(np.float32)
    exact = (packed, *(factor.astype(mx.float32) for factor in parts[1:]))
    restored = np.array(mx.dequantize(*exact, group_size=group_size, bits=bits))[:, :UNITS]
    # float32 sums of 96 products: a few units in the last place of numbers around 10
    np.testing.assert_allclose(np.array(layer(mx.array(x))), x @ restored.T, atol=2e-5)


def test_what_is_quantised_and_what_is_not(wide_dir, tmp_path):
    report = convert.convert(wide_dir, tmp_path / "out", bits=4, group_size=64)
    settings = report.config["quantization"]
    assert (settings["bits"], settings["group_size"]) == (4, 64)
    assert "encoder.encoders.0.self_attn.linear_q_k_v" in settings["modules"]
    assert "encoder.encoders.0.feed_forward.w_2" in settings["modules"]  # 96 wide: 128 with zeros
    for kept in ("predictor.cif_output", "decoder.output_layer"):
        assert kept not in settings["modules"]
    assert any("predictor.cif_output" in note and "protected" in note for note in report.notes)
    assert json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))["quantization"] == settings
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert found["encoder.encoders.0.self_attn.linear_q_k_v.weight"].dtype == np.uint32
    assert found["decoder.output_layer.weight"].shape == (len(TOKENS), WIDTH)


def test_half_precision_and_bits_together(wide_dir, tmp_path):
    convert.convert(wide_dir, tmp_path / "out", dtype="bfloat16", bits=8, group_size=32)
    found = mx.load(str(tmp_path / "out" / "model.safetensors"))
    assert found["decoder.decoders.0.src_attn.linear_q.scales"].dtype == mx.bfloat16
    assert found["frontend.cmvn_scale"].dtype == mx.float32


def test_a_layer_that_would_get_no_smaller_stays(model_dir, tmp_path):
    """By hand: a row of 8 takes 32 bytes; 64 codes of 4 bits, a scale and a bias 40. A row of 12 takes 48."""
    report = convert.convert(model_dir, tmp_path / "out", bits=4, group_size=64)
    assert "encoder.encoders0.0.self_attn.linear_q_k_v" in report.config["quantization"]["modules"]
    assert "encoder.encoders.0.self_attn.linear_q_k_v" not in report.config["quantization"]["modules"]
    assert any("take no less room at input width 8" in note for note in report.notes)


def test_a_model_that_would_get_no_smaller_is_refused(model_dir, tmp_path):
    with pytest.raises(UsageError, match="no linear layer gets smaller"):
        convert.convert(model_dir, tmp_path / "out", bits=4, group_size=128)


def quantised(tmp_path: Path, size: float, dtype: str, bits: int) -> list[Path]:
    """Quantise one weight whose groups lie far apart in size, the last of them zeros; what was written is verified."""
    mx.random.seed(1)
    weight = mx.random.normal((24, 96)) * size * mx.repeat(mx.array([1e-3, 1.0, 0.0]), 32)
    source = tmp_path / "source.safetensors"
    mx.save_safetensors(str(source), {"layer.weight": weight.astype(getattr(mx, dtype))}, {"format": "mlx"})
    (tmp_path / "out").mkdir(exist_ok=True)
    modules = {"layer": Affine(bits=bits, group_size=32)}
    return quantize.quantize_files([source], tmp_path / "out", modules, limit=1 << 30)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("bits", [8, 6, 4])
@pytest.mark.parametrize("size", [1e-6, 1e-4, 1e-2, 1.0, 100.0])
def test_what_rounding_explains_passes(tmp_path, dtype, bits, size):
    """The smallest scales are below float16's normal numbers, or zero. Zeros are read back as zeros."""
    [file] = quantised(tmp_path, size, dtype, bits)
    parts = [mx.load(str(file))[f"layer.{part}"] for part in ("weight", "scales", "biases")]
    restored = mx.dequantize(*parts, group_size=32, bits=bits)
    assert restored.shape == (24, 96)
    assert not mx.any(restored[:, 64:])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("bits", [8, 6, 4])
@pytest.mark.parametrize("part", ["weight", "scales", "biases"])
def test_what_rounding_does_not_explain_fails(tmp_path, monkeypatch, dtype, bits, part):
    """One code off by half of the range, or one scale or bias by a half."""
    right = quantized.quantize_weight

    def damaged(weight, group_size, bits):
        packed, scales, biases = right(weight, group_size, bits)
        if part == "weight":
            codes = np.array(packed)
            codes[3, bits] ^= np.uint32(1 << bits - 1)  # the highest bit of the second group's first code
            return mx.array(codes), scales, biases
        factor = mx.where(mx.arange(scales.size).reshape(scales.shape) == 4, 1.5, 1.0)  # row 1, second group
        return packed, *(value * factor.astype(value.dtype) if name == part else value
                         for name, value in (("scales", scales), ("biases", biases)))  # fmt: skip

    monkeypatch.setattr(quantized, "quantize_weight", damaged)
    with pytest.raises(OutputError, match=r"'layer\.weight' is off by"):
        quantised(tmp_path, 1.0, dtype, bits)


def test_int8_is_what_is_stored(wide_dir, tmp_path):
    """Oracle: NumPy on the unquantised conversion; everything else bit for bit. And what it is called."""
    mlx_model = pytest.importorskip("mlx_model")
    convert.convert(wide_dir, tmp_path / "plain")
    report = convert.convert(wide_dir, tmp_path / "out", int8=True)
    settings = report.config["quantization"]
    assert settings["mode"] == "int8"
    assert not {"decoder.output_layer", "predictor.cif_output"} & set(settings["modules"])
    source = load_file(tmp_path / "plain" / "model.safetensors")
    found = load_file(tmp_path / "out" / "model.safetensors")
    packed = {f"{name}.weight" for name in settings["modules"]}
    assert found.keys() == source.keys() | {f"{name}.scales" for name in settings["modules"]}
    for name in source.keys() - packed:
        np.testing.assert_array_equal(found[name], source[name])
    for name in packed:
        scales = found[name.replace(".weight", ".scales")]
        assert (found[name].dtype, scales.dtype) == (np.int8, np.float32)
        error = np.abs(found[name] * scales[:, None].astype(float) - source[name])
        assert (error <= 0.5001 * scales[:, None]).all()
    assert mlx_model.load(tmp_path / "out").config.precision == "int8"
    assert report.options["int8"] is True
    assert any("int8, inputs rounded as they come" in note for note in report.notes)
    assert "int8" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_int8_is_compared_again(wide_dir, tmp_path):
    """A weight one step off, a scale of another layer: `verify` says which."""
    from convert.packing import packings_of
    from convert.quantize import inexact
    from convert.verify import Written

    convert.convert(wide_dir, tmp_path / "plain")
    settings = convert.convert(wide_dir, tmp_path / "out", int8=True).config["quantization"]
    files = [tmp_path / name / "model.safetensors" for name in ("out", "plain")]
    arrays = load_file(files[0])
    name = "encoder.encoders.0.self_attn.linear_q_k_v.weight"
    for changed in (name, name.replace(".weight", ".scales")):
        other = {key: np.array(value) for key, value in arrays.items()}
        other[changed][3] += 1
        mx.save_safetensors(str(files[0]), {key: mx.array(value) for key, value in other.items()})
        [said] = inexact(Written(files[:1]), Written(files[1:]), packings_of(settings))
        assert f"{name!r} is off by" in said


def test_int8_and_bits_are_two_things(wide_dir, tmp_path):
    from convert.requantize import check_source

    with pytest.raises(UsageError, match="int8 and bits = 8: choose one"):
        convert.convert(wide_dir, tmp_path / "out", bits=8, int8=True)
    convert.convert(wide_dir, tmp_path / "out", int8=True)
    with pytest.raises(UsageError, match=r"quantised already \(int8\)"):
        check_source(tmp_path / "out")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"mode": "int4"}, "mode = 'int4' is not supported"),
        ({"modules": {"decoder.output_layer": 8}}, "must be names of layers"),
        ({"modules": ["encoder.after_norm"]}, "is no linear layer"),
        ({"bits": 8}, "expected null, mode and modules"),
    ],
)
def test_a_configuration_of_int8_that_is_none(wide_dir, tmp_path, changed, said):
    mlx_model = pytest.importorskip("mlx_model")
    from mlx_model.errors import ConfigError

    convert.convert(wide_dir, tmp_path / "out", int8=True)
    path = tmp_path / "out" / "config.json"
    config = json.loads(path.read_text("utf-8"))
    config["quantization"] |= changed
    path.write_text(json.dumps(config), "utf-8")
    with pytest.raises(ConfigError, match=said):
        mlx_model.load(tmp_path / "out")
