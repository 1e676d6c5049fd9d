"""--bits. Oracles: nn.quantize on the unquantised model, MLX's own dequantisation, the source bit for bit elsewhere."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_model import CONFIG, TOKENS, random_tensors

import convert
from mlx_model.errors import UsageError

mx = pytest.importorskip("mlx.core")
nn = pytest.importorskip("mlx.nn")

WIDTH, UNITS = 64, 96  # 96 is divisible by 32 only


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


def test_what_is_quantised_and_what_is_not(wide_dir, tmp_path):
    report = convert.convert(wide_dir, tmp_path / "out", bits=4, group_size=64)
    settings = report.config["quantization"]
    assert (settings["bits"], settings["group_size"]) == (4, 64)
    assert "encoder.encoders.0.self_attn.linear_q_k_v" in settings["modules"]
    for kept in ("predictor.cif_output", "decoder.output_layer", "encoder.encoders.0.feed_forward.w_2",
                 "encoder.encoders0.0.self_attn.linear_q_k_v"):  # fmt: skip
        assert kept not in settings["modules"]
    assert any("predictor.cif_output" in note and "protected" in note for note in report.notes)
    assert any("input width 96 is not divisible by the group size 64" in note for note in report.notes)
    assert json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))["quantization"] == settings
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert found["encoder.encoders.0.self_attn.linear_q_k_v.weight"].dtype == np.uint32
    assert found["decoder.output_layer.weight"].shape == (len(TOKENS), WIDTH)


def test_half_precision_and_bits_together(wide_dir, tmp_path):
    convert.convert(wide_dir, tmp_path / "out", dtype="bfloat16", bits=8, group_size=32)
    found = mx.load(str(tmp_path / "out" / "model.safetensors"))
    assert found["decoder.decoders.0.src_attn.linear_q.scales"].dtype == mx.bfloat16
    assert found["frontend.cmvn_scale"].dtype == mx.float32


def test_a_model_too_narrow_for_any_group_is_refused(model_dir, tmp_path):
    with pytest.raises(UsageError, match="no linear layer"):
        convert.convert(model_dir, tmp_path / "out", bits=4)
