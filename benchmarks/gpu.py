"""The network on a GPU, full size, half precision: MLX against FunASR's modules in PyTorch, eager and compiled.

    python benchmarks/gpu.py [--source DIR] [--cases 64x20 1x10] [--rounds 7] [--dtype float16]
        [--compile default reduce-overhead] [--graphs eager default]

Timed, from features on the device to token ids in the host's memory: `mlx` as `transcribe` runs it,
`mlx-compiled` after `Model.compile`, with `--plain` also `mlx-plain` (module after module); `torch-eager`,
`torch-compiled-MODE` (torch.compile of encoder and decoder, no dynamic shapes, each shape warm), and
`torch-graphs-MODE`: encoder and decoder, eager or compiled so, each captured in a CUDA graph, masks and positions made
on the card; FunASR's predictor between them is not captured, for the host must know how many tokens there are. Bars:
0.6 of the best torch side at 64 x 20 s, 0.5 at 1 x 10 s; printed, not asserted. One process per side, told in turn to
run (see measure.py); a turn is the median of its repetitions.

Features come from real speech by our front end, every row of a batch another stretch of it; weights are random. In
float32 (no TF32 on either side) token ids must be the same, else exit code 1; in half precision those that differ from
float32's are counted for each side. How FunASR's modules run in half precision: parity/bench/funasr_modes.py.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import full_size_checkpoint
import measure
import numpy as np

from parity.bench import funasr_modes

TURN_S, LEAST = 0.3, 5  # a turn repeats a stage for so long, and at least so often
WARM = 3  # runs before the first turn
CACHE = 4 << 30  # bytes of freed memory that MLX keeps: several processes share the card
STAGES = ("encoder", "encoder+predictor", "decoder", "total")
BARS = {(64, 20.0): 0.6, (1, 10.0): 0.5}
Stages = dict[str, Callable[[], Any]]


def seconds_of(run: Callable[[], Any]) -> float:
    """Return the median seconds of one turn; `run` returns when the device is done."""
    run()
    taken: list[float] = []
    while sum(taken) < TURN_S or len(taken) < LEAST:
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


class Mlx:
    """The converted model, in both precisions; `way` is "", "compiled" or "plain" (module after module)."""

    def __init__(self, models: str, way: str):
        from mlx_model.engines import lanes, shapes
        from mlx_model.loading import load
        from mlx_model.machine.blas import mx

        self.mx, self.shapes, self.lanes, self.plain = mx, shapes, lanes, way == "plain"
        self.models = {path.name: load(path) for path in Path(models).iterdir()}
        self.device, self.compiled = str(mx.default_device()), way == "compiled"
        mx.set_cache_limit(CACHE)

    def features(self, folder: str, seconds: float, batch: int, out: str) -> None:
        """Write (batch, T, 560) features of successive stretches of the speech in a folder."""
        speech = _speech(Path(folder), round(seconds * 16000) * batch).reshape(batch, -1)
        np.save(out, np.array(self.models["float32"].features(list(speech))[0]))

    def prepare(self, feats: np.ndarray, dtype: str) -> None:
        """Put model and features of all coming turns in place."""
        self.model, self.feats = self.models[dtype], self.mx.array(feats)
        if self.compiled:
            self.model.compile()
        self.lengths = self.mx.array([feats.shape[1]] * len(feats))
        self.mx.eval(self.feats)

    def ids(self) -> list[list[int]]:
        """Return the token ids, as many as there are tokens."""
        with self._path():
            output = self.model(self.feats, self.lengths)
            best, counts = np.array(output.logits.argmax(axis=-1)), np.array(output.token_num)
        return [row[:count].tolist() for row, count in zip(best, counts, strict=True)]

    def stages(self) -> Stages:
        """Return what is timed."""
        mx, model = self.mx, self.model
        encoder, hear, decoder = self._plain_stages() if self.plain else self._shipped_stages()

        def total() -> None:
            with self._path():
                np.array(model(self.feats, self.lengths).logits.argmax(axis=-1))

        return {
            "encoder": lambda: mx.eval(encoder()),
            "encoder+predictor": hear,
            "decoder": lambda: mx.eval(decoder()),
            "total": total,
        }

    def _plain_stages(self) -> tuple[Callable[[], Any], ...]:
        model, feats = self.model, self.feats
        encoder_out = model.encoder(feats)
        embeds = model.predictor(encoder_out, self.lengths).acoustic_embeds
        self.mx.eval(encoder_out, embeds, feats)
        return (
            lambda: model.encoder(feats),
            lambda: model.predictor(model.encoder(feats), self.lengths).token_num.tolist(),
            lambda: model.decoder(embeds, None, encoder_out, None),
        )

    def _shipped_stages(self) -> tuple[Callable[[], Any], ...]:
        from mlx_model.parts.basic import length_mask

        mx, model, shapes = self.mx, self.model, self.shapes
        feats, lengths = shapes.padded(self.feats, self.lengths.tolist())
        steps = feats.shape[1]

        def encode(x: Any, sizes: Any) -> Any:
            return model.encoder(x, length_mask(sizes, steps))

        encoder = mx.compile(encode) if self.compiled else encode
        path = shapes.Steps(model, compiled=self.compiled)
        heard = path.listen(feats, lengths)
        tokens = shapes.time_shape(max(heard.firing.token_num.tolist()))
        return (
            lambda: encoder(feats, lengths),
            lambda: path.listen(feats, lengths).firing.token_num.tolist(),
            lambda: path.spell(heard, lengths, tokens),
        )

    def _path(self) -> Any:
        import contextlib

        return self.lanes.exactly(1) if self.plain else contextlib.nullcontext()


class Torch:
    """FunASR's own modules with the checkpoint's weights; `mode` is torch.compile's, or "eager"."""

    def __init__(self, source: str, mode: str):
        import torch

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self.torch, self.mode, self.source = torch, mode, Path(source)
        self.device = torch.cuda.get_device_name()
        self.dtype = ""

    def prepare(self, feats: np.ndarray, dtype: str) -> None:
        """Put modules and features of all coming turns in place."""
        torch = self.torch
        _, graphs, mode = self.mode.rpartition("graphs-")
        if dtype != self.dtype:
            self.dtype, self.model = dtype, self._modules(dtype)
            if mode != "eager":
                funasr_modes.compile_parts(self.model, mode)
        self.feats = torch.from_numpy(feats).cuda()
        self.lengths = torch.tensor([feats.shape[1]] * len(feats)).cuda()
        self.graphs = None
        if graphs:
            with torch.inference_mode():
                self.graphs = funasr_modes.Graphs(self.model, self.feats.to(getattr(torch, dtype)), self.lengths)

    def _modules(self, dtype: str) -> Any:
        import funasr  # noqa: F401  registers the classes

        torch = self.torch
        model = full_size_checkpoint.network()
        model.load_state_dict(torch.load(self.source / "model.pt", map_location="cpu", weights_only=True, mmap=True))
        model.eval().cuda()
        funasr_modes.lower(model, dtype)
        return model

    def hear(self) -> tuple[Any, ...]:
        """Return encoder_out, its lengths, embeddings and token counts."""
        encoder_out, lengths = self.model.encoder(self.feats, self.lengths)[:2]
        embeds, token_num, _, _ = self.model.calc_predictor(encoder_out, lengths)
        return encoder_out, lengths, embeds, token_num.round().long()

    def ids(self) -> list[list[int]]:
        """Return the token ids, as many as there are tokens."""
        with self.torch.inference_mode():
            if self.graphs is not None:
                best, counts = (part.tolist() for part in self.graphs())
            else:
                heard = self.hear()
                best, counts = self.model.decoder(*heard)[0].argmax(-1).tolist(), heard[3].tolist()
                del heard
        self.torch.cuda.empty_cache()
        return [row[:count] for row, count in zip(best, counts, strict=True)]

    def stages(self) -> Stages:
        """Return what is timed."""
        torch = self.torch
        with torch.inference_mode():
            feats = self.feats.to(getattr(torch, self.dtype))
            heard = tuple(part.clone() for part in self.hear()) if self.graphs is None else ()

        def timed(run: Callable[[], Any]) -> Callable[[], None]:
            def wait() -> None:
                with torch.inference_mode():
                    run()
                    torch.cuda.synchronize()

            return wait

        if self.graphs is not None:
            graphs = self.graphs
            return {
                "encoder": timed(graphs.encode),
                "encoder+predictor": timed(graphs.hear),
                "decoder": timed(graphs.decode),
                "total": timed(lambda: graphs()[0].cpu()),
            }
        return {
            "encoder": timed(lambda: self.model.encoder(feats, self.lengths)),
            "encoder+predictor": timed(self.hear),
            "decoder": timed(lambda: self.model.decoder(*heard)),
            "total": timed(lambda: self.model.decoder(*self.hear())[0].argmax(-1).cpu()),
        }


