"""Inference at full size: MLX against FunASR's PyTorch on the same features, 2 threads each. Bar: MLX not slower.

    python benchmarks/inference.py [--source DIR] [--model DIR] [--seconds 10 30] [--batches 1 4] [--rounds 7]

Timed: encoder, predictor and decoder, from features in memory to logits in memory (FunASR adds its log-softmax, which
is part of `cal_decoder_with_predictor`). The features come from FunASR's own front end, from real speech; a batch is
that many copies, so nothing is padded on either side. One process per side, both alive, told in turn to run once (see
measure.py). The arg-max token ids of both sides are compared; the speed is printed, not asserted. Exit code 1 where the
ids differ.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import full_size_checkpoint
import measure
import numpy as np

from parity.bench import funasr_side, mlx_side


class Mlx(mlx_side.Mlx):
    """The converted model, from features to logits."""

    def prepare(self, feats: np.ndarray) -> None:
        """Put the features of all coming runs in place."""
        self.feats, self.lengths = self.mx.array(feats), self.mx.array([feats.shape[1]] * len(feats))

    def run(self) -> None:
        """Compute the logits."""
        self.logits = self.model(self.feats, self.lengths).logits
        self.mx.eval(self.logits)

    def arg_max(self) -> list[list[int]]:
        """Return the last run's arg-max."""
        return np.array(self.logits.argmax(axis=-1)).tolist()


class FunASR(funasr_side.FunASR):
    """The reference, from features to logits."""

    def features(self, path: str) -> np.ndarray:
        """Return the front end's features of one file, (1, T, 560)."""
        self.put([path])
        waveform = self.torch.from_numpy(self.waveforms)
        return self.auto.kwargs["frontend"](waveform, self.torch.tensor([waveform.shape[1]]))[0].numpy()

    def prepare(self, feats: np.ndarray) -> None:
        """Put the features of all coming runs in place."""
        self.feats, self.lengths = self.torch.from_numpy(feats), self.torch.tensor([feats.shape[1]] * len(feats))

    def run(self) -> None:
        """Do what Paraformer.inference does between features and hypotheses."""
        with self.torch.inference_mode():
            encoder_out, lengths = self.auto.model.encode(self.feats, self.lengths)
            self.logits = self.decode(encoder_out, lengths, *self.predict(encoder_out, lengths))

    def arg_max(self) -> list[list[int]]:
        """Return the last run's arg-max."""
        return self.logits.argmax(-1).tolist()


def answer(side: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what serves one side's requests: features, prepare (with warm-up), run."""

    def reply(request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "features":
            np.save(request["out"], side.features(request["audio"]))
            return {}
        if request["do"] == "prepare":
            side.prepare(np.repeat(np.load(request["feats"]), request["batch"], axis=0))
            side.run()
            side.run()
            return {"ids": side.arg_max(), "library": side.library}
        return {"s": measure.timed(side.run)}

    return reply


def compare(options: argparse.Namespace, model: Path, scratch: Path) -> tuple[list, list[str], list[str], bool]:
    """Return (rows, table, notes, whether all ids were equal) over all cases."""
    rows, table, notes, equal = [], [], [], True
    shared = ["--threads", str(options.threads)]
    with (
        measure.Side("funasr", __file__, [*shared, "--source", str(options.source)], options.threads) as funasr,
        measure.Side("mlx", __file__, [*shared, "--model", str(model)], options.threads) as mlx,
    ):
        for seconds in options.seconds:
            audio = measure.recording(seconds, scratch / f"{seconds:g}.wav", options.audio)
            feats = str(scratch / f"{seconds:g}.npy")
            funasr.ask(do="features", audio=str(audio), out=feats)
            for batch in options.batches:
                case = f"{seconds:g} s, batch {batch}"
                sides = {"mlx": mlx, "funasr": funasr}
                first = {name: side.ask(do="prepare", feats=feats, batch=batch) for name, side in sides.items()}
                same = first["mlx"]["ids"] == first["funasr"]["ids"]
                turns = {name: lambda side=side: side.ask(do="run")["s"] for name, side in sides.items()}
                found, noise = measure.interleave(turns, options.rounds, [side.child.pid for side in sides.values()])
                rows += measure.bench_rows(case, found, "funasr")
                table.append(
                    f"| inference, full size, {case} | {measure.milliseconds(found['mlx'])} "
                    f"| {measure.milliseconds(found['funasr'])} | {rows[-2].ratio:.2f} | {noise} |"
                )
                notes.append(f"{case}: token ids {'identical' if same else 'DIFFER'}; BLAS {first['mlx']['library']}")
                equal &= same
    return rows, table, notes, equal


def main() -> int:
    """Measure, or be one of the sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=full_size_checkpoint.DEFAULT, help="FunASR directory")
    parser.add_argument("--model", type=Path, help="its conversion; made for this run when left out")
    parser.add_argument("--audio", type=Path, default=measure.SPEECH, help="folder of recordings")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0, 30.0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--serve", choices=["mlx", "funasr"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        side, path = {"mlx": (Mlx, options.model), "funasr": (FunASR, options.source)}[options.serve]
        return measure.serve(lambda: answer(side(str(path), options.threads)))
    with tempfile.TemporaryDirectory(prefix="mlx-funasr-bench-") as folder:
        full_size_checkpoint.ensure(options.source)
        model = full_size_checkpoint.ensure_converted(options.source, options.model, Path(folder))
        rows, table, notes, equal = compare(options, model, Path(folder))
    measure.publish("inference", rows, table, options.out, notes)
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
