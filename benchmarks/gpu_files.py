"""Files to text on a GPU, full size, float16: an hour of real utterances through `transcribe`, and where the time goes.

    python benchmarks/gpu_files.py [--source DIR] [--model DIR] [--minutes 60] [--batch-seconds 60 600] [--check MODEL]

The recordings of a folder, again and again until the hour is full, are files of their own length each. Timed is the
whole of `model.transcribe(paths)`: the first time in the process (graphs and cuDNN's plans are made) and the median of
the next; then its parts one after the other, nothing beside them: lengths looked up and audio read (by the threads
that `transcribe` uses), waveforms padded and uploaded, the device (waveforms in its memory to ids in the host's,
batches overlapped as in `transcribe`), text. Bar: the device alone takes at least half of the whole. `--compile` calls
`Model.compile` first. `--check MODEL` also compares the text of a converted model (a trained
one says more than random weights) on the GPU with that on this machine's CPU, utterance by utterance.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import full_size_checkpoint
import measure
import numpy as np
from measure import BenchRow

from mlx_model.audio.batching import batches, side_by_side
from mlx_model.audio.files import duration_s, load_samples
from mlx_model.audio.reading import decoders, durations_s
from mlx_model.loading import load
from mlx_model.machine.blas import mx
from mlx_model.pipelines.transcribe import BATCH_SECONDS_GPU, BATCH_SIZE_GPU

CHECKED = 200  # utterances whose text is compared


def recordings(folder: Path, minutes: float) -> tuple[list[str], float]:
    """Return paths that last so long together, repeated where there are too few, and their seconds."""
    files = sorted(str(path) for path in folder.rglob("*") if path.suffix in (".wav", ".flac"))
    lengths = {path: duration_s(path) for path in files}
    chosen: list[str] = []
    total = 0.0
    while total < 60 * minutes:
        chosen.append(files[len(chosen) % len(files)])
        total += lengths[chosen[-1]]
    return chosen, total


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of one call, device included, and what it returned."""
    mx.synchronize()
    start = time.perf_counter()
    result = run()
    mx.synchronize()
    return time.perf_counter() - start, result


def parts(model: Any, paths: Sequence[str], batch_seconds: float) -> dict[str, float]:
    """Return the seconds of each part alone."""
    rate = model.config.frontend.fs
    planning, lengths = seconds(lambda: durations_s(list(paths), rate))
    with ThreadPoolExecutor(decoders()) as pool:
        reading, audio = seconds(lambda: list(pool.map(lambda path: load_samples(path, rate), paths)))
    plan = batches(lengths, BATCH_SIZE_GPU, batch_seconds)
    upload, waveforms = seconds(lambda: [_uploaded([audio[i] for i in indices]) for indices in plan])
    samples = [[len(audio[i]) for i in indices] for indices in plan]
    device, ids = seconds(lambda: list(_on_device(model, waveforms, samples)))
    text, _ = seconds(lambda: [model.tokenizer.decode(row) for batch in ids for row in batch])
    return {"lengths": planning, "reading": reading, "upload": upload, "device": device, "text": text}


def _uploaded(audio: Sequence[np.ndarray]) -> Any:
    """Return waveforms in the device's memory: managed memory moves there when a kernel first reads it."""
    waveforms = mx.array(side_by_side(audio)[0])
    mx.eval(mx.max(waveforms))
    return waveforms


def _on_device(model: Any, waveforms: Sequence[Any], samples: Sequence[list[int]]) -> Iterator[list[list[int]]]:
    """Yield the token ids of waveforms in the device's memory, as `transcribe` overlaps batches, without waiting."""
    features = (model.features_of(*batch) for batch in zip(waveforms, samples, strict=True))
    begun = _ahead(model.begin(*batch) for batch in features)
    yield from (model.spoken(best) for best in _ahead(model.best(forward()) for forward in begun))


def _ahead(started: Iterator[Any]) -> Iterator[Any]:
    """Yield items, each only after the next one was started."""
    waiting: deque[Any] = deque()
    for item in started:
        waiting.append(item)
        if len(waiting) > 1:
            yield waiting.popleft()
    yield from waiting


