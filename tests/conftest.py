"""Fixtures: where the shared data lies, whether the reference can run, and small random checkpoints made by FunASR."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tests import forked

# A machine that does other things as well is no fault of a property; neither is a slow first example.
# 50 examples a run, of other seeds each time; where fewer or more are wanted, the test says so.
settings.register_profile("suite", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

if "PYTEST_XDIST_WORKER" in os.environ:  # as many test processes as cores: products on all of them would wait in turn
    for variable in forked.THREADS:
        os.environ.setdefault(variable, "1")

ROOT = Path(__file__).resolve().parent.parent
# The longest files start first: two processes share the files, and one that starts last is waited for.
LONGEST = (
    "parity/layers/test_selftest.py", "parity/cer/test_distributed.py", "test_package.py", "test_fuzz.py",
    "parity/bench/test_gpu.py", "parity/layers/test_run.py", "parity/bench/test_run.py", "test_readme.py",
    "parity/layers/test_healthy.py", "test_cli.py", "parity/layers/test_selftest_trained.py", "test_notebooks.py",
    "parity/layers/test_killed.py", "parity/precision/test_search.py", "reports/test_browser.py",
)  # fmt: skip
SHARED = ROOT.parent / "shared"


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers of forked programs, once for all test processes; the real FunASR is forked, too."""
    if sys.platform == "linux" and "PYTEST_XDIST_WORKER" not in os.environ:
        servers = forked.Servers()
        config.add_cleanup(servers.close)
        os.environ.setdefault("MLX_FUNASR_REFERENCE_PYTHON", forked.python("funasr"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; skip, with the reason, what this machine cannot run."""
    places = {str(ROOT / "tests" / name): place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(str(item.path), len(LONGEST)))
    no_shared = pytest.mark.skip(
        reason=f"{SHARED} is absent: real recordings and checkpoints are not part of the repository"
    )
    no_reference = pytest.mark.skip(reason="torch and funasr are not installed (pip install 'mlx-funasr[reference]')")
    reference = all(importlib.util.find_spec(name) for name in ("torch", "funasr", "kaldi_native_fbank"))
    for item in items:
        if "shared" in item.keywords and not SHARED.is_dir():
            item.add_marker(no_shared)
        if "reference" in item.keywords and not reference:
            item.add_marker(no_reference)


@pytest.fixture(scope="session")
def shared() -> Path:
    return SHARED


def speech_like(seconds: float, seed: int = 0, rate: int = 16000) -> np.ndarray:
    """Return a (S,) float32 waveform with voiced, unvoiced and silent stretches: harmonics, noise, pauses."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / rate
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * t + seed)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voiced = sum(np.sin(k * phase) / k for k in range(1, 20))
    envelope = np.clip(np.sin(2 * np.pi * 2.3 * t + seed) + 0.3, 0, 1)
    return (0.08 * envelope * voiced + 0.004 * rng.standard_normal(len(t))).astype(np.float32)


BASE = {
    "model": "Paraformer",
    "model_conf": {
        "ctc_weight": 0.0,
        "lsm_weight": 0.1,
        "length_normalized_loss": True,
        "predictor_weight": 1.0,
        "predictor_bias": 1,
        "sampling_ratio": 0.75,
    },
    "encoder": "SANMEncoder",
    "encoder_conf": {
        "output_size": 48,
        "attention_heads": 4,
        "linear_units": 96,
        "num_blocks": 3,
        "input_layer": "pe",
        "pos_enc_class": "SinusoidalPositionEncoder",
        "normalize_before": True,
        "kernel_size": 11,
        "sanm_shfit": 0,
        "selfattention_layer_type": "sanm",
    },
    "decoder": "ParaformerSANMDecoder",
    "decoder_conf": {
        "attention_heads": 4,
        "linear_units": 96,
        "num_blocks": 2,
        "att_layer_num": 2,
        "kernel_size": 11,
        "sanm_shfit": 0,
    },
    "predictor": "CifPredictorV2",
    "predictor_conf": {"idim": 48, "threshold": 1.0, "l_order": 1, "r_order": 1, "tail_threshold": 0.45},
    "frontend": "WavFrontend",
    "frontend_conf": {
        "fs": 16000,
        "window": "hamming",
        "n_mels": 80,
        "frame_length": 25,
        "frame_shift": 10,
        "lfr_m": 7,
        "lfr_n": 6,
        "dither": 0.0,
    },
    "tokenizer": "CharTokenizer",
    "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
}

# What each of these differs in; every option the converter claims to support stands here at least once.
ARCHITECTURES: dict[str, dict] = {
    "plain": {},
    "predictor_v1": {"predictor": "CifPredictor", "predictor_conf": {"l_order": 2, "r_order": 1}},
    "no_tail": {"predictor_conf": {"tail_threshold": 0.0}},
    "shifted": {"encoder_conf": {"sanm_shfit": 2, "kernel_size": 5}, "decoder_conf": {"sanm_shfit": 5}},
    "extra_decoders": {"decoder_conf": {"num_blocks": 4, "att_layer_num": 2, "kernel_size": 21, "attention_heads": 2}},
    "wide": {
        "encoder_conf": {
            "output_size": 72,
            "attention_heads": 2,
            "linear_units": 100,
            "num_blocks": 2,
            "kernel_size": 7,
        },
        "decoder_conf": {"attention_heads": 9, "linear_units": 60, "num_blocks": 1, "att_layer_num": 1},
        "predictor_conf": {"idim": 72},
    },
    "one_head": {
        "encoder_conf": {"output_size": 20, "attention_heads": 1, "linear_units": 33, "sanm_shfit": 5},
        "decoder_conf": {"attention_heads": 5, "linear_units": 21, "num_blocks": 3, "att_layer_num": 1},
        "predictor": "CifPredictor",
        "predictor_conf": {"idim": 20, "l_order": 1, "r_order": 2},
    },
    "smooth": {
        "predictor_conf": {"smooth_factor": 0.8, "noise_threshold": 0.05, "l_order": 3, "r_order": 1},
        "frontend_conf": {"lfr_m": 5, "lfr_n": 3, "n_mels": 40, "window": "povey"},
    },
}


def configuration(name: str) -> dict:
    """Return the config.yaml of one random architecture."""
    config = json.loads(json.dumps(BASE))
    for key, value in ARCHITECTURES[name].items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    return config


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """FunASR model directories with random weights, made by FunASR's own class in a process of its own."""
    folder = tmp_path_factory.mktemp("checkpoints")
    request = {"folder": str(folder), "configs": {name: configuration(name) for name in ARCHITECTURES}}
    (folder / "request.json").write_text(json.dumps(request), "utf-8")
    script = Path(__file__).parent / "make_checkpoints.py"
    subprocess.run(
        [forked.python("funasr"), str(script), str(folder / "request.json")], check=True, capture_output=True, cwd=ROOT
    )
    return {name: folder / name for name in ARCHITECTURES}


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three synthetic recordings of different length (16-bit WAV, 16 kHz)."""
    import soundfile

    folder = tmp_path_factory.mktemp("recordings")
    paths = []
    for number, seconds in enumerate((1.37, 3.1, 2.22)):
        paths.append(folder / f"utt{number}.wav")
        soundfile.write(paths[-1], speech_like(seconds, seed=number), 16000, subtype="PCM_16")
    return paths
