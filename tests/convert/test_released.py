"""Real checkpoints. Oracles: torch's own reading of model.pt, FunASR's parameter names, FunASR's recorded output."""

import hashlib
import json
import shutil
import subprocess

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_model import torch_shapes

import convert
from mlx_model.errors import CheckpointError, ConfigError
from tests import forked

REAL = {"paraformer_real_digits_tiny": 2_190_081, "paraformer_real_small": 3_045_810}


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_every_value_of_a_trained_model_arrives(shared, tmp_path, name):
    torch = pytest.importorskip("torch")
    source = shared / "checkpoints" / name
    report = convert.convert(source, tmp_path / "out")
    state = torch.load(source / "model.pt", map_location="cpu", weights_only=True)
    found = load_file(tmp_path / "out" / "model.safetensors")
    kernels = {key for key, value in state.items() if value.ndim == 3}
    assert {key.split(".")[-2] for key in kernels} == {"fsmn_block", "cif_conv1d"}
    for key, value in state.items():
        if key == "decoder.embed.0.weight":
            continue
        expected = value.permute(0, 2, 1) if key in kernels else value
        np.testing.assert_array_equal(found.pop(key), expected.numpy(), err_msg=key)
    assert set(found) == {"frontend.cmvn_shift", "frontend.cmvn_scale"}
    assert report.parameters == REAL[name]
    assert report.sha256["model.pt"] == hashlib.sha256((source / "model.pt").read_bytes()).hexdigest()


@pytest.mark.shared
def test_the_converted_model_says_what_funasr_said(shared, tmp_path):
    """Oracle: FunASR's recorded text of held-out recordings. Its numbers are judged by the parity tests, not here."""
    pytest.importorskip("torch")
    mlx_model = pytest.importorskip("mlx_model")
    source = shared / "checkpoints/paraformer_real_small"
    convert.convert(source, tmp_path / "out")
    model = mlx_model.load(tmp_path / "out")
    rows = [json.loads(line) for line in (source / "funasr_hypotheses_s0150.jsonl").read_text("utf-8").splitlines()]
    waves = shared / "data/aishell_s0150/wav/train/S0150"
    for row in rows[:3]:
        assert model.transcribe(waves / f"{row['key']}.wav")[0].text == row["funasr_hyp"]


@pytest.mark.shared
def test_a_real_model_of_another_class_under_a_false_name_is_refused(shared, tmp_path):
    pytest.importorskip("torch")
    source = shared / "checkpoints/fsmn_kws"
    with pytest.raises(ConfigError, match="FsmnKWS"):
        convert.convert(source, tmp_path / "out")
    mixed = tmp_path / "mixed"
    shutil.copytree(shared / "checkpoints/paraformer_real_small", mixed)
    (mixed / "model.pt").chmod(0o644)
    mixed.chmod(0o755)
    shutil.copyfile(source / "model.pt", mixed / "model.pt")
    with pytest.raises(CheckpointError, match="the weights are of another model"):
        convert.inspect(mixed)


BUILD = """
import json, sys, torch, yaml
import funasr
from funasr.register import tables
from funasr.utils.misc import deep_update
for predictor in ("CifPredictor", "CifPredictorV2"):
    cfg = {**yaml.safe_load(open(sys.argv[1])), "predictor": predictor, "specaug": None}
    settings = {}
    deep_update(settings, cfg["model_conf"])
    deep_update(settings, dict(cfg, vocab_size=8, input_size=12))
    model = tables.model_classes["Paraformer"](**settings)
    print("SHAPES" + json.dumps({name: list(tensor.shape) for name, tensor in model.state_dict().items()}))
"""


@pytest.mark.reference
def test_the_tiny_model_of_these_tests_has_the_tensors_that_funasr_builds(model_dir):
    """The other tests rest on names and shapes written by hand; FunASR's class is their oracle."""
    found = subprocess.run(
        [forked.python("funasr"), "-c", BUILD, str(model_dir / "config.yaml")],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    lines = [line.removeprefix("SHAPES") for line in found.stdout.splitlines() if line.startswith("SHAPES")]
    for predictor, line in zip(("CifPredictor", "CifPredictorV2"), lines, strict=True):
        shapes = {name: tuple(shape) for name, shape in json.loads(line).items()}
        assert shapes == torch_shapes(predictor=predictor)
