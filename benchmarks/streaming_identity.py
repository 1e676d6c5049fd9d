"""Tokens and firings of ParaformerStreamings, window by window: MLX against FunASR. Bar: identical, or explained.

    python benchmarks/streaming_identity.py [--random 8] [--seed 3] [--limit 200] [--each N] [--source DIR]

The trained checkpoint and random architectures of ../shared/tools/builders, on AISHELL utterances, in five chunkings
and with three look-backs; `--each N`: of the utterances, N drawn for every setting. Both sides are streams that are
given samples in calls of random sizes, each side of its own. FunASR: its `inference` with a cache, in a process of its
own; firings are read off its predictor's frame, and every window's ids off its tokenizer. MLX:
`model.stream(as_funasr=True)`.

A difference is explained where the first token that differs has, in FunASR, a second one within GAP of it in log
probability, or the first firing a sum within EDGE of a whole token: the two front ends' rounding (up to 5e-4 in
features) moves scores by that much. Exit code 1 where something is left.
"""

from __future__ import annotations

import argparse
import itertools
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import measure
import numpy as np

from mlx_model.config.chunking import Chunking

BUILDER = (measure.SHARED / "tools" / "builders" / "streaming").with_suffix(".py")
TRAINED = measure.SHARED / "checkpoints" / "paraformer_real_streaming"
CHUNKS = ((0, 10, 5), (5, 10, 5), (0, 8, 4), (0, 6, 3), (4, 12, 4))
LOOK_BACKS = ((0, 0), (4, 1), (-1, 2))
GAP, EDGE = 5e-3, 1e-4


def settings() -> Iterator[Chunking]:
    """Yield the 15 settings."""
    for size, (encoder, decoder) in itertools.product(CHUNKS, LOOK_BACKS):
        yield Chunking(chunk_size=size, encoder_chunk_look_back=encoder, decoder_chunk_look_back=decoder)


def calls(samples: int, seed: str) -> list[tuple[int, int]]:
    """Return where a recording is cut into calls: a few samples, a second, more."""
    draw, edges = random.Random(seed), [0]
    while edges[-1] < samples:
        size = draw.choice((1, 160, 777, 4800, 9600, 16000, 40000)) + draw.randint(0, 3000)
        edges.append(min(edges[-1] + size, samples))
    return list(itertools.pairwise(edges))


def reference(source: str) -> int:
    """Serve FunASR: each request is {files, options, seed}; the answer, window by window, what it decided."""
    import torch

    from parity.families.paraformer_streaming.watching import Overheard, firings, returning
    from parity.sides.reference import load
    from parity.taps.swap import swap, swapped

    def made() -> Any:
        torch.set_num_threads(1)
        auto = load(source)
        predictor, decoder = auto.model.predictor, auto.model.decoder
        frames, scores = list[dict[str, Any]](), list[Any]()
        fired, spelt = type(predictor).forward_chunk, type(decoder).forward_chunk

        def integrated(self: Any, *args: Any, **kwargs: Any) -> Any:
            with returning(fired) as found:  # what it keeps to itself; watching costs time, so nothing else is
                answer = fired(self, *args, **kwargs)
            frames.extend(found)
            return answer

        def decoded(self: Any, *args: Any, **kwargs: Any) -> Any:
            scores.append(spelt(self, *args, **kwargs))
            return scores[-1]

        swap(predictor, forward_chunk=integrated)
        swap(decoder, forward_chunk=decoded)
        given = {key: value for key, value in auto.kwargs.items() if key not in ("tokenizer", "cache", "is_final")}

        def heard(path: str, options: dict[str, Any], seed: str) -> list[dict[str, Any]]:
            import soundfile

            windows: list[dict[str, Any]] = []
            waveform, _ = soundfile.read(path, dtype="float32")
            tokenizer = Overheard(auto.kwargs["tokenizer"])
            cls: Any = type(auto.model)

            def generate_chunk(model: Any, /, *args: Any, **kwargs: Any) -> Any:
                known, _, _ = len(tokenizer.called), frames.clear(), scores.clear()
                answer = cls.generate_chunk(model, *args, **kwargs)
                sums, fires, _ = firings(frames[0]["alphas"][0].numpy(), predictor.threshold)
                best = torch.log_softmax(scores[0][0], -1).topk(2).values.numpy() if scores else np.zeros((0, 2))
                windows.append({
                    "ids": tokenizer.called[-1] if len(tokenizer.called) > known else [],
                    "fires": (np.flatnonzero(fires[1:])).tolist(), "gaps": (best[:, 0] - best[:, 1]).tolist(),
                    "sums": sums[1:].tolist(), "left": kwargs["cache"]["encoder"]["chunk_size"][0],
                })  # fmt: skip
                return answer

            cache: dict[str, Any] = {}
            with swapped(auto.model, generate_chunk=generate_chunk), torch.inference_mode():
                for first, stop in calls(len(waveform), seed):
                    asked = {**given, **options, "is_final": stop == len(waveform), "cache": cache}
                    auto.model.inference([waveform[first:stop]], key=["utt"], tokenizer=tokenizer, **asked)
            return windows

        return lambda asked: {"rows": [heard(path, asked["options"], asked["seed"]) for path in asked["files"]]}

    return measure.serve(made)


