"""What this tree's engines take beside another checkout's: features to logits on a CPU, at full size.

    python benchmarks/engines_before_after.py OTHER [--seconds 10 30] [--batches 1 4] [--ways engine lanes plain]

A Paraformer of the released size with random weights is written once; each checkout loads it in a process of its own.
They run in turns, one at a time, in an order that alternates, so that what else the machine does meets both. A round's
two times make a ratio; of all rounds the median is given, and that of the quietest half (the rounds that took least in
sum). The processors' time, all threads together, makes a third ratio, which other processes touch less.
Bar: 1.02. Exit code 1 where the quietest half of a case misses it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

BAR = 1.02
FRAME_S = 0.06
HERE = Path(__file__).resolve().parent.parent
CONFIG = {
    "vocab_size": 8404, "predictor_class": "CifPredictorV2", "tokenizer": {},
    "frontend": {"lfr_m": 7, "lfr_n": 6, "cmvn": False},
    "encoder": {"output_size": 512, "attention_heads": 4, "linear_units": 2048, "num_blocks": 50, "kernel_size": 11},
    "decoder": {"attention_heads": 4, "linear_units": 2048, "num_blocks": 16, "att_layer_num": 16, "kernel_size": 11},
    "predictor": {"idim": 512, "l_order": 1, "r_order": 1, "tail_threshold": 0.45},
}  # fmt: skip


def write_model(folder: Path) -> None:
    """Write a converted directory with random weights: uniform, by the width of what each sums over."""
    from mlx_model.config.paraformer import ParaformerConfig
    from mlx_model.machine.blas import mx, tree_flatten
    from mlx_model.models.paraformer import Model

    config = ParaformerConfig.from_dict(CONFIG)
    mx.random.seed(0)
    parameters: Any = tree_flatten(Model(config).parameters())
    weights: dict[str, Any] = {
        name: value if value.ndim < 2 else mx.random.uniform(-1, 1, value.shape) / float(value[0].size) ** 0.5
        for name, value in parameters
    }
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    (folder / "config.json").write_text(json.dumps(config.to_dict()), "utf-8")
    tokens = ["<blank>", "<s>", "</s>", *(chr(0x4E00 + n) for n in range(config.vocab_size - 4)), "<unk>"]
    (folder / "tokens.json").write_text(json.dumps(tokens), "utf-8")


def serve(model_dir: str) -> None:
    """Answer requests, one JSON document a line: {seconds, batch, way} -> seconds it took, engine and token counts."""
    from mlx_model.loading import load

    try:
        from mlx_model.engines import lanes
        from mlx_model.machine.blas import mx
    except ImportError:  # a checkout from before the folders
        from mlx_model.blas import mx  # pyright: ignore[reportMissingImports]

        from mlx_model import cpu_lanes as lanes  # pyright: ignore[reportAttributeAccessIssue]
    model = load(model_dir)
    ways: dict[str, Any] = {
        "engine": contextlib.nullcontext, "lanes": lambda: lanes.exactly(2), "plain": lambda: lanes.exactly(1),
    }  # fmt: skip
    for line in sys.stdin:
        asked = json.loads(line)
        steps = round(asked["seconds"] / FRAME_S)
        feats = mx.array(np.random.default_rng(0).standard_normal((asked["batch"], steps, 560)).astype(np.float32))
        lengths = mx.array([steps] * asked["batch"])
        mx.eval(feats)
        with ways[asked["way"]]():
            start, cpu = time.perf_counter(), time.process_time()
            output = model(feats, lengths)
            mx.eval(output.logits)
            taken, cpu = time.perf_counter() - start, time.process_time() - cpu
            engine = model.engine
        print(json.dumps({"s": taken, "cpu_s": cpu, "engine": engine, "tokens": output.token_num.tolist()}), flush=True)


class Side:
    """One checkout's process."""

    def __init__(self, tree: Path, model_dir: Path):
        command = [sys.executable, __file__, str(tree), "--serve", str(model_dir)]
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        pipe = subprocess.PIPE
        self.child = subprocess.Popen(command, cwd=tree, env=environment, stdin=pipe, stdout=pipe, text=True)

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the answer to one request."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        print(json.dumps(request), file=self.child.stdin, flush=True)
        return json.loads(self.child.stdout.readline())

    def close(self) -> None:
        """Let the process end."""
        self.child.communicate()


def compare(sides: dict[str, Side], rounds: int, **case: Any) -> tuple[float, str]:
    """Return the median ratio of the quietest half of the rounds, and the case's row in words."""
    first = {name: side.ask(**case) for name, side in sides.items()}
    found: list[dict[str, float]] = []
    work: list[float] = []
    for number in range(rounds):
        order = list(sides) if number % 2 else list(sides)[::-1]
        answers = {name: sides[name].ask(**case) for name in order}
        found.append({name: answer["s"] for name, answer in answers.items()})
        work.append(answers["now"]["cpu_s"] / answers["before"]["cpu_s"])
    quiet = sorted(found, key=lambda times: sum(times.values()))[: max(1, (rounds + 1) // 2)]
    every, best = (statistics.median(times["now"] / times["before"] for times in some) for some in (found, quiet))
    medians = {name: 1000 * statistics.median(times[name] for times in quiet) for name in sides}
    same = "tokens equal" if first["now"]["tokens"] == first["before"]["tokens"] else "TOKENS DIFFER"
    words = f"{case['way']} ({first['now']['engine']}), {case['seconds']:g} s, batch {case['batch']}"
    times = f"{medians['now']:.0f} | {medians['before']:.0f} | {best:.3f} | {every:.3f} | {statistics.median(work):.3f}"
    return best, f"| {words} | {times} | {rounds} rounds, {same} |"


def main() -> int:
    """Measure and print one table row a case, or be one of the sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="another checkout, of any layout since engines exist")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0, 30.0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--ways", nargs="+", default=["engine"], choices=["engine", "lanes", "plain"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--model", type=Path, help="where the model is written, and kept for another run")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve)
        return 0
    with tempfile.TemporaryDirectory(prefix="mlx-funasr-bench-") as folder:
        model_dir = options.model or Path(folder)
        model_dir.mkdir(exist_ok=True)
        if not (model_dir / "tokens.json").is_file():
            write_model(model_dir)
        sides = {"now": Side(HERE, model_dir), "before": Side(options.other.resolve(), model_dir)}
        print("| case | now, ms | before, ms | ratio, quietest half | all | processors' time | |")
        print("|---|---|---|---|---|---|---|", flush=True)
        missed = False
        for way in options.ways:
            for seconds in options.seconds:
                for batch in options.batches:
                    best, row = compare(sides, options.rounds, seconds=seconds, batch=batch, way=way)
                    print(row, flush=True)
                    missed |= best > BAR
        for side in sides.values():
            side.close()
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
