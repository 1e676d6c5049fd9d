"""Ten hours of a stream: where CIF fires against an exact sum of the same alphas, how its carry drifts, and memory.

    python benchmarks/streaming_drift.py [--hours 10] [--minutes 30] [--source DIR]

Alphas and states come from the trained streaming checkpoint on AISHELL speech: one stream of `--minutes` of it, window
by window through the whole model, whose resident memory is read every tenth of the way. They are then looped, parts of
a hundred windows in another order each time, through `parts/cif_chunk.integrate` alone, up to `--hours` of audio, in
float64 (the default) and float32 (`as_funasr`). The oracle adds the alphas up as integers (a float32 is a multiple of
2^-149), without rounding: a token is complete at every whole number. Bars: no firing differs in float64; the carry's
distance from the exact remainder is no more than twice as large in the last hour as in the first; memory grows by less
than 5 %.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import measure
import numpy as np

TRAINED = measure.SHARED / "checkpoints" / "paraformer_real_streaming"
OPTIONS = {"chunk_size": [0, 10, 5], "encoder_chunk_look_back": 4, "decoder_chunk_look_back": 1}
UNIT = 149  # float32 numbers are multiples of 2^-149
FRAME_S = 0.06
PART = 100  # windows of a recording that are looped as one
FLOOR = 1e-12  # of a drift: below it there is nothing to compare


class Heard(NamedTuple):
    """What windows decided on: alphas (T,) and states (T, D) each."""

    alphas: list[np.ndarray]
    states: list[np.ndarray]


def resident_mb() -> float:
    """Return this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def listen(model: Any, minutes: float) -> tuple[Heard, list[float], list[int]]:
    """Return what a stream of so much speech gives, memory after each tenth, and the frames that fired."""
    from mlx_model.audio.files import load_audio
    from parity.taps.swap import swapped

    heard, memory, fired, decided = Heard([], []), list[float](), list[int](), 0
    stream, step = model.stream(**OPTIONS, keep_text=False), type(model).step

    def noting(self: Any, *given: Any) -> Any:
        nonlocal decided
        found = step(self, *given)
        for one in found:
            left = OPTIONS["chunk_size"][0]
            heard.alphas.append(one.alphas)
            heard.states.append(np.array(one.encoder_out)[left : left + len(one.alphas)].astype(np.float16))
            fired.extend((one.fired.frames + decided).tolist())
            decided += len(one.alphas)
        return found

    files, fed, mark = measure.utterances(), 0.0, minutes * 6.0
    with swapped(model, step=noting):
        for path in _endless(files):
            waveform = load_audio(path, 16000)
            stream.feed(waveform)
            fed += len(waveform) / 16000
            if fed >= mark * (len(memory) + 1):
                memory.append(resident_mb() - sum(each.nbytes for each in heard.states) / 1e6)
                if len(memory) == 10:
                    return heard, memory, fired
    raise AssertionError("recordings have no end")


def _endless(files: Sequence[Path]) -> Iterator[Path]:
    while True:
        yield from files


def exact(alpha: np.floating[Any]) -> int:
    """Return a float32 number in units of 2^-149."""
    above, below = float(alpha).as_integer_ratio()
    return above * (2**UNIT // below)


class Oracle:
    """The exact sum of a stream's alphas: the frames that complete a token, and what is left over."""

    def __init__(self) -> None:
        self.total = 0

    def fires(self, alphas: Sequence[int]) -> list[int]:
        """Return the frames of a window that complete a token."""
        found = []
        for frame, alpha in enumerate(alphas):
            before, self.total = self.total >> UNIT, self.total + alpha
            found += [frame] if self.total >> UNIT > before else []
        return found

    @property
    def rest(self) -> float:
        """What is left over of whole tokens."""
        return (self.total & ((1 << UNIT) - 1)) / 2.0**UNIT


def drift(heard: Heard, hours: float, kind: type[np.floating[Any]]) -> tuple[int, int, list[float]]:
    """Return how many tokens fired, how many frames fire on one side only, and the carry's worst distance by hour."""
    from mlx_model.parts.cif_chunk import integrate, new_carry

    draw, oracle = random.Random(0), Oracle()
    carry, tokens, differ = new_carry(heard.states[0].shape[1], kind), 0, 0
    units = [[exact(alpha) for alpha in window.astype(np.float32)] for window in heard.alphas]
    parts = [range(first, min(first + PART, len(units))) for first in range(0, len(units), PART)]
    curve, frames, hour = [0.0], 0, 3600 / FRAME_S
    while frames < hours * hour:
        for number in [index for part in draw.sample(parts, len(parts)) for index in part]:
            fired = integrate(heard.states[number].astype(np.float32), heard.alphas[number], carry, tail=None)
            carry, wanted = fired.carry, oracle.fires(units[number])
            differ += len(set(wanted) ^ set(fired.frames.tolist()))
            tokens, frames = tokens + len(wanted), frames + len(units[number])
            off = abs(float(carry.alpha) - oracle.rest)
            curve[-1] = max(curve[-1], min(off, 1.0 - off))
            if frames >= len(curve) * hour and frames < hours * hour:
                curve.append(0.0)
    return tokens, differ, curve


def main() -> int:
    """Listen, loop, and judge."""
    import convert
    from mlx_model.loading import load

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=10.0, help="of audio through the carry")
    parser.add_argument("--minutes", type=float, default=30.0, help="of audio through the whole model")
    parser.add_argument("--source", type=Path, default=TRAINED, help="a FunASR directory of a ParaformerStreaming")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        convert.convert(given.source, Path(folder) / "model")
        start = time.perf_counter()
        heard, memory, fired = listen(load(Path(folder) / "model"), given.minutes)
    oracle, wanted, at = Oracle(), list[int](), 0
    for window in heard.alphas:
        wanted += [frame + at for frame in oracle.fires([exact(alpha) for alpha in window.astype(np.float32)])]
        at += len(window)
    missed = len(set(wanted) ^ set(fired))
    grown = memory[-1] / memory[0] - 1.0
    took = time.perf_counter() - start
    print(f"| {given.minutes:g} min through the whole model | {len(wanted)} tokens, {missed} firings differ | "
          f"memory {memory[0]:.0f} MB, then {memory[-1]:.0f} ({grown:+.1%}) | {took:.0f} s |")  # fmt: skip
    print("memory by tenth, MB: " + ", ".join(f"{each:.1f}" for each in memory), flush=True)
    passed = missed == 0 and grown < 0.05
    for kind in (np.float64, np.float32):
        tokens, differ, curve = drift(heard, given.hours, kind)
        print(f"| {given.hours:g} h through the carry, {kind.__name__} | {tokens} tokens, {differ} firings differ | "
              f"carry off by {curve[0]:.1e} in the first hour, {curve[-1]:.1e} in the last |")  # fmt: skip
        print("by hour: " + ", ".join(f"{each:.1e}" for each in curve), flush=True)
        if kind is np.float64:
            passed = passed and differ == 0 and curve[-1] <= max(2.0 * curve[0], FLOOR)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
