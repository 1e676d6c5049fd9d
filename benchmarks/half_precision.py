"""What 16-bit weights cost on a CPU: features to logits at full size, beside float32. Bar: 1.3 times float32's time.

    python benchmarks/half_precision.py [--source DIR] [--seconds 10 30] [--batches 1] [--bits BITS] [--rounds 5]
    OMP_NUM_THREADS=1 python benchmarks/half_precision.py --processor-time       on a machine with other work

The random full-size checkpoint is converted to float32, float16 and bfloat16 (with `--bits`, quantised from each) and
all are loaded in one process, which runs each once in every round, in an order that alternates. Features are random: no
work depends on them but the number of tokens, which is printed. Exit code 1 where the bar is missed. Time is a clock's;
with `--processor-time` that of the process on all its threads, of which there should be one: those that wait spin.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import full_size_checkpoint
import measure
import numpy as np

BAR = 1.3
DTYPES = ("float32", "float16", "bfloat16")


def turn(model: Any, feats: Any, lengths: Any, clock: Callable[[], float]) -> Callable[[], float]:
    """Return what computes the logits once, and takes the time."""
    from mlx_model.machine.blas import mx

    def run() -> float:
        start = clock()
        mx.eval(model(feats, lengths).logits)
        return clock() - start

    return run


def in_turn(turns: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return each side's seconds, one per round; others' work is not waited for."""
    found: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(rounds):
        for name in [*turns][:: -1 if number % 2 else 1]:
            found[name].append(turns[name]())
    return found


def compare(models: dict[str, Any], options: argparse.Namespace) -> tuple[list, list[str]]:
    """Return (rows, table) over all cases."""
    from mlx_model.machine.blas import mx

    clock = time.process_time if options.processor_time else time.perf_counter
    rows, table = [], []
    for seconds in options.seconds:
        for batch in options.batches:
            steps = round(seconds * 1000 / 60)
            shape = (batch, steps, next(iter(models.values())).config.frontend.output_size)
            feats = mx.array(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
            lengths, case = mx.array([steps] * batch), f"{seconds:g} s, batch {batch}"
            turns = {name: turn(model, feats, lengths, clock) for name, model in models.items()}
            for run in turns.values():
                run()
            if options.processor_time:
                found, noise = in_turn(turns, options.rounds), "processor time"
            else:
                found, noise = measure.interleave(turns, options.rounds)
            more = measure.bench_rows(case, found, "float32")
            tokens = {name: model(feats, lengths).token_num.tolist()[0] for name, model in models.items()}
            table += [
                f"| full size, {case}, {row.side} | {measure.milliseconds(found[row.side])} | {row.ratio or 1:.2f} "
                f"| {tokens[row.side]} | {noise} |"
                for row in more
            ]
            rows += more
    return rows, table


def main() -> int:
    """Measure and print the table rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=full_size_checkpoint.DEFAULT, help="FunASR directory")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0, 30.0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1])
    parser.add_argument("--bits", type=int, choices=[8, 6, 4])
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--models", type=Path, help="folder for the conversions; kept where given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    import convert
    from mlx_model.loading import load

    full_size_checkpoint.ensure(options.source)
    with tempfile.TemporaryDirectory(prefix="mlx-funasr-bench-") as folder:
        models = {}
        for dtype in DTYPES:
            path = (options.models or Path(folder)) / dtype
            if not path.is_dir():
                convert.convert(options.source, path, dtype=dtype, bits=options.bits)
            models[dtype] = load(path)
        rows, table = compare(models, options)
    measure.publish("half_precision", rows, table, options.out, [models["float16"].engine])
    return 0 if all(row.ratio is None or row.ratio <= BAR for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
