"""BiCifParaformer at full size: features to texts and times against FunASR, and how much of it times take.

    python benchmarks/bicif.py [--directory DIR] [--rounds N] [--threads N] [--seconds 10 30] [--batch 1 4]

225,074,998 parameters: the network of full_size_checkpoint.py with CifPredictorV3 in the released configuration,
torch's initialisation under seed 0, made by FunASR's class where DIR holds none; converted, and peak memory of that
printed. Then each side in a process of its own, in turns: FunASR's `inference` on features; our `begin`, `best` and
`hypotheses`. Wall and processor seconds are the least of the rounds: on a busy machine the second are what counts.
Shares: `head` is the second head's network, `times` what the host makes of it (the loop, peaks, words).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import full_size_checkpoint
import numpy as np

PREDICTOR = {
    "idim": 512, "threshold": 1.0, "l_order": 1, "r_order": 1, "tail_threshold": 0.45, "smooth_factor2": 0.25,
    "noise_threshold2": 0.01, "upsample_times": 3, "use_cif1_cnn": False, "upsample_type": "cnn_blstm",
}  # fmt: skip
CONFIG = full_size_checkpoint.CONFIG | {
    "model": "BiCifParaformer", "predictor": "CifPredictorV3", "predictor_conf": PREDICTOR,
}  # fmt: skip
PARAMETERS = 225_074_998


def build(directory: Path) -> None:
    """Write the FunASR directory. Imports torch and funasr."""
    import funasr  # noqa: F401  registers the classes
    import torch
    import yaml
    from funasr.register import tables
    from funasr.utils.misc import deep_update

    settings: dict[str, Any] = {}
    deep_update(settings, CONFIG["model_conf"])
    deep_update(settings, {**CONFIG, "vocab_size": full_size_checkpoint.VOCABULARY, "input_size": 560})
    torch.manual_seed(0)
    state = tables.model_classes["BiCifParaformer"](**settings).state_dict()
    assert sum(tensor.numel() for tensor in state.values()) == PARAMETERS
    state["predictor.cif_output.bias"][:] = -1.2  # about 4 tokens a second, as speech has
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False), "utf-8")
    (directory / "tokens.json").write_text(json.dumps(full_size_checkpoint.vocabulary(), ensure_ascii=False), "utf-8")
    (directory / "am.mvn").write_text(full_size_checkpoint.am_mvn(), "utf-8")
    torch.save(state, directory / "model.pt")


def features(seconds: float, batch: int) -> np.ndarray:
    """Return (B, T, 560) normalised features, which both sides are given."""
    return np.random.default_rng(0).standard_normal((batch, round(seconds * 1000 / 60), 560)).astype(np.float32)


def by_mlx(directory: Path) -> Callable[[np.ndarray], dict[str, float]]:
    """Return what computes a batch, and tells how long the second head and the times took of it."""
    from mlx_model import load
    from mlx_model.machine.blas import mx

    model = load(directory)

    def compute(feats: np.ndarray) -> dict[str, float]:
        lengths, parts, output = mx.array([feats.shape[1]] * len(feats)), {}, None
        before = time.process_time()  # a recurrence is computed while its graph is built: that counts, too
        for name, output in model.stages(mx.array(feats), lengths):
            mx.eval(output if not hasattr(output, "logits") else [output.logits, output.more or ()])
            parts[name], before = time.process_time() - before, time.process_time()
        best = model.best(output)
        mx.eval(best.tokens)
        plain = time.process_time()
        model.hypotheses(best, model.Options(output_timestamp=False))
        start = time.process_time()
        found = model.hypotheses(best, model.Options())
        assert all(each.words for each in found)
        return {"head": parts["timestamps"], "times": time.process_time() - start - (start - plain)}

    return compute


def by_funasr(directory: Path) -> Callable[[np.ndarray], dict[str, float]]:
    """Return what computes a batch: the class's own `inference`, given features."""
    import torch

    from parity.families.bicif_paraformer.reference import infer
    from parity.sides.reference import load

    auto = load(str(directory))

    def compute(feats: np.ndarray) -> dict[str, float]:
        lengths = torch.tensor([feats.shape[1]] * len(feats))
        infer(auto, torch.from_numpy(feats), lengths, auto.kwargs["tokenizer"])
        return {}

    return compute


def side(name: str, directory: Path) -> None:
    """Answer on stdout, one JSON line for each `seconds batch` on stdin."""
    compute = {"mlx": by_mlx, "funasr": by_funasr}[name](directory)
    print("ready", flush=True)
    for line in sys.stdin:
        seconds, batch = line.split()
        feats = features(float(seconds), int(batch))
        wall, processor = time.perf_counter(), time.process_time()
        parts = compute(feats)
        answer = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - processor, **parts}
        print("answer " + json.dumps(answer), flush=True)


class Side:
    """One side's process."""

    def __init__(self, name: str, directory: Path):
        command = [sys.executable, __file__, "--side", name, "--directory", str(directory)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._read("ready")

    def _read(self, mark: str) -> str:
        assert self.process.stdout is not None
        return next(line for line in self.process.stdout if line.startswith(mark))

    def ask(self, seconds: float, batch: int) -> dict[str, float]:
        """Return {wall, cpu, ...} seconds of one batch."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds} {batch}\n")
        self.process.stdin.flush()
        return json.loads(self._read("answer ").removeprefix("answer "))


def converted(source: Path, target: Path) -> None:
    """Convert in this process, and print its peak memory beside the file's size."""
    import convert

    convert.convert(source, target)
    peak, size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, (source / "model.pt").stat().st_size
    print(f"conversion: peak {peak / 1e6:.0f} MB, {peak / size:.2f} times the file")


def main() -> int:
    """Build, convert, time, and print one row a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()) / "mlx-funasr-full-size-bicif")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 30])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--side", choices=["mlx", "funasr", "build"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    source, target = options.directory, Path(f"{options.directory}-mlx")  # no conversion lies in its source
    if options.side == "build":
        build(source)
        return 0
    if options.side:
        side(options.side, source if options.side == "funasr" else target)
        return 0
    if not (source / "model.pt").is_file():
        subprocess.run([sys.executable, __file__, "--side", "build", "--directory", str(source)], check=True)
    if not target.is_dir():
        converted(source, target)
    sides = {name: Side(name, source) for name in ("funasr", "mlx")}
    for seconds in options.seconds:
        for batch in options.batch:
            rounds = [{name: each.ask(seconds, batch) for name, each in sides.items()} for _ in range(options.rounds)]
            least = {name: {key: min(row[name][key] for row in rounds) for key in rounds[0][name]} for name in sides}
            ratio = {key: least["mlx"][key] / least["funasr"][key] for key in ("wall", "cpu")}
            shares = {key: least["mlx"][key] / least["mlx"]["cpu"] for key in ("head", "times")}
            print(
                f"| {seconds:g} s x {batch} | wall {least['mlx']['wall']:.2f} / {least['funasr']['wall']:.2f} s = "
                f"{ratio['wall']:.2f} | cpu {least['mlx']['cpu']:.2f} / {least['funasr']['cpu']:.2f} s = "
                f"{ratio['cpu']:.2f} | head {shares['head']:.1%} | times {shares['times']:.1%} |", flush=True,
            )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
