"""Fbank in MLX against kaldi-native-fbank: accuracy on real speech (bar: 1e-3 nat), speed on one thread each.

    python benchmarks/fbank.py [--audio DIR] [--limit N] [--seconds 10 30] [--rounds 15]

Accuracy: the largest absolute difference of any log mel energy over all recordings; exit code 1 at 1e-3 nat or more.
Speed (printed, not asserted; bar: not slower): one waveform in memory to its (F, 80) matrix. kaldi-native-fbank is
called as FunASR calls it, a Python loop over get_frame and np.stack included ("knf"), and without fetching the frames
("knf, not fetched"), which no caller can use but bounds the library itself. One process per side, BLAS and OpenMP on
one thread, rounds interleaved.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import measure
import numpy as np

BAR_NAT = 1e-3
REPEATS = 5  # calls per round, so that one takes tens of milliseconds


def mlx_fbank() -> Callable[[np.ndarray], np.ndarray]:
    """Return waveform (S,) in [-1, 1] -> (F, 80) in MLX."""
    from mlx_model.config.parts import WavFrontendConfig
    from mlx_model.machine.blas import mx
    from mlx_model.parts.frontend import fbank

    config = WavFrontendConfig(lfr_m=7, lfr_n=6)
    return lambda waveform: np.array(fbank(mx.array(waveform)[None], config)[0])


def knf_fbank(fetch: bool = True) -> Callable[[np.ndarray], np.ndarray]:
    """Return the same with kaldi-native-fbank, as funasr/utils/fbank.py and WavFrontend call it at dither 0."""
    import kaldi_native_fbank as knf

    options = knf.FbankOptions()
    options.frame_opts.samp_freq, options.frame_opts.dither = 16000.0, 0.0
    options.frame_opts.window_type, options.frame_opts.snip_edges = "hamming", True
    options.mel_opts.num_bins, options.energy_floor = 80, 0.0

    def fbank(waveform: np.ndarray) -> np.ndarray:
        online = knf.OnlineFbank(options)
        online.accept_waveform(16000, waveform * 32768.0)  # pyright: ignore[reportArgumentType]  takes arrays
        online.input_finished()
        frames = range(online.num_frames_ready if fetch else 1)
        return np.stack([online.get_frame(index) for index in frames])

    return fbank


SIDES = {"mlx": mlx_fbank, "knf": knf_fbank, "knf, not fetched": lambda: knf_fbank(fetch=False)}


def serve(name: str) -> int:
    """Be one side: store fbanks of files, or time one file."""
    import soundfile

    fbank = SIDES[name]()

    def reply(request: dict[str, Any]) -> dict[str, Any]:
        if "store" in request:
            found = [fbank(soundfile.read(path, dtype="float32")[0]) for path in request["paths"]]
            np.savez(request["store"], *found)
            return {}
        waveform = soundfile.read(request["path"], dtype="float32")[0]
        return {"s": measure.timed(lambda: [fbank(waveform) for _ in range(REPEATS)]) / REPEATS}

    return measure.serve(lambda: reply)


def accuracy(sides: dict[str, measure.Side], files: Sequence[Path], scratch: Path) -> tuple[float, int]:
    """Return the largest difference in nat and how many values were compared."""
    largest, compared = 0.0, 0
    for start in range(0, len(files), 50):
        stored = {name: str(scratch / f"{name}.npz") for name in ("mlx", "knf")}
        for name, path in stored.items():
            sides[name].ask(store=path, paths=[str(file) for file in files[start : start + 50]])
        with np.load(stored["mlx"]) as ours, np.load(stored["knf"]) as theirs:
            for key in theirs.files:
                if ours[key].shape != theirs[key].shape:
                    return float("inf"), compared
                difference = np.abs(ours[key].astype(np.float64) - theirs[key]).max()
                largest, compared = max(largest, float(difference)), compared + theirs[key].size
    return largest, compared


def throughput(sides: dict[str, measure.Side], audio: Path, rounds: int) -> tuple[dict[str, list[float]], str]:
    """Return each side's seconds per call on one file, and the noise."""
    turns = {name: lambda side=side: side.ask(path=str(audio))["s"] for name, side in sides.items()}
    for turn in turns.values():
        turn()
    return measure.interleave(turns, rounds, [side.child.pid for side in sides.values()])


def main() -> int:
    """Measure, or be one of the sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, default=measure.SPEECH, help="folder of 16 kHz WAV files")
    parser.add_argument("--limit", type=int, help="compare at most so many recordings")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0, 30.0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--serve", choices=list(SIDES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        return serve(options.serve)
    sides = {name: measure.Side(name, __file__, threads=1) for name in SIDES}
    rows, table = [], []
    with tempfile.TemporaryDirectory(prefix="mlx-funasr-bench-") as folder:
        files = measure.utterances(options.audio, options.limit)
        largest, compared = accuracy(sides, files, Path(folder))
        case = f"fbank, {len(files)} recordings, max abs"
        table.append(f"| {case} | {largest:.1e} nat | bar {BAR_NAT:g} | {compared:,} values | |")
        for seconds in options.seconds:
            audio = measure.recording(seconds, Path(folder) / f"{seconds:g}.wav", options.audio)
            found, noise = throughput(sides, audio, options.rounds)
            case = f"fbank, {seconds:g} s, one thread"
            rows += measure.bench_rows(case, found, "knf")
            table.append(
                f"| {case} | {measure.milliseconds(found['mlx'])} | {measure.milliseconds(found['knf'])} (not fetched: "
                f"{measure.milliseconds(found['knf, not fetched'])}) | {rows[-3].ratio:.2f} | {noise} |"
            )
    for side in sides.values():
        side.__exit__(None, None, None)
    measure.publish("fbank", rows, table, options.out, [], max_abs_nat=largest, values=compared)
    return 0 if largest < BAR_NAT else 1


if __name__ == "__main__":
    sys.exit(main())
