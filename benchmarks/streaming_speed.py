"""A stream's window at full size on a CPU: this project against FunASR, chunk by chunk, in turn.

    python benchmarks/streaming_speed.py [--chunks 40] [--look-back 4,1] [--streams 1] [--folder DIR]

A random ParaformerStreaming of the released size (full_size_checkpoint.py: the tensors are an offline Paraformer's) is
fed 600 ms of real speech at a time: one process a side, both alive, told in turn to take one chunk, two threads each.
Timed is the whole call, samples to text. Random weights let a token fire every 120 ms, more than speech has: both
decode all of them, and the ids must agree. Prints medians, 99th percentiles and the median of the chunks' ratios. With
`--streams N` this project computes one chunk of N streams at a time, by itself.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import full_size_checkpoint
import measure
import numpy as np
import yaml

CHUNK, RATE = 9600, 16000
FOLDER = Path(tempfile.gettempdir()) / "mlx-funasr-streaming-full-size"
STREAMING: dict[str, Any] = {
    "model": "ParaformerStreaming", "encoder": "SANMEncoderChunkOpt", "frontend": "WavFrontendOnline",
    "encoder_conf": {
        **full_size_checkpoint.CONFIG["encoder_conf"], "input_layer": "pe_online", "chunk_size": [12, 15],
        "stride": [8, 10], "pad_left": [0, 0], "encoder_att_look_back_factor": [4, 4],
        "decoder_att_look_back_factor": [1, 1],
    },
    "decoder_conf": {**full_size_checkpoint.CONFIG["decoder_conf"], "sanm_shfit": 5},
}  # fmt: skip


def speech(seconds: float = 60.0) -> np.ndarray:
    """Return real speech, utterances one after the other."""
    import soundfile

    found, wanted = [], int(seconds * RATE)
    for path in sorted((measure.SPEECH / "wav").rglob("*.wav")):
        found.append(soundfile.read(path, dtype="float32")[0])
        if sum(map(len, found)) >= wanted:
            break
    return np.concatenate(found)[:wanted]


def ensure(folder: Path) -> tuple[Path, Path]:
    """Return FunASR's directory and ours, made where they are not there."""
    offline = full_size_checkpoint.ensure(full_size_checkpoint.DEFAULT)
    source, model = folder / "funasr", folder / "mlx"
    if not (source / "config.yaml").is_file():
        source.mkdir(parents=True, exist_ok=True)
        for name in ("tokens.json", "am.mvn", "model.pt"):
            (source / name).symlink_to(offline / name)
        config = {**full_size_checkpoint.CONFIG, **STREAMING}
        (source / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
    if not (model / "config.json").is_file():
        import convert

        convert.convert(source, model)
    return source, model


class Ours:
    """The converted model; one chunk of so many streams a call."""

    def __init__(self, directory: str, look_back: str, streams: str):
        import mlx_model
        from mlx_model.pipelines.streams import Streams

        encoder, decoder = map(int, look_back.split(","))
        self.many = Streams(mlx_model.load(directory))
        asked: dict[str, Any] = {"encoder_chunk_look_back": encoder, "decoder_chunk_look_back": decoder}
        self.streams = [self.many.open(as_funasr=True, **asked) for _ in range(int(streams))]
        self.samples, self.at = speech(), 0

    def chunk(self) -> tuple[float, list[int]]:
        """Return the seconds that one chunk took, and the first stream's ids."""
        given = self.samples[self.at : self.at + CHUNK]
        self.at = (self.at + CHUNK) % (len(self.samples) - CHUNK)
        started = time.perf_counter()
        for stream in self.streams:
            stream.push(given)
        found = self.many.step()
        return time.perf_counter() - started, found[0][1].token_ids


class FunASR:
    """The reference, through its model's `inference`, without what AutoModel adds."""

    def __init__(self, directory: str, look_back: str, streams: str):
        from funasr import AutoModel

        encoder, decoder = map(int, look_back.split(","))
        self.auto = AutoModel(model=directory, device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR")
        self.asked = {"chunk_size": [0, 10, 5], "encoder_chunk_look_back": encoder, "decoder_chunk_look_back": decoder}
        self.cache: dict[str, Any] = {}
        self.samples, self.at = speech(), 0

    def chunk(self) -> tuple[float, list[int]]:
        """Return the seconds that one chunk took, and its ids."""
        import torch

        given = self.samples[self.at : self.at + CHUNK]
        self.at = (self.at + CHUNK) % (len(self.samples) - CHUNK)
        settings = {**self.auto.kwargs, **self.asked, "is_final": False, "cache": self.cache}
        started = time.perf_counter()
        with torch.no_grad():
            (result,), _ = self.auto.model.inference(data_in=[given], key=["x"], **settings)
        taken = time.perf_counter() - started
        tokens = self.auto.kwargs["tokenizer"].token_list
        return taken, [tokens.index(character) for character in result["text"]]  # one character a token here


def serve(side: Any) -> Any:
    """Return what answers: one chunk."""

    def answer(_: dict[str, Any]) -> dict[str, Any]:
        seconds, ids = side.chunk()
        return {"seconds": seconds, "ids": ids}

    return answer


SIDES = {"mlx": Ours, "funasr": FunASR}


def main() -> int:
    """Measure, or serve as one side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", choices=SIDES)
    parser.add_argument("--directory")
    parser.add_argument("--chunks", type=int, default=40)
    parser.add_argument("--look-back", default="4,1")
    parser.add_argument("--streams", default="1")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    given = parser.parse_args()
    if given.serve:
        return measure.serve(lambda: serve(SIDES[given.serve](given.directory, given.look_back, given.streams)))
    source, model = ensure(given.folder)
    many = given.streams != "1"
    directories = {"mlx": model} if many else {"mlx": model, "funasr": source}
    children = {
        name: measure.Side(
            name, __file__, ["--directory", str(where), "--look-back", given.look_back, "--streams", given.streams]
        )
        for name, where in directories.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in children}
    same = 0
    for number in range(given.chunks + 4):
        found = {name: child.ask() for name, child in children.items()}
        if number < 4:
            continue
        for name, reply in found.items():
            seconds[name].append(reply["seconds"])
        same += len({tuple(reply["ids"]) for reply in found.values()}) == 1
    for child in children.values():
        child.close()
    for name, values in seconds.items():
        print(f"{name}: median {statistics.median(values) * 1e3:.1f} ms, 99th {np.percentile(values, 99) * 1e3:.1f} ms")
    if not many:
        ratios = [ours / theirs for ours, theirs in zip(seconds["mlx"], seconds["funasr"], strict=True)]
        print(f"median of ratios {statistics.median(ratios):.3f}; chunks with the same ids {same} of {given.chunks}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
