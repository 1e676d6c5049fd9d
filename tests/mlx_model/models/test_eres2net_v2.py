"""ERes2NetV2 with random weights against FunASR: every pooling, both ways of storing the weights.

Oracle: FunASR's classes and its extract_feature, in a process of its own (tests/make_speakers.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlx_model
from mlx_model.config.speaker_networks import ERes2NetV2Arguments
from mlx_model.errors import AudioError
from tests.mlx_model.speaker_models import Answer, agree, made, recordings

CONF: dict[str, Any] = {
    "feat_dim": 80, "embedding_size": 24, "m_channels": 8, "baseWidth": 26, "scale": 2, "expansion": 2,
    "num_blocks": [1, 1, 2, 1], "pooling_func": "TSTP", "two_emb_layer": False,
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},  # 3.25 channels a part, rounded down
    "wide": {"scale": 3, "expansion": 4, "pooling_func": "TSDP", "two_emb_layer": True, "num_blocks": [1, 1, 1, 1]},
    "mean": {"pooling_func": "TAP", "baseWidth": 32, "num_blocks": [1, 1, 1, 1]},
}
CONFIGS = {name: {"model": "ERes2NetV2", "model_conf": CONF | changes} for name, changes in VARIANTS.items()}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[Answer]]]:
    folder = tmp_path_factory.mktemp("eres2net_v2")
    return folder, made(folder, CONFIGS, plain=("wide",))


@pytest.mark.reference
@pytest.mark.parametrize("name", CONFIGS)
def test_embeddings_are_funasrs(answers: Any, name: str):
    folder, theirs = answers
    agree(mlx_model.load(folder / f"{name}.mlx"), theirs[name])


@pytest.mark.reference
def test_nine_frames_are_the_least(answers: Any):
    model = mlx_model.load(answers[0] / "plain.mlx")
    wave = recordings()[0]
    assert model.frontend.min_samples == 1680
    assert np.isfinite(model.embed([wave[:1680]])).all()
    with pytest.raises(AudioError, match="it takes 1680"):
        model.embed([wave[:1679]])


def test_widths_are_rounded_down_as_funasr_rounds_them():
    arguments = ERes2NetV2Arguments(baseWidth=26)
    assert [arguments.width(planes) for planes in (64, 128, 8, 9)] == [26, 52, 3, 3]  # floor(planes * 26 / 64) by hand