def ours(model: Any, files: Sequence[Path], options: dict[str, Any], seed: str) -> list[list[dict[str, Any]]]:
    """Return what streams of ours decide, window by window: all at once, each in calls of its own."""
    from mlx_model.audio.files import load_audio
    from mlx_model.pipelines.streams import Streams
    from parity.taps.swap import swapped

    many, found, step, left = Streams(model), list[Any](), type(model).step, options["chunk_size"][0]
    streams = [many.open(**options, as_funasr=True) for _ in files]
    windows: dict[int, list[dict[str, Any]]] = {id(stream): [] for stream in streams}

    def noting(self: Any, *given: Any) -> Any:
        found[:] = step(self, *given)
        return found

    waveforms = [load_audio(path, 16000) for path in files]
    pushes = [
        iter(calls(len(waveform), f"{seed} ours {path.stem}")) for path, waveform in zip(files, waveforms, strict=True)
    ]
    with swapped(model, step=noting):
        while many.streams:
            for stream, waveform, push in zip(streams, waveforms, pushes, strict=True):
                for first, stop in itertools.islice(push, 1):
                    stream.push(waveform[first:stop], is_final=stop == len(waveform))
            while partials := many.step():
                for (stream, _), one in zip(partials, found, strict=True):
                    windows[id(stream)].append({"ids": one.token_ids, "fires": (one.fired.frames + left).tolist()})
    return [windows[id(stream)] for stream in streams]


def difference(theirs: Sequence[dict[str, Any]], own: Sequence[dict[str, Any]]) -> tuple[str, bool]:
    """Return the first difference in words, "" where there is none, and whether rounding explains it."""
    if len(theirs) != len(own):
        return f"{len(theirs)} windows in FunASR, {len(own)} here", False
    for number, (one, two) in enumerate(zip(theirs, own, strict=True)):
        if one["fires"] != two["fires"]:
            frame = min(set(one["fires"]) ^ set(two["fires"]))
            near = min(abs(one["sums"][at] - 1.0) for at in (frame - 1, frame) if 0 <= at < len(one["sums"]))
            return f"window {number}, frame {frame} fires on one side; sum {near:.1e} from a token", near <= EDGE
        if one["ids"] != two["ids"]:
            gap = min(one["gaps"])
            return f"window {number}: {one['ids']} in FunASR, {two['ids']} here; least gap {gap:.1e}", gap <= GAP
    return "", True


def compare(directory: Path, files: Sequence[Path], each: int | None) -> tuple[int, int, int, list[str]]:
    """Print a row for every setting; return streams, windows and tokens compared, and what differs."""
    import convert
    from mlx_model.loading import load

    streams, windows, tokens, left = 0, 0, 0, list[str]()
    with tempfile.TemporaryDirectory() as folder, \
            measure.Side("funasr", __file__, ["--source", str(directory)], 1) as theirs:  # fmt: skip
        convert.convert(directory, Path(folder) / "model")
        model = load(Path(folder) / "model")
        for setting in settings():
            options = {
                "chunk_size": [*setting.chunk_size], "encoder_chunk_look_back": setting.encoder_chunk_look_back,
                "decoder_chunk_look_back": setting.decoder_chunk_look_back,
            }  # fmt: skip
            seed = f"{directory.name} {options}"
            chosen = files if each is None else random.Random(seed).sample(list(files), min(each, len(files)))
            start = time.perf_counter()
            rows = theirs.ask(files=[str(file) for file in chosen], options=options, seed=seed)["rows"]
            middle = time.perf_counter()
            found = ours(model, chosen, options, seed)
            end, differ = time.perf_counter(), 0
            for file, one, two in zip(chosen, rows, found, strict=True):
                text, explained = difference(one, two)
                if text:
                    differ += 1
                    verdict = "explained" if explained else "NOT EXPLAINED"
                    left.append(f"{directory.name}, {options}, {file.stem}: {text}: {verdict}")
                windows += len(one)
                tokens += sum(len(window["ids"]) for window in one)
            streams += len(chosen)
            shown = ",".join(map(str, setting.chunk_size)), *list(options.values())[1:]
            print(f"| {directory.name} | {shown[0]} look-back {shown[1]},{shown[2]} | {len(chosen)} streams, {differ} "
                  f"differ | MLX {end - middle:.1f} s, FunASR {middle - start:.1f} s |", flush=True)  # fmt: skip
    return streams, windows, tokens, left


def main() -> int:
    """Compare all, or be FunASR's side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random", type=int, default=8, help="random architectures beside the trained one")
    parser.add_argument("--seed", type=int, default=3, help="of the random architectures")
    parser.add_argument("--limit", type=int, default=200, help="utterances")
    parser.add_argument("--each", type=int, default=None, help="so many of them, drawn anew for every setting")
    parser.add_argument("--source", type=Path, default=None, help="one directory instead")
    parser.add_argument("--serve", choices=["funasr"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        return reference(str(given.source))
    files, totals, left = measure.utterances(limit=given.limit), [0, 0, 0], list[str]()
    with tempfile.TemporaryDirectory() as folder:
        out, directories = Path(folder) / "random", [given.source or TRAINED]
        if given.source is None and given.random:
            cmvn = TRAINED / "am.mvn"
            command = [sys.executable, str(BUILDER), str(out), str(given.random), str(given.seed), str(cmvn)]
            subprocess.run(command, check=True, capture_output=True, cwd=BUILDER.parent)
            directories += sorted(out.glob("arch*"))
        for directory in directories:
            *counts, differ = compare(directory, files, given.each)
            totals, left = [one + two for one, two in zip(totals, counts, strict=True)], [*left, *differ]
    unexplained = [line for line in left if line.endswith("NOT EXPLAINED")]
    counted = "{} streams, {} windows, {} tokens compared".format(*totals)
    print("\n".join([*left, f"{counted}; {len(left)} streams differ, {len(unexplained)} of them not explained"]))
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
