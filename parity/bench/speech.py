"""What the sides hear: recordings of exactly the asked-for length, cut from speech that is joined end to end.

Equal lengths, so that nothing is padded on any side. Must not import mlx.
"""

from __future__ import annotations

import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlx_model.audio.files import load_audio
from parity.demo import SPEECH
from parity.sides.audio_files import find_files

RATE = 16000


class Speech:
    """An endless stretch of speech: the given files (the bundled ones where none are given), one after the other."""

    def __init__(self, audio: Sequence[str | Path] = ()):
        found = find_files(audio or [SPEECH])
        self.samples = np.concatenate([load_audio(path, RATE) for path in found])
        seconds = len(self.samples) / RATE
        origin = "--audio" if audio else "the bundled demo speech, spoken by espeak-ng"
        self.what = f"{len(found)} recordings, {seconds:.1f} s, of {origin}; joined and cut"

    def cut(self, seconds: float, count: int, folder: Path) -> list[str]:
        """Return the paths of `count` new recordings of that length (16-bit WAV, 16 kHz).

        Where the speech is used up, it begins again.
        """
        size = round(seconds * RATE)
        paths = []
        for number in range(count):
            where = np.arange(number * size, (number + 1) * size) % len(self.samples)
            paths.append(folder / f"{seconds:g}s-{number}.wav")
            _write(paths[-1], self.samples[where])
        return [str(path) for path in paths]


def _write(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.clip(np.round(samples * 32768), -32768, 32767).astype("<i2").tobytes())