def answer(side: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what serves one side's requests: features, ids (in one precision), prepare (with warm-up), run."""
    stages: Stages = {}

    def reply(request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "features":
            side.features(request["audio"], request["seconds"], request["batch"], request["out"])
        elif request["do"] == "ids":
            side.prepare(np.load(request["feats"]), request["dtype"])
            return {"ids": side.ids(), "device": side.device}
        elif request["do"] == "prepare":
            side.prepare(np.load(request["feats"]), request["dtype"])
            stages.update(side.stages())
            for run in stages.values():
                for _ in range(WARM):
                    run()
        else:
            return {stage: seconds_of(run) for stage, run in stages.items()}
        return {}

    return reply


def _speech(folder: Path, samples: int) -> np.ndarray:
    """Return so many samples of the recordings below a folder, joined, from the start again where they end."""
    import soundfile

    files = sorted(path for path in folder.rglob("*") if path.suffix in (".wav", ".flac"))
    parts, found = [], 0
    while found < samples:
        for path in files:
            parts.append(soundfile.read(path, dtype="float32")[0])
            found += len(parts[-1])
            if found >= samples:
                break
    return np.concatenate(parts)[:samples]


def differing(one: list[list[int]], other: list[list[int]]) -> int:
    """Return how many token ids differ, position by position; a missing one differs."""
    return sum(
        abs(len(a) - len(b)) + sum(x != y for x, y in zip(a, b, strict=False)) for a, b in zip(one, other, strict=True)
    )


def compare_ids(sides: dict[str, measure.Side], case: str, feats: str, dtype: str) -> tuple[bool, list[str]]:
    """Return whether all sides agree in float32, and lines on both precisions. Compiled torch is asked in the lower."""
    ids = {
        name: side.ask(do="ids", feats=feats, dtype="float32")["ids"]
        for name, side in sides.items()
        if not name.startswith(("torch-compiled", "torch-graphs"))
    }
    truth = ids["torch-eager"]
    tokens = sum(map(len, truth))
    wrong = {name: differing(truth, found) for name, found in ids.items() if name != "torch-eager"}
    lines = [f"{case}, float32: {tokens} token ids; differ from torch's: {wrong}"]
    half = {name: side.ask(do="ids", feats=feats, dtype=dtype)["ids"] for name, side in sides.items()}
    counts = {name: differing(truth, found) for name, found in half.items()}
    return not any(wrong.values()), [*lines, f"{case}, {dtype}: ids that differ from torch's float32: {counts}"]


def measure_case(
    sides: dict[str, measure.Side], case: tuple[int, float], feats: str, dtype: str, rounds: int
) -> tuple[list, list[str]]:
    """Return (rows, table) of one case."""
    batch, seconds = case
    name = f"GPU, full size, {dtype}, {batch} x {seconds:g} s"
    for child in sides.values():
        child.ask(do="prepare", feats=feats, dtype=dtype)
    turns = {side: lambda child=child: child.ask(do="run") for side, child in sides.items()}
    found = measure.interleaved(turns, rounds, [child.child.pid for child in sides.values()])
    rows, table = [], []
    for stage in STAGES:
        taken = {side: [turn[stage] for turn in found.found[side]] for side in sides}
        torch = {side: statistics.median(values) for side, values in taken.items() if side.startswith("torch")}
        better = min(torch, key=lambda side: torch[side])
        rows += measure.bench_rows(f"{name}, {stage}", taken, better)
        ours = [statistics.median(values) for side, values in taken.items() if side.startswith("mlx")]
        ratios = " and ".join(f"{median / torch[better]:.2f}" for median in ours)
        bar = f" (bar {BARS[case]})" if stage == "total" and case in BARS else ""
        cells = " | ".join(f"{side} {measure.milliseconds(values)}" for side, values in taken.items())
        table.append(f"| {name}: {stage} | {cells} | {ratios} of {better}{bar} | {found.note} |")
    return rows, table


def parse_case(text: str) -> tuple[int, float]:
    """Return (batch, seconds) of "64x20"."""
    batch, seconds = text.split("x")
    return int(batch), float(seconds)


def main() -> int:
    """Measure, or be one of the sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=full_size_checkpoint.DEFAULT, help="FunASR directory")
    parser.add_argument("--models", type=Path, help="folder for its conversions; kept where given")
    parser.add_argument("--audio", type=Path, default=measure.SPEECH, help="folder of recordings, wav or flac")
    parser.add_argument("--cases", type=parse_case, nargs="+", default=list(BARS), help="BATCHxSECONDS")
    parser.add_argument("--compile", nargs="*", default=["default"], help="modes of torch.compile")
    parser.add_argument("--graphs", nargs="*", default=["default"], help="the same modes, or eager, in CUDA graphs")
    parser.add_argument("--dtype", default="float16", choices=("float16", "bfloat16"))
    parser.add_argument("--plain", action="store_true", help="also module after module")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        if options.serve.startswith("mlx"):
            return measure.serve(lambda: answer(Mlx(str(options.models), options.serve.partition("-")[2])))
        mode = options.serve.removeprefix("torch-").removeprefix("compiled-")  # "eager", "default", "graphs-default"
        return measure.serve(lambda: answer(Torch(str(options.source), mode)))
    with tempfile.TemporaryDirectory(prefix="mlx-funasr-bench-") as folder:
        return _run(options, Path(folder))


def _run(options: argparse.Namespace, scratch: Path) -> int:
    import contextlib
    import os

    import convert

    full_size_checkpoint.ensure(options.source)
    models = options.models or scratch / "models"
    for dtype in ("float32", options.dtype):
        if not (models / dtype).is_dir():
            convert.convert(options.source, models / dtype, dtype=dtype)
    ours = ["mlx", "mlx-compiled", *["mlx-plain"] * options.plain]
    names: list[str] = [*ours, "torch-eager", *(f"torch-compiled-{mode}" for mode in options.compile)]
    names += [f"torch-graphs-{mode}" for mode in options.graphs]
    shared = ["--source", str(options.source), "--models", str(models)]
    rows, table, notes, equal, device = [], [], [], True, ""
    with contextlib.ExitStack() as stack:
        sides: dict[str, measure.Side] = {
            name: stack.enter_context(measure.Side(name, __file__, shared, os.cpu_count() or 1)) for name in names
        }
        for batch, seconds in options.cases:
            feats = str(scratch / f"{batch}x{seconds:g}.npy")
            sides["mlx"].ask(do="features", audio=str(options.audio), seconds=seconds, batch=batch, out=feats)
            same, lines = compare_ids(sides, f"{batch} x {seconds:g} s", feats, options.dtype)
            more, cells = measure_case(sides, (batch, seconds), feats, options.dtype, options.rounds)
            rows, table, notes, equal = rows + more, table + cells, [*notes, *lines], equal and same
            print("\n".join([*cells, *lines]), file=sys.stderr, flush=True)
            device = sides["torch-eager"].ask(do="ids", feats=feats, dtype=options.dtype)["device"]
    measure.publish("gpu", rows, table, options.out, [*notes, f"card: {device}"], card=device)
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
