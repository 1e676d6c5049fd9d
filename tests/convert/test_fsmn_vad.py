"""The second family's table: every tensor of an FSMN-VAD, its relatives refused. Oracle: names and shapes by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

import convert
import mlx_model
from mlx_model.errors import CheckpointError, ConfigError
from tests.conftest import SHARED
from tests.mlx_model.vad_models import VARIANTS, configuration, torch_shapes, write_vad

REAL = SHARED / "checkpoints" / "fsmn_vad"


def with_config(directory: Path, **changes: object) -> Path:
    config = yaml.safe_load((directory / "config.yaml").read_text("utf-8"))
    for key, value in changes.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    (directory / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    return directory


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_tensor_arrives(tmp_path: Path, variant: str):
    source = write_vad(tmp_path / "source", variant)
    report = convert.convert(source, tmp_path / "out")
    assert {row.source: tuple(row.shape) for row in report.tensors} == torch_shapes(
        configuration(variant)["encoder_conf"]
    )
    assert {row.op for row in report.tensors} == {"copy", "conv2d"}
    before, after = load_file(source / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    for name, array in before.items():
        expected = np.moveaxis(array, 1, 3) if "conv_" in name else array  # (D, 1, K, 1) -> (D, K, 1, 1)
        np.testing.assert_array_equal(after[name], expected)
    np.testing.assert_array_equal(after["frontend.cmvn_shift"], np.full(len(after["frontend.cmvn_shift"]), -9.0))
    assert after.keys() - before.keys() == {"frontend.cmvn_shift", "frontend.cmvn_scale"}


def test_there_is_no_vocabulary_and_the_card_says_what_it_is(tmp_path: Path):
    convert.convert(write_vad(tmp_path / "source"), tmp_path / "out")
    assert not (tmp_path / "out" / "tokens.json").exists()
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "pipeline_tag: voice-activity-detection" in card
    assert "mlx-funasr vad . speech.wav" in card
    config = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))
    assert config["model_type"] == "fsmn_vad_streaming"
    assert config["vad_opts"]["max_end_silence_time"] == 300  # config.yaml's, not FunASR's default of 800
    assert mlx_model.load(tmp_path / "out").config.to_dict() == config


def test_half_precision_and_quantised_conversions_load(tmp_path: Path):
    source = write_vad(tmp_path / "source")
    convert.convert(source, tmp_path / "half", dtype="float16")
    speech = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.1
    assert isinstance(mlx_model.load(tmp_path / "half").segments(speech), list)
    convert.convert(source, tmp_path / "packed", bits=8, group_size=32)
    assert isinstance(mlx_model.load(tmp_path / "packed").segments(speech), list)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"frontend": "WavFrontend"}, "frontend 'WavFrontend' is not supported (only WavFrontendOnline)"),
        ({"encoder": "SANMEncoder"}, "only FSMN"),
        ({"encoder_conf": {"input_dim": 80}}, "input_dim = 80 but the front end's features are 100 wide"),
        ({"encoder_conf": {"rorder": 1, "rstride": 0}}, "rstride = 0"),
        ({"encoder_conf": {"use_softmax": False}}, "use_softmax"),
        ({"encoder_conf": {"fsmn_layers": 10**9}}, "must be from 1 to 512"),
        ({"frontend_conf": {"lfr_n": 3}}, "lfr_n = 3"),
        ({"frontend_conf": {"frame_shift": 12}}, "frame_in_ms = 10 but the front end has 12"),
        ({"model_conf": {"max_end_silence_tme": 1}}, "did you mean 'max_end_silence_time'?"),
        ({"model_conf": {"sil_pdf_ids": [3]}}, "sil_pdf_ids"),
        ({"model_conf": {"sil_pdf_ids": [0, 1]}}, "silence_pdf_num = 1"),
        ({"model_conf": {"window_size_ms": 5}}, "window_size_ms"),
        ({"model_conf": {"detect_mode": 2}}, "detect_mode"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path: Path, changes: dict, says: str):
    source = with_config(write_vad(tmp_path / "source"), **changes)
    with pytest.raises(ConfigError) as caught:
        convert.convert(source, tmp_path / "out")
    assert says in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_relatives_are_refused_by_their_tensors(tmp_path: Path):
    source = write_vad(tmp_path / "source")
    weights = load_file(source / "model.safetensors")
    save_file({**weights, "ctc.ctc_lo.weight": np.ones((2, 2), np.float32)}, source / "model.safetensors")
    with pytest.raises(CheckpointError, match="it is a FsmnKWS"):
        convert.convert(source, tmp_path / "out")
    with_config(source, model="FsmnKWS")
    with pytest.raises(ConfigError, match=r"FsmnKWS .* is not supported"):
        convert.convert(source, tmp_path / "out")


def test_an_old_configuration_keeps_its_decision_options(tmp_path: Path):
    """The 2022 files name the class e2evad and put the options into vad_post_conf."""
    source = write_vad(tmp_path / "source")
    config = yaml.safe_load((source / "config.yaml").read_text("utf-8"))
    config["vad_post_conf"] = config.pop("model_conf")
    config |= {"model": "e2evad", "encoder": "fsmn", "frontend": "wav_frontend", "input_size": None}
    (source / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    report = convert.convert(source, tmp_path / "out")
    assert report.config["vad_opts"]["max_end_silence_time"] == 300


@pytest.mark.shared
def test_the_released_model(tmp_path: Path):
    report = convert.convert(REAL, tmp_path / "out")
    assert (report.family, report.parameters, len(report.tensors)) == ("fsmn_vad_streaming", 428_738, 24)
    assert {row.op for row in report.tensors if "conv_left" in row.source} == {"conv2d"}
    assert convert.inspect(REAL).tensors == report.tensors
