"""CAM++ with random weights against FunASR: embeddings, batches, short input; and the trained one's recorded answers.

Oracle: FunASR's classes and its extract_feature, in a process of its own (tests/make_speakers.py).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convert
import mlx_model
from mlx_model.audio.files import load_audio
from mlx_model.errors import AudioError, CheckpointError, ConfigError, UsageError
from tests.mlx_model.speaker_models import Answer, agree, distance, made, recordings

CONF: dict[str, Any] = {
    "feat_dim": 80, "embedding_size": 24, "growth_rate": 4, "bn_size": 2, "init_channels": 16, "config_str":
    "batchnorm-relu", "memory_efficient": True, "output_level": "segment",
}  # fmt: skip
CONFIGS: dict[str, Any] = {
    "plain": {"model": "CAMPPlus", "model_conf": CONF, "frontend": "WavFrontend", "frontend_conf": {"fs": 16000}},
    "prelu": {"model": "CAMPPlus", "model_conf": {**CONF, "config_str": "batchnorm-prelu", "growth_rate": 6}},
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[Answer]]]:
    folder = tmp_path_factory.mktemp("campplus")
    return folder, made(folder, CONFIGS)


@pytest.mark.reference
@pytest.mark.parametrize("name", CONFIGS)
def test_embeddings_are_funasrs_alone_and_in_a_batch(answers: Any, name: str):
    folder, theirs = answers
    agree(mlx_model.load(folder / f"{name}.mlx"), theirs[name])


@pytest.mark.reference
def test_features_of_a_padded_batch_give_the_same(answers: Any):
    folder, theirs = answers
    model = mlx_model.load(folder / "plain.mlx")
    found = np.array(model(*model.features(recordings())))
    assert max(distance(ours, answer.embedding) for ours, answer in zip(found, theirs["plain"], strict=True)) < 1e-3


@pytest.mark.reference
def test_three_frames_are_the_least(answers: Any):
    model = mlx_model.load(answers[0] / "plain.mlx")
    wave = recordings()[0]
    assert model.frontend.min_samples == 720
    assert np.isfinite(model.embed([wave[:720]])).all()
    with pytest.raises(AudioError, match="719 samples are too short for a speaker's embedding; it takes 720"):
        model.embed([wave[:719]])


@pytest.mark.reference
def test_another_networks_weights_are_refused(answers: Any, tmp_path: Path):
    source = answers[0] / "plain"
    (tmp_path / "model.pt").write_bytes((source / "model.pt").read_bytes())
    (tmp_path / "config.yaml").write_text((source / "config.yaml").read_text().replace("CAMPPlus", "ERes2NetV2"))
    with pytest.raises((CheckpointError, ConfigError), match=r"CAMPPlus|model_conf"):
        convert.convert(tmp_path, tmp_path.with_name("out-" + tmp_path.name))


@pytest.mark.reference
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [("feat_dim: 80", "feat_dim: 60", "feat_dim = 60 is not supported"),
     ("batchnorm-relu", "batchnorm-gelu", "config_str = 'batchnorm-gelu' is not supported"),
     ("growth_rate: 4", "growth_rate: 5", "has shape .* but config.yaml asks for"),
     ("segment", "frame", "not in a campplus of this configuration")],
)  # fmt: skip
def test_a_configuration_that_does_not_fit_is_refused(answers: Any, tmp_path: Path, old: str, new: str, said: str):
    source = answers[0] / "plain"
    (tmp_path / "model.pt").write_bytes((source / "model.pt").read_bytes())
    (tmp_path / "config.yaml").write_text((source / "config.yaml").read_text().replace(old, new))
    with pytest.raises((CheckpointError, ConfigError), match=said):
        convert.convert(tmp_path, tmp_path.with_name("out-" + tmp_path.name))


def test_the_threshold_is_what_configuration_json_states(answers: Any, tmp_path: Path):
    source = answers[0] / "plain"
    for name in ("model.pt", "config.yaml"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    document = {"model": {"yesOrno_thr": 0.31}, "file_path_metas": {"init_param": "model.pt", "config": "config.yaml"}}
    (tmp_path / "configuration.json").write_text(json.dumps(document))
    convert.convert(tmp_path, tmp_path.with_name("out-" + tmp_path.name))
    assert mlx_model.load(tmp_path.with_name("out-" + tmp_path.name)).threshold == 0.31
    assert mlx_model.load(answers[0] / "plain.mlx").threshold == 0.5


@pytest.mark.shared
def test_the_trained_ones_embeddings_are_those_that_funasr_gave(shared: Path, tmp_path: Path):
    source = shared / "checkpoints/campplus_real_small"
    convert.convert(source, tmp_path / "model")
    rows = [json.loads(line) for line in (source / "funasr_embeddings.jsonl").read_text().splitlines()]
    wanted = [row for row in rows if row["speaker"] == "S0150"][:3]
    assert len(wanted) == 3
    model = mlx_model.load(tmp_path / "model")
    files = [next((shared / "data/aishell_s0150").rglob(f"{row['key']}.wav")) for row in wanted]
    found = model.embed([load_audio(file) for file in files])
    for ours, row in zip(found, wanted, strict=True):
        assert distance(ours, np.array(row["spk_embedding"])) < 2e-5  # recorded with 6 decimals of values around 1


def test_a_vector_a_frame_is_no_embedding(tmp_path: Path):
    from mlx_model.config.campplus import CAMPPlusConfig
    from mlx_model.config.speaker_networks import CAMPPlusArguments, SpeakerFrontendConfig
    from mlx_model.models.campplus import Model

    network = CAMPPlusArguments(growth_rate=2, bn_size=2, init_channels=4, output_level="frame")
    model = Model(CAMPPlusConfig(frontend=SpeakerFrontendConfig(), network=network))
    with pytest.raises(UsageError, match="a vector a frame"):
        model.embed([recordings()[0]])
