"""Meetings made of real recordings: who speaks when, and what, is known to the sample.

    python benchmarks/made_meetings.py OUT [--count 20] [--seconds 75] [--seed 0]

Speakers are AISHELL-1's S0150, S0724 and S0764, THCHS-30's D4, readers of LibriSpeech and LJ Speech, and those of the
Free Spoken Digit Dataset, whose digits are said in a row. Two to four of them take turns; a turn is one to three
utterances, a pause follows, and some turns begin before the last one ends where the meeting is made with `overlap`.
Every `NAME.wav` (16 kHz, 16 bits) has a `NAME.json` beside it: turns of speaker, start and end in seconds, text.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import measure
import numpy as np

from mlx_model.audio.files import load_audio

RATE = 16000
MISC = measure.SHARED / "data" / "speech_misc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One utterance of a meeting."""

    speaker: str
    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A meeting: its samples, float32 in [-1, 1], and what is true of it."""

    waveform: np.ndarray
    turns: list[Turn]


def speakers() -> dict[str, list[tuple[Path, str]]]:
    """Return the recordings and their texts by the speakers' names."""
    found: dict[str, list[tuple[Path, str]]] = {}
    for line in (measure.SPEECH / "text").read_text("utf-8").splitlines():
        key, text = line.split(maxsplit=1)
        found.setdefault("S0150", []).append((measure.SPEECH / "wav" / "train" / "S0150" / f"{key}.wav", text))
    for line in (MISC / "utterances.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        name = row["key"][6:11] if row["key"].startswith("BAC") else row["key"].split("-")[0].split("_")[0]
        if not name.startswith("funasr"):  # several speakers, who are not named
            found.setdefault(name, []).append((MISC / row["wav"], row["text"]))
    for line in (MISC / "fsdd.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        found.setdefault(Path(row["wav"]).stem.split("_")[1], []).append((MISC / row["wav"], row["text"]))
    return found


def _said(recordings: Sequence[tuple[Path, str]], draw: random.Random) -> tuple[np.ndarray, str]:
    """One utterance; of digits six in a row, as nobody says one alone in a meeting."""
    if len(recordings) == 10:  # the digits
        chosen = [draw.choice(recordings) for _ in range(6)]
        pieces = [piece for path, _ in chosen for piece in (load_audio(path, RATE), np.zeros(RATE // 10, np.float32))]
        return np.concatenate(pieces), "".join(text for _, text in chosen)
    path, text = draw.choice(recordings)
    return load_audio(path, RATE), text


def meeting(seed: int, seconds: float, *, overlap: bool = False, most: int = 4) -> Made:
    """Return a meeting of about so many seconds, the same for the same seed.

    Args:
        seed: of who speaks, what, and how long the pauses are.
        seconds: it ends with the first turn that ends later.
        overlap: some turns begin up to 0.6 s before the last one ends.
        most: speakers.
    """
    draw, everybody = random.Random(f"meeting {seed}"), speakers()
    names = ["S0150", *draw.sample(sorted(everybody.keys() - {"S0150"}), draw.randint(1, most - 1))]
    waveform, turns, here, last = np.zeros(int((seconds + 60) * RATE), np.float32), list[Turn](), 0.0, ""
    here = draw.uniform(0.3, 1.0)
    while here < seconds:
        name = draw.choice([one for one in names if one != last])
        for _ in range(draw.randint(1, 3)):
            samples, text = _said(everybody[name], draw)
            begin = int(here * RATE)
            waveform[begin : begin + len(samples)] += samples[: len(waveform) - begin]
            turns.append(Turn(speaker=name, start_s=begin / RATE, end_s=begin / RATE + len(samples) / RATE, text=text))
            here = turns[-1].end_s + draw.uniform(0.15, 0.6)
        here += draw.uniform(-0.9, -0.5) if overlap and draw.random() < 0.3 else draw.uniform(0.1, 1.2)
        last = name
    noise = np.random.default_rng(seed).normal(0, 3e-4, len(waveform)).astype(np.float32)  # a room is never silent
    waveform = (waveform + noise)[: int((turns[-1].end_s + 0.5) * RATE)]
    return Made(waveform=waveform.clip(-1, 1), turns=turns)


def write(made: Made, path: Path) -> Path:
    """Write the meeting and what is true of it; return the recording's path."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, (made.waveform * 32767).round().astype(np.int16), RATE, subtype="PCM_16")
    text = json.dumps([asdict(turn) for turn in made.turns], ensure_ascii=False, indent=1)
    path.with_suffix(".json").write_text(text, "utf-8")
    return path


def main() -> None:
    """Write them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=75.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for number in range(given.seed, given.seed + given.count):
        path = write(meeting(number, given.seconds, overlap=number % 2 == 1), given.out / f"meeting{number:02}.wav")
        print(path)


if __name__ == "__main__":
    main()
