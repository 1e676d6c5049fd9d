"""A SeacoParaformer at full size: MLX against FunASR's PyTorch, without hotwords and with fifty. Bar: 0.8 of its time.

    python benchmarks/hotword_speed.py [--source DIR] [--seconds 10 30] [--batches 1 4] [--hotwords 0 50] [--rounds 5]
    python benchmarks/hotword_speed.py --lists 50 1000 10000    what a list costs once, and every batch after that

247,339,018 random parameters in the released configuration. Timed: encoder, predictor, decoders and the times' second
head, from features in memory to logits and peaks; FunASR encodes its list in every call, as its `inference` does, ours
is kept. A batch is copies of one recording. One process a side, both alive, told in turn to run once (measure.py).
Where a full-size source has to be made it is converted as well, which prints that conversion's peak memory. Speed is
printed, not asserted; exit code 1 where arg-max ids differ.
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

import inference
import measure
import numpy as np

SIDECARS = measure.SHARED / "sidecars" / "paraformer_large_zh"
WORDS = measure.SHARED / "data" / "aishell_transcripts" / "hotword_dev" / "hotword.txt"
DEFAULT = Path(tempfile.gettempdir()) / "mlx-funasr-full-size-seaco"
PARAMETERS = 247_339_018


def build(directory: Path) -> None:
    """Write a random model of the released configuration. Imports torch and funasr."""
    import funasr  # noqa: F401  registers the classes
    import torch
    import yaml
    from funasr.register import tables
    from funasr.utils.misc import deep_update

    config = yaml.safe_load((SIDECARS / "config.yaml").read_text("utf-8"))
    tokens = json.loads((SIDECARS / "tokens.json").read_text("utf-8"))
    settings: dict[str, Any] = {}
    deep_update(settings, config["model_conf"])
    deep_update(settings, {**config, "vocab_size": len(tokens), "input_size": 560})
    torch.manual_seed(0)
    state = tables.model_classes[config["model"]](**settings).state_dict()
    assert sum(tensor.numel() for tensor in state.values()) == PARAMETERS
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("config.yaml", "tokens.json", "am.mvn"):
        (directory / name).write_bytes((SIDECARS / name).read_bytes())
    torch.save(state, directory / "model.pt.partial")
    (directory / "model.pt.partial").rename(directory / "model.pt")


def words(count: int) -> list[str]:
    """Return so many hotwords: AISHELL-1-NE's, then pairs of them."""
    known = WORDS.read_text("utf-8").split()
    pairs = (one + other for one in known for other in known)
    return [*known, *(next(pairs) for _ in range(max(0, count - len(known))))][:count]


class Mlx(inference.Mlx):
    """The converted model, from features to logits and peaks."""

    hotwords: list[str] | None = None

    def run(self) -> None:
        """Compute the logits and the second head's peaks."""
        output = self.model(self.feats, self.lengths, self.options)
        self.logits = output.logits
        self.mx.eval(self.logits, output.more.us_alphas)
        self.peaks = output.more.us_peaks

    def list_of(self, count: int) -> None:
        """Listen for so many hotwords; 0: none."""
        self.options = self.model.Options(hotwords=words(count) if count else None)


class FunASR(inference.FunASR):
    """The reference, from features to logits and peaks."""

    def run(self) -> None:
        """Do what SeacoParaformer.inference does between features and hypotheses."""
        model = self.auto.model
        with self.torch.inference_mode():
            encoder_out, lengths = model.encode(self.feats, self.lengths)
            embeds, count = model.calc_predictor(encoder_out, lengths)[:2]
            count = count.round().long()
            self.logits = model._seaco_decode_with_ASF(encoder_out, lengths, embeds, count, hw_list=self.ids_given)
            self.peaks = model.calc_predictor_timestamp(encoder_out, lengths, count)[3]

    def list_of(self, count: int) -> None:
        """Listen for so many hotwords; 0: none."""
        known = {token: number for number, token in enumerate(self.auto.kwargs["tokenizer"].token_list)}
        ids = [[known.get(character, len(known) - 1) for character in word] for word in words(count)]
        self.ids_given = [*ids, [1]] if count else None


