"""LoRA merged into the weights. Oracles: FunASR's own LoRA layers in float64, and the formula by hand."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from tiny_model import CONFIG, WIDTH, random_tensors, torch_shapes

import convert
from convert import lora
from convert.checkpoint import open_checkpoint
from mlx_model.errors import CheckpointError, ConfigError

RNG = np.random.default_rng(0)


class Held:
    """A tensor in memory."""

    dtype = "float32"

    def __init__(self, values):
        self.values = np.asarray(values)
        self.shape = self.values.shape
        self.dtype = str(self.values.dtype)

    def read(self):
        return self.values

    def release(self):
        pass


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def merge(tensors: dict[str, np.ndarray], config: dict) -> tuple[dict[str, np.ndarray], list[str]]:
    notes: list[str] = []
    found = lora.merge(Path("model.pt"), {name: Held(value) for name, value in tensors.items()}, config, notes)
    return {name: tensor.read() for name, tensor in found.items()}, notes


def adapted(owner: str = "encoder.l", rank: int = 2) -> dict[str, np.ndarray]:
    return {
        f"{owner}.weight": normal(6, 4), f"{owner}.bias": normal(6),
        f"{owner}.lora_A": normal(rank, 4), f"{owner}.lora_B": normal(6, rank),
    }  # fmt: skip


@pytest.mark.parametrize(
    "config",
    [
        {"encoder_conf": {"lora_rank": 2, "lora_alpha": 6}},
        {"encoder_conf": {"lora_list": ["q", "v"], "lora_rank": 2, "lora_alpha": 6, "lora_dropout": 0.1}},
        {"lora_rank": 2, "lora_alpha": 6.0},
        {"lora_conf": {"r": 2, "lora_alpha": 6}},
    ],
)
def test_the_product_is_added_in_float64_and_rounded_once(config):
    tensors = adapted()
    found, notes = merge(tensors, config)
    product = tensors["encoder.l.lora_B"].astype(np.float64) @ tensors["encoder.l.lora_A"].astype(np.float64)
    expected = (tensors["encoder.l.weight"].astype(np.float64) + product * 3).astype(np.float32)
    assert list(found) == ["encoder.l.weight", "encoder.l.bias"]
    np.testing.assert_array_equal(found["encoder.l.weight"], expected)
    np.testing.assert_array_equal(found["encoder.l.bias"], tensors["encoder.l.bias"])
    assert notes[0].startswith("LoRA merged into 1 weights (rank 2, alpha 6)")
    dropped = "FunASR 1.4.16 builds LoRA only where lora_list is set: with this config.yaml it would drop it"
    assert (dropped in notes) == ("lora_list" not in config.get("encoder_conf", {}))


def test_ranks_defaults_are_funasrs():
    found, notes = merge(adapted(rank=8), {"encoder_conf": {"lora_list": "qv"}})
    assert len(found) == 2
    assert "rank 8, alpha 16" in notes[0]


def test_16_bit_weights_are_rounded_once_to_their_own_precision():
    tensors = adapted() | {"encoder.l.weight": normal(6, 4).astype(np.float16)}
    found, _ = merge(tensors, {"encoder_conf": {"lora_rank": 2, "lora_alpha": 1}})
    product = tensors["encoder.l.lora_B"].astype(np.float64) @ tensors["encoder.l.lora_A"].astype(np.float64)
    np.testing.assert_array_equal(found["encoder.l.weight"], (tensors["encoder.l.weight"] + product / 2).astype("f2"))


def funasr_layers():
    """Load FunASR's layers.py alone: importing funasr takes seconds, and it needs nothing of it."""
    pytest.importorskip("torch")
    spec = importlib.util.find_spec("funasr")
    if spec is None:
        pytest.skip("funasr is not installed")
    path = Path(str(spec.origin)).parent / "models/lora/layers.py"
    found = importlib.util.spec_from_file_location("funasr_lora_layers", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.reference
@pytest.mark.parametrize("letters", ["qkv", "q", "v", "qv", "kv", "qkvo"])
def test_merged_rows_compute_what_funasrs_merged_linear_computes(letters):
    layers = funasr_layers()
    import torch

    enabled = [letter in letters for letter in "qkv"]
    layer = layers.MergedLinear(5, 12, r=3, lora_alpha=7, enable_lora=enabled).double()
    torch.nn.Sequential(layer).eval()  # as a part of a model: the layer's own eval() fails, and a model never calls it
    with torch.no_grad():
        layer.lora_B.normal_()
        expected = (layer(torch.eye(5, dtype=torch.float64)) - layer.bias).T.numpy()
    name = "encoder.encoders.0.self_attn.linear_q_k_v"
    tensors = {f"{name}.{key}": value.numpy() for key, value in layer.state_dict().items()}
    config = {"encoder_conf": {"lora_list": list(letters), "lora_rank": 3, "lora_alpha": 7}}
    found, _ = merge(tensors, config)
    np.testing.assert_allclose(
        found[f"{name}.weight"], expected, rtol=0, atol=1e-13
    )  # a few roundings of values near 1
    assert set(found) == {f"{name}.weight", f"{name}.bias"}


@pytest.mark.reference
def test_a_whole_layer_computes_what_funasrs_linear_computes():
    layers = funasr_layers()
    import torch

    layer = layers.Linear(4, 6, r=2, lora_alpha=3).double()
    torch.nn.Sequential(layer).eval()
    with torch.no_grad():
        layer.lora_B.normal_()
        expected = (layer(torch.eye(4, dtype=torch.float64)) - layer.bias).T.numpy()
    tensors = {f"decoder.o.{key}": value.numpy() for key, value in layer.state_dict().items()}
    found, _ = merge(tensors, {"decoder_conf": {"lora_list": ["o"], "lora_rank": 2, "lora_alpha": 3}})
    np.testing.assert_allclose(found["decoder.o.weight"], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("stored", "plain"),
    [
        ("base_model.model.encoder.l.base_layer.weight", "base_model.model.encoder.l.weight"),
        ("encoder.l.lora_A.default.weight", "encoder.l.lora_A"),
        ("encoder.l.lora_B.weight", "encoder.l.lora_B"),
        ("encoder.l.lora_A", "encoder.l.lora_A"),
        ("encoder.l.weight", "encoder.l.weight"),
    ],
)
def test_pefts_names_are_loralibs(stored, plain):
    assert lora.without_peft(stored) == plain


KNOWN = {"encoder_conf": {"lora_rank": 2, "lora_alpha": 6}}


@pytest.mark.parametrize(
    ("tensors", "config", "reason"),
    [
        (
            adapted(),
            {},
            "LoRA matrices beside the weights .* does not say their rank and alpha: .*encoder_conf, or merge",
        ),
        (adapted(), {"encoder_conf": {"lora_rank": 2}}, "does not say their rank and alpha"),
        (adapted(), {"decoder_conf": {"lora_list": ["q"]}}, "does not say their rank and alpha"),
        (adapted(), {"encoder_conf": {"lora_rank": 4, "lora_alpha": 1}}, "does not fit"),
        ({"encoder.l.lora_A": normal(2, 4), "encoder.l.lora_B": normal(6, 2)}, KNOWN, "an adapter alone is no model"),
        ({"encoder.l.weight": normal(6, 4), "encoder.l.lora_A": normal(2, 4)}, KNOWN, "without 'encoder.l.lora_B'"),
        (adapted() | {"encoder.l.lora_B": normal(5, 2)}, KNOWN, "does not fit"),
        (adapted() | {"encoder.l.lora_magnitude_vector": normal(6)}, KNOWN, "LoRA of a kind that is not merged"),
        (adapted() | {"encoder.l.lora_B": np.ones((6, 2), np.int8)}, KNOWN, "expected a float matrix"),
    ],
)
def test_what_cannot_be_merged_is_refused_with_the_way_to_merge(tensors, config, reason):
    with pytest.raises(CheckpointError, match=reason) as caught:
        merge(tensors, config)
    assert "merge them before converting" in str(caught.value) or "expected a float" in str(caught.value)


@pytest.mark.parametrize(
    "section",
    [
        {"lora_rank": 0, "lora_alpha": 1},
        {"lora_rank": "2", "lora_alpha": 1},
        {"lora_rank": 2, "lora_alpha": float("nan")},
        {"lora_rank": 2, "lora_alpha": True},
        {"lora_rank": 2, "lora_alpha": 1, "lora_list": ["x"]},
    ],
)
def test_a_rank_or_alpha_that_is_no_number_is_refused(section):
    with pytest.raises(ConfigError):
        merge(adapted(), {"encoder_conf": section})


def test_a_lora_checkpoint_is_converted_merged_and_the_record_says_so(make_model, tmp_path):
    name = "encoder.encoders.1.self_attn.linear_q_k_v"
    extra = random_tensors({f"{name}.lora_A": (6, WIDTH), f"{name}.lora_B": (3 * WIDTH, 2)}, seed=3)
    tensors = random_tensors(torch_shapes()) | extra
    section = {**CONFIG["encoder_conf"], "lora_list": ["q", "k", "v"], "lora_rank": 2, "lora_alpha": 4}
    report = convert.convert(make_model(tensors=tensors, config={**CONFIG, "encoder_conf": section}), tmp_path / "out")
    blocks = [extra[f"{name}.lora_B"][i * WIDTH : (i + 1) * WIDTH].astype("f8")
              @ extra[f"{name}.lora_A"][2 * i : 2 * i + 2].astype("f8") for i in range(3)]  # fmt: skip
    expected = (tensors[f"{name}.weight"].astype("f8") + np.concatenate(blocks) * 2).astype("f4")
    written = open_checkpoint(tmp_path / "out" / "model.safetensors")
    np.testing.assert_array_equal(written.read(f"{name}.weight"), expected)
    assert any(note.startswith("LoRA merged into 1 weights (rank 2, alpha 4)") for note in report.notes)
