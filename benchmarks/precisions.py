"""What fewer bits cost: size, changed tokens, CER and time of every precision, on the trained checkpoints in ../shared.

    python benchmarks/precisions.py [--utterances 500] [--calibration 250] [--group-size 32] [--checkpoints NAME...]
    python benchmarks/precisions.py --checkpoints /tmp/full --utterances 20 --budgets      any FunASR directory

Each checkpoint is converted to float32, float16, bfloat16, to 8, 6 and 4 bits everywhere `convert --bits` quantises,
and by `convert --int8`; then `quantize` finds recipes on the first utterances (budgets tokens=0 and cer=+0.1). All
transcribe the same utterances of S0150. Changed tokens are the fewest edits between the token ids of a precision and of
float32; the difference in CER is paired, with its 95 % interval, on all of them and on those that no recipe has seen.
Bars: 8 bits and int8 change no token, or the interval of the difference includes 0; the recipe for cer=+0.1: CER +0.1
at most, on all of them and on the unseen, and smaller than a quarter of float32. Time is one run each, of the network
and its front end, not interleaved: it says whether a precision is usable on this machine, not more. Exit code 1 where a
bar is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
from cer_run import CHECKPOINTS, kaldi_subset

from reports.schema import BenchRow


@dataclass(frozen=True, slots=True)
class Heard:
    """One precision over all utterances."""

    name: str
    size_mb: float
    seconds: float
    token_ids: list[list[int]]
    runs: list[Path]  # scored: on all utterances, on the unseen


def transcripts(name: str, model: Path, datasets: Sequence[Path], scratch: Path) -> Heard:
    """Transcribe the first set, and score all of them, parts of it, as `cer` does."""
    import mlx_model
    from parity.cer import evaluate
    from parity.cer.datasets import read_dataset

    loaded = mlx_model.load(model)
    paths = [str(item.path) for item in read_dataset(datasets[0]).utterances]
    start = time.perf_counter()
    results = loaded.transcribe(paths)
    seconds = time.perf_counter() - start
    known = {result.path: result for result in results}

    def given(batches: Any) -> Iterator[list[dict[str, Any]]]:
        for batch in batches:
            found = [known[str(path)] for path in batch]
            yield [{"path": r.path, "text": r.text, "duration_s": r.duration_s, "error": r.error} for r in found]

    runs = [scratch / f"{name}-cer-{dataset.name}" for dataset in datasets]
    for dataset, run in zip(datasets, runs, strict=True):
        evaluate(model, dataset, recognizer=given, out=run)
    size = sum(file.stat().st_size for file in model.glob("*.safetensors")) / 1e6
    return Heard(name, size, seconds, [result.token_ids for result in results], runs)


def made(source: Path, dataset: Path, options: argparse.Namespace, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Yield (name, directory) of every precision, float32 first."""
    import convert
    from convert.requantize import requantize
    from parity.precision import Budget, search

    group = options.group_size
    for name, how in {
        "float32": {}, "float16": {"dtype": "float16"}, "bfloat16": {"dtype": "bfloat16"},
        **{f"{bits} bit": {"bits": bits, "group_size": group} for bits in (8, 6, 4)}, "int8": {"int8": True},
    }.items():  # fmt: skip
        convert.convert(source, scratch / name, **how)
        yield name, scratch / name
    for budget in options.budgets:
        found = search(
            scratch / "float32", Budget.parse(budget), data=str(dataset), limit=options.calibration, group_size=group
        )
        requantize(scratch / "float32", scratch / budget, found.found.modules, group_size=group, about=found.about)
        yield f"recipe {budget}", scratch / budget


def table(name: str, rows: Sequence[Heard]) -> tuple[list[str], bool]:
    """Return Markdown rows, and whether the bars hold."""
    from parity.cer import compare
    from parity.cer.score import edits

    base, lines, passed = rows[0], [], True
    total = sum(map(len, base.token_ids))
    for row in rows:
        changed = sum(edits(before, after) for before, after in zip(base.token_ids, row.token_ids, strict=True))
        reports = [compare(*pair) for pair in zip(base.runs, row.runs, strict=True)]
        rate, low, high = 100 * reports[0].b.cer, *(100 * bound for bound in reports[0].ci95)
        differences = "; unseen ".join(
            f"{100 * report.difference:+.3f} [{100 * report.ci95[0]:+.3f}, {100 * report.ci95[1]:+.3f}]"
            for report in reports
        )
        lines.append(
            f"| {name}, {row.name} | {row.size_mb:.1f} MB ({row.size_mb / base.size_mb:.3f}) | {changed} of {total} "
            f"| {rate:.2f} % ({differences}) | {row.seconds:.1f} s |"
        )
        if row.name in ("8 bit", "int8"):
            passed &= changed == 0 or low <= 0 <= high
        if row.name == "recipe cer=+0.1":
            holds = all(100 * report.difference <= 0.1 for report in reports)
            passed &= holds and row.size_mb < 0.25 * base.size_mb
    return lines, passed


def main() -> int:
    """Measure and print the table rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=500)
    parser.add_argument("--calibration", type=int, default=250)
    parser.add_argument("--group-size", type=int, default=32)
    parser.add_argument("--checkpoints", nargs="+", default=list(CHECKPOINTS), help="names in ../shared, or paths")
    parser.add_argument("--budgets", nargs="*", default=["tokens=0", "cer=+0.1"], help="of recipes; none: no search")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines, rows, passed = [], [], True
    with tempfile.TemporaryDirectory(prefix="mlx-funasr-bench-") as folder:
        dataset = kaldi_subset(options.utterances, Path(folder) / "data")
        datasets = [dataset]
        if options.budgets and options.calibration < options.utterances:
            datasets.append(kaldi_subset(options.utterances, Path(folder) / "unseen", options.calibration))
        for checkpoint in options.checkpoints:
            name = Path(checkpoint).name
            scratch = Path(folder) / name
            found = made(measure.SHARED / "checkpoints" / checkpoint, dataset, options, scratch)
            heard = [transcripts(name, model, datasets, scratch) for name, model in found]
            more, holds = table(name.removeprefix("paraformer_real_"), heard)
            lines, passed = [*lines, *more], passed and holds
            rows += [
                BenchRow(case=name, side=row.name, median_s=row.seconds, ratio=row.seconds / heard[0].seconds)
                for row in heard
            ]
    measure.publish("precisions", rows, lines, options.out, [])
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
