"""Random speaker models made by FunASR, their conversions, and FunASR's embeddings: for the families' tests."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlx_model.machine.blas import mx
from tests import forked
from tests.conftest import ROOT, speech_like

SECONDS = (1.5, 0.21, 3.37, 1.5)  # 1.5 s is a window; 0.21 s the least that an ERes2NetV2 takes; 3.37 s has segments


class Answer(NamedTuple):
    """What FunASR makes of a recording; `exact` in float64, of the same features."""

    feats: np.ndarray
    embedding: np.ndarray
    exact: np.ndarray

    @property
    def floor(self) -> float:
        """How far FunASR's own float32 is from float64."""
        return distance(self.embedding, self.exact)


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


def made(folder: Path, configs: dict[str, Any], plain: tuple[str, ...] = ()) -> dict[str, list[Answer]]:
    """Make models of these configurations, convert each to NAME.mlx, and return FunASR's answers."""
    import convert

    np.savez(folder / "waveforms.npz", *recordings())
    asked(folder, configs=configs, waveforms=str(folder / "waveforms.npz"), plain=plain)
    for name in configs:
        convert.convert(folder / name, folder / f"{name}.mlx")
    with np.load(folder / "answers.npz") as stored:
        return {
            name: [Answer(*(stored[f"{name}/{row}/{part}"] for part in range(3))) for row in range(len(SECONDS))]
            for name in configs
        }


def agree(model: Any, answers: list[Answer]) -> None:
    """Assert that a model's network, its features and both together give what FunASR gives.

    The network, on FunASR's features: at most 5 of FunASR's own distances from float64; 2.8 was seen, of 20. Features:
    1e-4 nat (5.5e-5 was seen: Kaldi's spectrum in float32 errs where a band is almost empty, parts/frontend.py), which
    networks like these make up to 5e-4 of.
    """
    together = model.embed(recordings())
    for row, (wave, theirs) in enumerate(zip(recordings(), answers, strict=True)):
        feats = mx.array(theirs.feats[None])
        assert distance(np.array(model(feats, mx.array([feats.shape[1]])))[0], theirs.exact) < 5 * theirs.floor, row
        ours, _ = model.features([wave])
        assert np.abs(np.array(ours)[0] - theirs.feats).max() < 1e-4, row
        assert distance(model.embed([wave])[0], theirs.embedding) < 1e-3, row
        assert distance(together[row], model.embed([wave])[0]) < 5 * theirs.floor, row
    # else a network that hears nothing would pass
    assert distance(answers[0].embedding, answers[3].embedding) > 0.01


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the relative distance of two embeddings."""
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
