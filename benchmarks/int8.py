"""Processor time of the network of `convert --int8` beside onnxruntime's int8, and float32, for busy machines.

    python benchmarks/int8.py INT8_MODEL --onnx model_quant.onnx [--float32 MODEL] [--seconds 10 30] [--batch 1 4]

For a quiet machine there is `mlx-funasr bench INT8_MODEL --against onnxruntime-int8 --exports FOLDER`, which makes the
ONNX file; so do `python -m parity.bench.exports onnx SRC FOLDER` and `... int8 SRC FOLDER`. Here each side is a process
of one thread (OMP_NUM_THREADS=1), which is asked in turn, twice, and gives the processor time of the second run,
features to logits; features are random. The ratio is the median of ratios round by round: onnxruntime's time is 1.
Needs onnxruntime.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

FRAMES_PER_S = 16.7  # low-frame-rate frames


def network(path: Path) -> Callable[[np.ndarray], object]:
    """Return what computes logits: an ONNX file by onnxruntime, a directory by this project."""
    if path.suffix == ".onnx":
        import onnxruntime  # pyright: ignore[reportMissingImports]

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        feats, lengths = (given.name for given in session.get_inputs())
        return lambda x: session.run(None, {feats: x, lengths: np.full(len(x), x.shape[1], np.int32)})
    import mlx_model
    from mlx_model.machine.blas import mx

    model = mlx_model.load(path)
    print(model.engine, file=sys.stderr)
    return lambda x: mx.eval(model(mx.array(x), mx.array([x.shape[1]] * len(x))).logits)


def serve(path: Path) -> None:
    """Answer "frames batch" by the processor time of the second of two runs."""
    run = network(path)
    for line in sys.stdin:
        frames, batch = map(int, line.split())
        x = np.random.default_rng(0).standard_normal((batch, frames, 560)).astype(np.float32) * 0.5
        run(x)
        start = time.process_time()
        run(x)
        print(time.process_time() - start, flush=True)


def ask(side: subprocess.Popen[str], frames: int, batch: int) -> float:
    """Return a side's time of one case."""
    assert side.stdin is not None
    assert side.stdout is not None
    side.stdin.write(f"{frames} {batch}\n")
    side.stdin.flush()
    return float(side.stdout.readline())


def main() -> int:
    """Measure and print a line for every case and side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--onnx", type=Path)
    parser.add_argument("--float32", type=Path)
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 30])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.model)
        return 0
    paths = {"onnxruntime int8": options.onnx, "int8": options.model, "float32": options.float32}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    sides = {
        name: subprocess.Popen(
            [sys.executable, __file__, str(path), "--serve"],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name, path in paths.items() if path is not None
    }  # fmt: skip
    for seconds in options.seconds:
        for batch in options.batch:
            rounds = [
                {name: ask(side, round(seconds * FRAMES_PER_S), batch) for name, side in sides.items()}
                for _ in range(options.rounds)
            ]
            for name in sides:
                ratio = statistics.median(times[name] / times.get("onnxruntime int8", times[name]) for times in rounds)
                took = statistics.median(times[name] for times in rounds)
                print(f"| {seconds:g} s x {batch} | {name} | {1000 * took:.0f} ms | {ratio:.2f} |", flush=True)
    for side in sides.values():
        side.communicate()
    return 0


if __name__ == "__main__":
    sys.exit(main())