def measure_batches(
    model: Any, paths: Sequence[str], total_s: float, batch_seconds: float, rounds: int, how: str
) -> tuple[list, str]:
    """Return rows and the table's line for one size of batches."""
    case = f"GPU, files to text, full size, float16, {total_s / 60:.0f} min, {batch_seconds:g} s a batch{how}"

    def whole() -> Any:
        return model.transcribe(paths, batch_seconds=batch_seconds, batch_size=BATCH_SIZE_GPU)

    first, results = seconds(whole)
    assert not any(result.error for result in results)
    later = [seconds(whole)[0] for _ in range(rounds)]
    alone = [parts(model, paths, batch_seconds) for _ in range(rounds)]
    middle = {name: statistics.median(found[name] for found in alone) for name in alone[0]}
    took = statistics.median(later)
    rows = [BenchRow(case=case, side="transcribe", median_s=took, ratio=None, spread_s=sorted(later))]
    rows += [
        BenchRow(case=case, side=f"{name} alone", median_s=value, ratio=None, spread_s=sorted(a[name] for a in alone))
        for name, value in middle.items()
    ]
    pieces = ", ".join(f"{name} {value:.3f} s" for name, value in middle.items())
    line = (
        f"| {case} | {took:.3f} [{min(later):.3f}, {max(later):.3f}] s, {total_s / took:.0f} times real time; first "
        f"{first:.2f} s | alone: {pieces} | device {middle['device'] / took:.2f} of the whole (bar 0.5) "
        f"| {rounds} rounds |"
    )
    return rows, line


def texts(model: Any, paths: Sequence[str], device: Any) -> tuple[list[str], float]:
    """Return the text of every recording as computed on a device, and the seconds that took."""
    mx.set_default_device(device)
    try:
        taken, results = seconds(lambda: model.transcribe(paths))
    finally:
        mx.set_default_device(mx.gpu)
    return [result.text for result in results], taken


def check(path: Path, paths: Sequence[str]) -> tuple[bool, str]:
    """Return whether a model's texts are the same on both devices, and a line that says so."""
    model = load(path)
    (ours, gpu_s), (cpu, cpu_s) = texts(model, paths, mx.gpu), texts(model, paths, mx.cpu)
    same = sum(one == other for one, other in zip(ours, cpu, strict=True))
    line = f"{path}: {same} of {len(paths)} texts as on the CPU; {gpu_s:.2f} s, CPU {cpu_s:.1f} s"
    return same == len(paths) or model.config.dtype != "float32", line


def main() -> int:
    """Measure; exit code 1 where a float32 model's texts differ between the devices."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=full_size_checkpoint.DEFAULT, help="FunASR directory")
    parser.add_argument("--model", type=Path, help="its float16 conversion; made for this run when left out")
    parser.add_argument("--audio", type=Path, default=measure.SPEECH, help="folder of recordings, wav or flac")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--batch-seconds", type=float, nargs="+", default=[60.0, BATCH_SECONDS_GPU])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="as a service would")
    parser.add_argument("--check", type=Path, nargs="*", default=[], help="converted models whose texts are compared")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if mx.default_device().type != mx.DeviceType.gpu:
        raise SystemExit("MLX finds no GPU here; this benchmark is about one")
    checked = [check(path, recordings(options.audio, options.minutes)[0][:CHECKED]) for path in options.check]
    rows, table = [], []
    with tempfile.TemporaryDirectory(prefix="mlx-funasr-bench-") as folder:
        path = options.model or Path(folder) / "float16"
        if not path.is_dir():
            import convert

            convert.convert(full_size_checkpoint.ensure(options.source), path, dtype="float16")
        model = load(path)
        if options.compile:
            model.compile()
        paths, total_s = recordings(options.audio, options.minutes)
        how = ", compiled" if options.compile else ""
        for batch_seconds in options.batch_seconds:
            found, line = measure_batches(model, paths, total_s, batch_seconds, options.rounds, how)
            rows, table = rows + found, [*table, line]
    info = mx.device_info()
    notes = [*(line for _, line in checked), f"{len(paths)} files; card: {info.get('device_name', info)}"]
    measure.publish("gpu_files", rows, table, options.out, notes)
    return 0 if all(same for same, _ in checked) else 1


if __name__ == "__main__":
    sys.exit(main())
