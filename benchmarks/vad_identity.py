"""Segments of all 500 AISHELL utterances, and of joins with pauses and noise, against FunASR's. Bar: identical.

    python benchmarks/vad_identity.py [--source DIR] [--model DIR] [--limit N] [--chunks 60 100 200 500 1000]

Whole recordings and streams of every chunk length, with the model's own thresholds and with dynamic_silence. Where
FunASR's stream differs from its own whole recording, that is counted too: this project follows each. Exit code 1 where
a single time differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import measure
import numpy as np
import vad


def recordings(limit: int | None) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (name, waveform): the example, every utterance, and joins of ten with silence, noise or nothing between."""
    import soundfile

    yield "vad_example", soundfile.read(vad.EXAMPLE, dtype="float32")[0]
    files = measure.utterances(limit=limit)
    speech = [soundfile.read(file, dtype="float32")[0] for file in files]
    yield from zip((file.stem for file in files), speech, strict=True)
    rng = np.random.default_rng(0)
    for number in range(0, len(speech) - 9, 10):
        level, parts = (0.0, 0.0003, 0.003, 0.03)[number // 10 % 4], []
        for wave in speech[number : number + 10]:
            pause = rng.standard_normal(int(rng.integers(0, 32000))) * level
            parts += [wave, pause.astype(np.float32)]
        joined = np.concatenate(parts)
        yield f"join{number}", (joined + 0.3 * level * rng.standard_normal(len(joined))).astype(np.float32)


def edges(events: list[list[int]]) -> list[int]:
    """Return starts and ends in order, whether they came together or one by one."""
    return [time for pair in events for time in pair if time != -1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default=str(vad.SOURCE))
    parser.add_argument("--model")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--chunks", type=int, nargs="*", default=[60, 100, 200, 500, 1000])
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        model = given.model or vad.converted(given.source, folder)
        arguments = ["--source", given.source, "--model", model, "--threads", "1"]
        ours, theirs = (measure.Side(name, vad.__file__, arguments, 1) for name in ("mlx", "funasr"))
        with ours, theirs, suppress(KeyboardInterrupt):  # what was compared until then counts
            for name, waveform in recordings(given.limit):
                np.save(f"{folder}/audio.npy", waveform)
                compare(name, f"{folder}/audio.npy", (ours, theirs), given.chunks, counts)
    for key, count in sorted(counts.items()):
        print(f"| {key} | {count} |")
    return 1 if any(key.startswith("DIFFERENT") for key in counts) else 0


def compare(
    name: str, audio: str, sides: tuple[measure.Side, measure.Side], chunks: list[int], counts: Counter[str]
) -> None:
    """Ask both sides about one recording in every way, and count what came."""
    for dynamic in (False, True):
        whole = None
        for chunk_ms in (None, *chunks):
            found, expected = (side.ask(audio=audio, chunk_ms=chunk_ms, dynamic=dynamic)["events"] for side in sides)
            way = f"{'whole' if chunk_ms is None else f'{chunk_ms} ms'}, dynamic_silence {'on' if dynamic else 'off'}"
            counts[f"compared, {way}"] += 1
            counts[f"segments, {way}"] += len(edges(expected)) // 2
            if found != expected:
                counts[f"DIFFERENT, {way}"] += 1
                print(f"{name}, {way}: FunASR {expected}, MLX {found}", file=sys.stderr)
            whole = edges(expected) if chunk_ms is None else whole
            counts[f"FunASR's stream differs from its whole, {way}"] += edges(expected) != whole


if __name__ == "__main__":
    sys.exit(main())