def answer(side: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what serves one side's requests; as inference.py's, with a list of hotwords."""
    reply = inference.answer(side)

    def with_list(request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "prepare":
            side.list_of(request["hotwords"])
        if request.get("cpu"):
            began = time.process_time()
            side.run()
            return {"s": time.process_time() - began}
        return reply(request)

    return with_list


def compare(options: argparse.Namespace, model: Path, scratch: Path) -> bool:
    """Print a row for every case; return whether all ids were equal."""
    equal, shared = True, ["--threads", str(options.threads)]
    with (
        measure.Side("funasr", __file__, [*shared, "--source", str(options.source)], options.threads) as funasr,
        measure.Side("mlx", __file__, [*shared, "--model", str(model)], options.threads) as mlx,
    ):
        for seconds in options.seconds:
            audio = measure.recording(seconds, scratch / f"{seconds:g}.wav", options.audio)
            feats = str(scratch / f"{seconds:g}.npy")
            funasr.ask(do="features", audio=str(audio), out=feats)
            for batch in options.batches:
                for count in options.hotwords:
                    sides = {"mlx": mlx, "funasr": funasr}
                    first = {name: side.ask(do="prepare", feats=feats, batch=batch, hotwords=count)
                             for name, side in sides.items()}  # fmt: skip
                    same = first["mlx"]["ids"] == first["funasr"]["ids"]
                    turns = {
                        name: lambda side=side: side.ask(do="run", cpu=options.cpu_time)["s"]
                        for name, side in sides.items()
                    }
                    found, noise = measure.interleave(turns, options.rounds, [s.child.pid for s in sides.values()])
                    rows = measure.bench_rows("", found, "funasr")
                    print(f"| {seconds:g} s, batch {batch}, {count} hotwords | {measure.milliseconds(found['mlx'])} "
                          f"| {measure.milliseconds(found['funasr'])} | {rows[0].ratio:.2f} | "
                          f"ids {'identical' if same else 'DIFFER'} | {noise} |", flush=True)  # fmt: skip
                    equal &= same
    return equal


def lists(model: Path, counts: list[int]) -> None:
    """Print what a list costs: looked up and encoded once, then in every batch of one recording of 10 s."""
    from mlx_model import load
    from mlx_model.machine.blas import mx

    network = load(model)
    feats, lengths = network.features([np.random.default_rng(0).standard_normal(160_000).astype(np.float32) * 0.05])
    for count in [0, *counts]:
        asked, seconds = network.Options(hotwords=words(count) if count else None), []
        for _ in range(4):
            began = time.perf_counter()
            mx.eval(network(feats, lengths, asked).logits)
            seconds.append(time.perf_counter() - began)
        print(f"| {count} hotwords | first call {seconds[0]:.2f} s | later ones {min(seconds[1:]):.3f} s |", flush=True)


def main() -> int:
    """Measure, or be one of the sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=DEFAULT, help="FunASR directory")
    parser.add_argument("--model", type=Path, help="its conversion; made for this run when left out")
    parser.add_argument("--audio", type=Path, default=measure.SPEECH, help="folder of recordings")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0, 30.0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--hotwords", type=int, nargs="+", default=[0, 50])
    parser.add_argument("--lists", type=int, nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="of each process, for a machine with other work to do")
    parser.add_argument("--build", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--serve", choices=["mlx", "funasr"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        side, path = {"mlx": (Mlx, options.model), "funasr": (FunASR, options.source)}[options.serve]
        return measure.serve(lambda: answer(side(str(path), options.threads)))
    if options.build:
        build(options.source)
        return 0
    if not (options.source / "model.pt").is_file():
        subprocess.run([sys.executable, __file__, "--build", "--source", str(options.source)], check=True)
    with tempfile.TemporaryDirectory(prefix="mlx-funasr-bench-") as folder:
        model = options.model or Path(folder) / "model"
        if not model.is_dir():
            import convert

            convert.convert(options.source, model)
            peak = (
                resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / (options.source / "model.pt").stat().st_size
            )
            print(f"conversion: every bit compared; peak memory {peak:.2f} times model.pt", flush=True)
        if options.lists is not None:
            lists(model, options.lists)
            return 0
        return 0 if compare(options, model, Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main())
