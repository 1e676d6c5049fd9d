"""The text of all 500 AISHELL utterances of each trained checkpoint: MLX against FunASR. Bar: identical, or explained.

    python benchmarks/text_identity.py [--source DIR ...] [--model DIR ...] [--limit N]

FunASR: AutoModel.generate on each file, in a process of its own. MLX: `transcribe` on the same files, batched as by
default, so that batching is part of what is proved, and as FunASR where a family can be asked to. A text that differs
is explained where `parity run` of that recording passes: then each decision that differs has a margin below the noise
floor. Exit code 1 where a single text is unexplained or an error. `--source` takes random models as well.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import full_size_checkpoint
import measure

CHECKPOINTS = measure.SHARED / "checkpoints"


def trained() -> list[Path]:
    """Return the trained recognisers of our families that lie in the shared folder."""
    from mlx_model.families import FAMILIES

    found = (path for name in FAMILIES for path in CHECKPOINTS.glob(f"{name}_real_*"))
    return sorted(path for path in found if "streaming" not in path.name)


def _as_funasr(network: Any) -> dict[str, Any]:
    """Return the options with which a family's model follows FunASR to the letter, where it has such."""
    names = {field.name for field in dataclasses.fields(network.Options)}
    return {"as_funasr": True} if "as_funasr" in names else {}


def _explained(source: Path, model: Path, file: Path) -> bool:
    from parity.layers.run import run

    return run(source, model, [file]).verdict == "pass"


def compare(source: Path, model: Path, files: Sequence[Path]) -> tuple[list[str], dict[str, list[float]], int]:
    """Return one line per differing utterance, each side's wall seconds, and the number of characters compared."""
    from mlx_model import load
    from parity.sides.reference import transcribe

    start = time.perf_counter()
    (theirs,) = transcribe(source, [files])
    between = time.perf_counter()
    network = load(model)
    ours = network.transcribe(list(files), **_as_funasr(network))
    seconds = {"mlx": [time.perf_counter() - between], "funasr": [between - start]}
    different = [
        f"{file.stem}: FunASR {row['error'] or row['text']!r}, MLX {result.error or result.text!r}"
        + (" (explained)" if not (row["error"] or result.error) and _explained(source, model, file) else "")
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
    return 1 if any(not note.endswith(" (explained)") for note in notes) else 0


if __name__ == "__main__":
    sys.exit(main())
