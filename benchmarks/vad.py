"""FSMN-VAD: this project against FunASR, and against onnxruntime inside FunASR, on the released network.

    python benchmarks/vad.py [--source DIR] [--model DIR] [--sides mlx funasr onnxruntime] [--rounds 7] [--hours 10]

Two threads each. Timed: samples in memory to segments, a recording at once, and a stream of 100 ms chunks of which
every call is timed. FunASR is called through its model's `inference`, without what AutoModel adds. `onnxruntime` is
FunASR too, its front end and state machine, with the network exported to ONNX (caches as inputs and outputs). One
process per side, all alive, told in turn to run once (see measure.py). The segments of all sides must be identical:
exit code 1 otherwise. Bars: at most half of FunASR's time, not slower than onnxruntime; printed, not asserted. Last,
this project's memory over a synthetic stream of `--hours`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import measure
import numpy as np

from parity.bench import funasr_side, mlx_side

SOURCE = measure.SHARED / "checkpoints" / "fsmn_vad"
EXAMPLE = measure.SHARED / "data" / "speech_misc" / "vad_example" / "vad_example.wav"
CHUNK_MS = 100


class Mlx(mlx_side.Mlx):
    """The converted model."""

    def whole(self, waveform: np.ndarray, dynamic: bool) -> list[list[int]]:
        """Return the segments of a recording."""
        from mlx_model.models.fsmn_vad_streaming import VadOptions

        return self.model.segments(waveform, VadOptions(dynamic_silence=dynamic))

    def start(self, chunk_ms: int, dynamic: bool) -> Any:
        """Return function(chunk, is_final) -> events of one stream."""
        from mlx_model.models.fsmn_vad_streaming import VadOptions

        stream = self.model.stream(chunk_ms=chunk_ms, options=VadOptions(dynamic_silence=dynamic))
        return lambda chunk, is_final: stream.feed(chunk, is_final=is_final)


class FunASR(funasr_side.FunASR):
    """The reference."""

    def whole(self, waveform: np.ndarray, dynamic: bool) -> list[list[int]]:
        """Return the segments of a recording."""
        return self._call(waveform, dynamic_silence=dynamic)

    def start(self, chunk_ms: int, dynamic: bool) -> Any:
        """Return function(chunk, is_final) -> events of one stream."""
        cache: dict[str, Any] = {}
        return lambda chunk, is_final: self._call(
            chunk, cache=cache, is_final=is_final, chunk_size=chunk_ms, dynamic_silence=dynamic
        )

    def _call(self, samples: np.ndarray, **options: Any) -> list[list[int]]:
        with self.torch.inference_mode():
            return self.auto.model.inference([samples], key=["key"], **{**self.auto.kwargs, **options})[0][0]["value"]


class OnnxRuntime(FunASR):
    """FunASR with its network exchanged for the same one in onnxruntime."""

    def load(self) -> None:
        """Load the source, and export its network."""
        super().load()
        self.auto.model.encoder = _OnnxEncoder(self.auto.model.encoder, self.threads)


def _OnnxEncoder(encoder: Any, threads: int) -> Any:  # noqa: N802  a class, made when torch is there
    """Export FunASR's FSMN with FunASR's own export class and return a module that runs it in onnxruntime."""
    import copy

    import onnxruntime  # pyright: ignore[reportMissingImports]
    import torch
    from funasr.models.fsmn_vad_streaming.encoder import FSMNExport

    layers = range(len(encoder.fsmn))
    block = encoder.fsmn[0]
    empty = torch.zeros(1, block.fsmn_block.dim, (block.lorder - 1) * block.lstride, 1)
    names = [f"in_cache{i}" for i in layers], [f"out_cache{i}" for i in layers]
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.onnx"
        example = (torch.zeros(1, 30, encoder.input_dim), *[empty for _ in layers])
        torch.onnx.export(
            FSMNExport(copy.deepcopy(encoder)).eval(), example, path,
            input_names=["feats", *names[0]], output_names=["scores", *names[1]],
            dynamic_axes={"feats": {1: "T"}, "scores": {1: "T"}}, opset_version=14, dynamo=False,
        )  # fmt: skip
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    class Encoder(torch.nn.Module):
        def forward(self, feats: Any, cache: dict[str, Any]) -> Any:
            past = cache.get("onnx") or [empty.numpy() for _ in layers]
            scores, *cache["onnx"] = session.run(
                None, {"feats": feats.numpy(), **dict(zip(names[0], past, strict=True))}
            )
            return torch.from_numpy(scores)

    return Encoder()


SIDES = {"mlx": Mlx, "funasr": FunASR, "onnxruntime": OnnxRuntime}


def serve(name: str, source: str, model: str, threads: int) -> int:
    """Be one side: answer {audio, chunk_ms, dynamic} with {seconds, events, latencies}."""

    def make() -> Any:
        side = SIDES[name](model if name == "mlx" else source, threads)

        def answer(request: dict[str, Any]) -> dict[str, Any]:
            if "hours" in request:
                return endless(side, request["hours"])
            waveform = np.load(request["audio"])
            if request["chunk_ms"] is None:
                start = time.perf_counter()
                events = side.whole(waveform, request["dynamic"])
                return {"seconds": time.perf_counter() - start, "events": events, "latencies": []}
            return streamed(side, waveform, request["chunk_ms"], request["dynamic"])

        return answer

    return measure.serve(make)


def streamed(side: Any, waveform: np.ndarray, chunk_ms: int, dynamic: bool) -> dict[str, Any]:
    """Feed a recording chunk by chunk and time every call."""
    feed, size = side.start(chunk_ms, dynamic), chunk_ms * 16
    events, latencies = [], []
    for at in range(0, len(waveform), size):
        start = time.perf_counter()
        events += feed(waveform[at : at + size], at + size >= len(waveform))
        latencies.append(time.perf_counter() - start)
    return {"seconds": sum(latencies), "events": events, "latencies": latencies}


def endless(side: Any, hours: float) -> dict[str, Any]:
    """Stream speech-like and silent seconds for hours of audio; return resident MB after every tenth of it."""
    rng = np.random.default_rng(0)
    seconds = round(hours * 3600)
    pitch = np.sin(2 * np.pi * 140 * np.arange(16000) / 16000).astype(np.float32)
    feed = side.start(1000, False)
    megabytes, segments = [], 0
    start = time.perf_counter()
    for second in range(seconds):
        loud = 0.1 if second % 11 < 7 else 0.0
        chunk = loud * pitch * np.float32(rng.random()) + 0.001 * rng.standard_normal(16000, dtype=np.float32)
        segments += len(feed(chunk, second == seconds - 1))
        if second % max(seconds // 10, 1) == 0:
            megabytes.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6)
    return {"seconds": time.perf_counter() - start, "events": segments, "latencies": megabytes}


def converted(source: str, folder: str) -> str:
    """Convert the network for this run and return where it lies."""
    import convert

    convert.convert(source, f"{folder}/model")
    return f"{folder}/model"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--source", default=str(SOURCE))
    parser.add_argument("--model")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=[*SIDES], help="funasr must be one of them")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.serve:
        return serve(given.serve, given.source, given.model, given.threads)
    with tempfile.TemporaryDirectory() as folder:
        return run(given, folder)


def run(given: argparse.Namespace, folder: str) -> int:
    """Measure all sides, print the table, return the exit code."""
    import soundfile

    model = given.model or converted(given.source, folder)
    audio = f"{folder}/audio.npy"
    waveform = soundfile.read(EXAMPLE, dtype="float32")[0]
    np.save(audio, waveform)
    arguments = ["--source", given.source, "--model", model, "--threads", str(given.threads)]
    sides = {name: measure.Side(name, __file__, arguments, given.threads) for name in given.sides}
    rows, table, notes, same = [], [], [], True
    answers: dict[str, dict[str, Any]] = {}
    latencies: dict[str, list[float]] = {}
    try:
        for case, chunk_ms in (("a recording of 70 s", None), (f"a stream of {CHUNK_MS} ms chunks", CHUNK_MS)):

            def turn(name: str, chunk_ms: int | None = chunk_ms) -> float:
                answers[name] = sides[name].ask(audio=audio, chunk_ms=chunk_ms, dynamic=False)
                latencies.setdefault(name, []).extend(answers[name]["latencies"])
                return answers[name]["seconds"]

            children = [side.child.pid for side in sides.values()]
            turns = {name: (lambda name=name: turn(name)) for name in sides}
            seconds, note = measure.interleave(turns, given.rounds, children)
            same &= all(answer["events"] == answers["funasr"]["events"] for answer in answers.values())
            rows += measure.bench_rows(case, seconds, "funasr")
            notes.append(f"{case}: {note}")
            duration = len(waveform) / 16000
            table += [
                f"| {case}, {name} | {measure.milliseconds(values)} | RTF {statistics.median(values) / duration:.5f} | "
                f"{statistics.median(values) / statistics.median(seconds['funasr']):.2f} of FunASR |"
                for name, values in seconds.items()
            ]
        table += [f"| one {CHUNK_MS} ms chunk, {name} | median {1e3 * np.median(values):.2f} ms | "
                  f"99th percentile {1e3 * np.percentile(values, 99):.2f} ms | |"
                  for name, values in latencies.items() if values]  # fmt: skip
    finally:
        for side in sides.values():
            side.close()
    if given.hours:
        with measure.Side("mlx", __file__, arguments, given.threads) as side:
            answer = side.ask(hours=given.hours)
        steps = ", ".join(f"{value:.0f}" for value in answer["latencies"])
        table.append(f"| a stream of {given.hours:g} h, mlx | {answer['seconds']:.0f} s | resident MB: {steps} | |")
    measure.publish("vad", rows, table, given.out, notes, identical=same)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
