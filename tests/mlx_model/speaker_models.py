"""Random speaker models made by FunASR, their conversions, and FunASR's embeddings: for the families' tests."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from tests import forked
from tests.conftest import ROOT, speech_like

SECONDS = (1.5, 0.21, 3.37, 1.5)  # 1.5 s is a window; 0.21 s the least that an ERes2NetV2 takes; 3.37 s has segments


def recordings() -> list[np.ndarray]:
    """Return recordings of these lengths: different voices, the quiet one with bins below the logarithm's floor."""
    found = [speech_like(seconds, seed) for seed, seconds in enumerate(SECONDS)]
    return [(wave * scale).astype(np.float32) for wave, scale in zip(found, (1.0, 0.5, 0.7, 0.003), strict=True)]


def asked(folder: Path, **request: Any) -> None:
    """Let FunASR make and answer what tests/make_speakers.py says."""
    whole = {"folder": str(folder), "configs": {}, "waveforms": None, "clusters": None, "plain": [], "speakers": {}}
    (folder / "request.json").write_text(json.dumps({**whole, "sentences": [], **request}), "utf-8")
    command = [forked.python("funasr"), str(ROOT / "tests/make_speakers.py"), str(folder / "request.json")]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)


def made(folder: Path, configs: dict[str, Any], plain: tuple[str, ...] = ()) -> dict[str, list[np.ndarray]]:
    """Make models of these configurations, convert each to NAME.mlx, and return FunASR's embeddings."""
    import convert

    np.savez(folder / "waveforms.npz", *recordings())
    asked(folder, configs=configs, waveforms=str(folder / "waveforms.npz"), plain=plain)
    for name in configs:
        convert.convert(folder / name, folder / f"{name}.mlx")
    with np.load(folder / "answers.npz") as stored:
        return {name: [stored[f"{name}/{row}"] for row in range(len(SECONDS))] for name in configs}


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the relative distance of two embeddings."""
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
