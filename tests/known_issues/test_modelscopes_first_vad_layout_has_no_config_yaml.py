"""ModelScope's first VAD models (vad.pb, vad.yaml, vad.mvn, named in configuration.json) "have no config.yaml".

Oracle: the same weights as a directory of FunASR 1.x; vad.yaml is written by hand in the old style.
"""

import json
from pathlib import Path

import pytest
import yaml

import convert
from mlx_model.errors import ConfigError
from tests.mlx_model.vad_models import write_vad

OLD = {"vad_model_name": "vad.pb", "vad_model_config": "vad.yaml", "vad_mvn_file": "vad.mvn"}


@pytest.fixture
def modern(tmp_path: Path) -> Path:
    return write_vad(tmp_path / "modern")


@pytest.fixture
def old(tmp_path: Path, modern: Path) -> Path:
    folder = tmp_path / "old"
    folder.mkdir()
    raw = yaml.safe_load((modern / "config.yaml").read_text("utf-8"))
    ancient = {
        "model": "e2evad", "encoder": "fsmn", "frontend": "wav_frontend", "input_size": None,
        "encoder_conf": raw["encoder_conf"], "frontend_conf": raw["frontend_conf"], "vad_post_conf": raw["model_conf"],
    }  # fmt: skip
    (folder / "vad.yaml").write_text(yaml.safe_dump(ancient), "utf-8")
    weights = next(path for path in modern.iterdir() if path.name.startswith("model."))
    (folder / f"vad{weights.suffix}").write_bytes(weights.read_bytes())
    (folder / "vad.mvn").write_bytes((modern / "am.mvn").read_bytes())
    document = {"model": {"type": "generic-asr", "model_config": {**OLD, "vad_model_name": f"vad{weights.suffix}"}}}
    (folder / "configuration.json").write_text(json.dumps(document), "utf-8")
    return folder


def test_it_becomes_the_same_model(tmp_path: Path, modern: Path, old: Path):
    convert.convert(modern, tmp_path / "a")
    convert.convert(old, tmp_path / "b")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_punctuation_of_that_time_is_refused_by_name(tmp_path: Path, old: Path):
    document = {"model": {"model_config": {"punc_model_name": "punc.pb", "punc_model_config": "punc.yaml"}}}
    (old / "configuration.json").write_text(json.dumps(document), "utf-8")
    (old / "punc.yaml").write_text(yaml.safe_dump({"model": None, "punctuation": "target_delay"}), "utf-8")
    (old / "punc.pb").write_bytes(b"PK\x03\x04")
    with pytest.raises(ConfigError, match="CTTransformer"):
        convert.inspect(old)


@pytest.mark.shared
def test_the_released_model_is_bit_for_bit_the_one_of_today(shared: Path, tmp_path: Path):
    folder, released = tmp_path / "old", shared / "checkpoints" / "fsmn_vad"
    folder.mkdir()
    for name, source in (("vad.pb", "model.pt"), ("vad.yaml", "vad.yaml"), ("vad.mvn", "am.mvn")):
        (folder / name).symlink_to(released / source)
    convert.convert(folder, tmp_path / "a")  # also without a configuration.json
    convert.convert(released, tmp_path / "b")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
