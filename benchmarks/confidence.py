"""Two proofs about confidences: what they cost, and whether CIF's flags point at wrong numbers of tokens.

    python benchmarks/confidence.py cost MODEL WAV_FOLDER
    python benchmarks/confidence.py flags MODEL KALDI_FOLDER

`cost` takes the CPU time of `transcribe` over a folder, unasked (twice: their ratio is the noise), with confidences,
and with ten readings, interleaved. `flags` counts characters of hypotheses and references of a Kaldi folder (wav.scp,
text) as recorded, at 1.4 and 0.7 times the speed, and with white noise at 10 dB. The table of parity/cer/README.md and
the limits in decoding/flags.py come from it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

import mlx_model
from mlx_model.decoding.flags import OVER, REPEATED, UNDER
from mlx_model.pipelines.transcribe import transcribe

RATE, ROUNDS = 16000, 7
WAYS: dict[str, dict[str, Any]] = {
    "unasked": {}, "unasked again": {}, "confidence": {"confidence": True},
    "nbest 10": {"confidence": True, "nbest": 10},
}  # fmt: skip
CONDITIONS = ("as recorded", "1.4 x", "0.7 x", "noise")


def cost(model: Any, folder: Path) -> None:
    """Print the CPU seconds of each way, and their ratio to the first."""
    files = sorted(folder.rglob("*.wav"))[:40]
    transcribe(model, files)
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, asked in WAYS.items():
            start = time.process_time()
            transcribe(model, files, **asked)
            taken[name].append(time.process_time() - start)
    first = statistics.median(taken["unasked"])
    for name, seconds in taken.items():
        print(f"{name:14} {statistics.median(seconds):.3f} s  {statistics.median(seconds) / first:.3f}")


def changed(waveform: np.ndarray, condition: str, rng: np.random.Generator) -> np.ndarray:
    """Return a recording under one of CONDITIONS."""
    if condition.endswith(" x"):
        return soxr.resample(waveform, RATE * float(condition[:-2]), RATE).astype(np.float32)
    if condition == "noise":
        level = np.sqrt(np.square(waveform).mean() * 0.1)
        return (waveform + rng.standard_normal(len(waveform)) * level).astype(np.float32)
    return waveform


def check_flags(model: Any, folder: Path) -> None:
    """Print how often each flag is right, under each condition."""
    texts, files = (_lines(folder / name) for name in ("text", "wav.scp"))
    for condition in CONDITIONS:
        rng = np.random.default_rng(0)
        waveforms = [
            changed(soundfile.read(folder / files[name], dtype="float32")[0], condition, rng) for name in files
        ]
        found = transcribe(model, waveforms, confidence=True)
        lengths = [len("".join(texts[name].split())) for name in files]
        surplus = np.array([len(one.text.replace(" ", "")) for one in found]) - np.array(lengths)
        wrong = {UNDER: surplus < 0, OVER: surplus > 0, REPEATED: surplus != 0, "any": surplus != 0}
        for flag, truth in wrong.items():
            said = np.array([bool(one.flags) if flag == "any" else flag in one.flags for one in found])
            hits, flagged = int((said & truth).sum()), int(said.sum())
            rates = f"precision {hits / max(flagged, 1):.2f}, recall {hits / max(int(truth.sum()), 1):.2f}"
            print(f"{condition:12} {flag:17} wrong {int(truth.sum()):3}, flagged {flagged:3}, {rates}", flush=True)


def _lines(path: Path) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in path.read_text("utf-8").splitlines())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cost", "flags"))
    parser.add_argument("model", type=Path)
    parser.add_argument("recordings", type=Path)
    asked = parser.parse_args()
    {"cost": cost, "flags": check_flags}[asked.what](mlx_model.load(asked.model), asked.recordings)
