"""One utterance alone against in any batch. Bars: token ids identical, logits within 1e-4, in every random batch.

    python benchmarks/batch_invariance.py [--models DIR ...] [--utterances 40] [--batches 30] [--largest 8]

Each model sees every utterance alone, then random batches (sizes 2 to --largest, lengths mixed at random, so padding
is real; a pure-silence row and near-shortest audio take part). Compared: token ids, token counts, and the logits of
every token. Default models: the trained checkpoints of ../shared and the full-size random one (built and converted
for this run). Exit code 1 where a bar is missed. No FunASR here: alone, MLX is compared with FunASR elsewhere.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import full_size_checkpoint
import measure
import numpy as np
from text_identity import trained

BAR = 1e-4


def forward(model: Any, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return each waveform's logits (tokens, V), all decoded as one batch."""
    from mlx_model.machine.blas import mx

    samples = [len(waveform) for waveform in waveforms]
    padded = np.zeros((len(waveforms), max(samples)), dtype=np.float32)
    for row, waveform in zip(padded, waveforms, strict=True):
        row[: len(waveform)] = waveform
    output = model(*model.frontend(mx.array(padded), mx.array(samples)))
    logits, counts = np.array(output.logits.astype(mx.float32)), np.array(output.token_num)
    return [row[:count] for row, count in zip(logits, counts, strict=True)]


def load_speech(folder: Path, count: int) -> list[np.ndarray]:
    """Return real utterances, and two hard ones: one second of silence, and 60 ms of speech."""
    from mlx_model.audio.files import load_audio

    found = [load_audio(path) for path in measure.utterances(folder, count)]
    middle = len(found[0]) // 2
    return [*found, np.zeros(16000, dtype=np.float32), found[0][middle : middle + 960]]


def compare(model: Any, speech: Sequence[np.ndarray], batches: int, largest: int, seed: int) -> dict[str, Any]:
    """Return what differs over random batches: entries, ids, the largest difference of a logit."""
    alone = [forward(model, [waveform])[0] for waveform in speech]
    draw = random.Random(seed)
    found: dict[str, Any] = {"batches": batches, "entries": 0, "tokens": 0, "different_ids": 0, "max_abs_logit": 0.0}
    for _ in range(batches):
        chosen = draw.sample(range(len(speech)), draw.randint(2, min(largest, len(speech))))
        for index, logits in zip(chosen, forward(model, [speech[i] for i in chosen]), strict=True):
            expected = alone[index]
            found["entries"] += 1
            found["tokens"] += len(expected)
            if logits.shape != expected.shape or (logits.argmax(-1) != expected.argmax(-1)).any():
                found["different_ids"] += 1
            if logits.shape == expected.shape and logits.size:
                found["max_abs_logit"] = max(found["max_abs_logit"], float(np.abs(logits - expected).max()))
    return found


def default_models(scratch: Path) -> list[Path]:
    """Return conversions, made in `scratch`, of the trained checkpoints and the full-size one."""
    sources = [*trained(), full_size_checkpoint.ensure(full_size_checkpoint.DEFAULT)]
    for source in sources:
        (scratch / source.name).mkdir()
    return [full_size_checkpoint.ensure_converted(source, None, scratch / source.name) for source in sources]


def main() -> int:
    """Compare every model and print the table rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, nargs="+", help="converted directories")
    parser.add_argument("--audio", type=Path, default=measure.SPEECH, help="folder of recordings")
    parser.add_argument("--utterances", type=int, default=40)
    parser.add_argument("--batches", type=int, default=30)
    parser.add_argument("--largest", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    from mlx_model import load

    rows, table, measured = [], [], {}
    with tempfile.TemporaryDirectory(prefix="mlx-funasr-bench-") as folder:
        for path in options.models or default_models(Path(folder)):
            name = path.parent.name if path.name == "model" else path.name
            start = time.perf_counter()
            speech = load_speech(options.audio, options.utterances)
            found = compare(load(path), speech, options.batches, options.largest, options.seed)
            rows += measure.bench_rows(f"{name}, all batches", {"mlx": [time.perf_counter() - start]}, "mlx")
            measured[name] = found
            table.append(
                f"| alone against in a batch, {name} | {found['different_ids']} of {found['entries']} differ in ids "
                f"| logits {found['max_abs_logit']:.1e} | bar {BAR:g} "
                f"| {found['batches']} batches, {found['tokens']:,} tokens |"
            )
    measure.publish("batch_invariance", rows, table, options.out, [], **measured)
    passed = all(
        found["different_ids"] == 0 and found["max_abs_logit"] < BAR and found["tokens"] for found in measured.values()
    )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
