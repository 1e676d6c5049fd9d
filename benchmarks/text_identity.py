"""The text of all 500 AISHELL utterances of each trained checkpoint: MLX against FunASR. Bar: identical, every one.

    python benchmarks/text_identity.py [--source DIR ...] [--model DIR ...] [--limit N]

FunASR: AutoModel.generate on each file, in a process of its own. MLX: `transcribe` on the same files, batched as by
default, so that batching is part of what is proved. Exit code 1 where a single text differs or is an error.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import full_size_checkpoint
import measure

CHECKPOINTS = measure.SHARED / "checkpoints"


def trained() -> list[Path]:
    """Return the trained Paraformers that lie in the shared folder."""
    return sorted(CHECKPOINTS.glob("paraformer_real_*"))


def compare(source: Path, model: Path, files: Sequence[Path]) -> tuple[list[str], dict[str, list[float]], int]:
    """Return one line per differing utterance, each side's wall seconds, and the number of characters compared."""
    from mlx_model import load
    from parity.sides.reference import transcribe

    start = time.perf_counter()
    (theirs,) = transcribe(source, [files])
    between = time.perf_counter()
    network = load(model)
    ours = network.transcribe(list(files))
    seconds = {"mlx": [time.perf_counter() - between], "funasr": [between - start]}
    different = [
        f"{file.stem}: FunASR {row['error'] or row['text']!r}, MLX {result.error or result.text!r}"
        for file, row, result in zip(files, theirs, ours, strict=True)
        if row["error"] or result.error or row["text"] != result.text
    ]
    return different, seconds, sum(len(row["text"]) for row in theirs)


def main() -> int:
    """Compare every checkpoint and print the table rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, nargs="+", default=trained(), help="FunASR directories")
    parser.add_argument("--model", type=Path, nargs="+", help="their conversions; made for this run when left out")
    parser.add_argument("--audio", type=Path, default=measure.SPEECH, help="folder of recordings")
    parser.add_argument("--limit", type=int, help="compare at most so many recordings")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if not options.source:
        raise SystemExit(f"no trained checkpoints below {CHECKPOINTS}; name one with --source")
    files = measure.utterances(options.audio, options.limit)
    rows, table, notes, measured = [], [], [], {}
    models = options.model or [None] * len(options.source)
    for source, given in zip(options.source, models, strict=True):
        with tempfile.TemporaryDirectory(prefix="mlx-funasr-bench-") as folder:
            model = full_size_checkpoint.ensure_converted(source, given, Path(folder))
            different, seconds, characters = compare(source, model, files)
        case = f"text of {len(files)} utterances, {source.name}"
        rows += measure.bench_rows(f"{case}, loading included", seconds, "funasr")
        same = len(files) - len(different)
        table.append(f"| {case} | {same} identical | {len(files)} | {characters:,} characters | |")
        notes += different
        measured[source.name] = {"utterances": len(files), "identical": same, "characters": characters}
    measure.publish("text_identity", rows, table, options.out, notes, **measured)
    return 1 if notes else 0


if __name__ == "__main__":
    sys.exit(main())
