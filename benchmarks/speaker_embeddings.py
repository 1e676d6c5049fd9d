"""CAM++ and ERes2NetV2 against FunASR: embeddings of random models of five widths, nearest speakers, time at full size.

    python benchmarks/speaker_embeddings.py identity WAV_FOLDER [--count 500]
    python benchmarks/speaker_embeddings.py speed [--windows 32] [--rounds 5] [--threads 1]

FunASR runs in processes of its own, MLX in this one. `identity`: for each model the distance from FunASR on FunASR's
own features in units of FunASR's distance from float64 (quartiles and the largest), the same end to end in absolute
numbers, and how many recordings have another nearest recording. `speed`: windows of 1.5 s; FunASR computes what
AutoModel gives it, a window at a time, and a batch of all; medians of interleaved rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
WIDTHS = {
    "CAMPPlus": [{"growth_rate": 4 * n, "bn_size": 2 + n % 3, "init_channels": 16 * n, "embedding_size": 32 * n}
                 for n in range(1, 6)],
    "ERes2NetV2": [{"m_channels": 8 * (1 + n % 2), "baseWidth": 24 + n, "scale": 2 + n % 2, "embedding_size": 32 * n,
                    "num_blocks": [1, 1, 2, 1]} for n in range(1, 6)],
}  # fmt: skip


def theirs(request: dict[str, Any]) -> None:
    """FunASR's part of `identity`: write a model, and what it makes of every recording."""
    import funasr  # noqa: F401
    import torch

    from tests.make_speakers import embeddings, write

    torch.set_num_threads(1)
    with np.load(request["waveforms"]) as stored:
        speech = [stored[name] for name in stored.files]
    config = {"model": request["model"], "model_conf": request["conf"]}
    whole = [part for part in speech if len(part) >= 24000][:12]
    model = write(config, Path(request["folder"]) / "model", request["number"], whole, False)
    rows = embeddings(model, speech)
    found = {f"{row}/{part}": value for row, values in enumerate(rows) for part, value in enumerate(values)}
    np.savez(Path(request["folder"]) / "answers.npz", **found)


def identity(wavs: Path, count: int) -> None:
    """Compare embeddings of recordings."""
    import convert
    import mlx_model
    from mlx_model.audio.files import load_audio
    from mlx_model.machine.blas import mx

    files = sorted(wavs.rglob("*.wav"))[:count]
    speech = [load_audio(file)[: 16000 * 3] for file in files]
    for model, confs in WIDTHS.items():
        for number, conf in enumerate(confs):
            with tempfile.TemporaryDirectory() as folder:
                np.savez(Path(folder) / "waveforms.npz", *speech)
                request = {"folder": folder, "waveforms": f"{folder}/waveforms.npz", "model": model, "conf": conf}
                asked({"what": "theirs", "number": number, **request})
                convert.convert(Path(folder) / "model", Path(folder) / "mlx")
                ours = mlx_model.load(Path(folder) / "mlx")
                with np.load(Path(folder) / "answers.npz") as stored:
                    answers = [[stored[f"{row}/{part}"] for part in range(3)] for row in range(len(speech))]
                net = [np.array(ours(mx.array(f[None]), mx.array([len(f)])))[0] for f, *_ in answers]
                report(f"{model} {conf}", net, ours.embed(speech), answers)


def report(name: str, net: list[np.ndarray], ours: np.ndarray, answers: list[list[np.ndarray]]) -> None:
    """Print one model's distances and nearest recordings."""
    expected, exact = (np.stack([answer[part] for answer in answers]) for part in (1, 2))
    away, floor = (np.linalg.norm(each - exact, axis=1) for each in (np.stack(net), expected))
    ratios = away / floor
    relative = np.linalg.norm(ours - expected, axis=1) / np.linalg.norm(expected, axis=1)
    differ = int((nearest(ours) != nearest(expected)).sum())
    print(
        f"{name}: {len(ours)} recordings, floors median {np.median(ratios):.2f} p95 {np.quantile(ratios, 0.95):.2f} "
        f"max {ratios.max():.2f}, pooled {np.linalg.norm(away) / np.linalg.norm(floor):.2f}; end to end median "
        f"{np.median(relative):.1e} max {relative.max():.1e}; other nearest {differ}",
        flush=True,
    )


def nearest(rows: np.ndarray) -> np.ndarray:
    """Return the number of the recording whose embedding has the largest cosine, itself left out."""
    unit = rows.astype(np.float64) / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2)
    return cosines.argmax(axis=1)


def asked(request: dict[str, Any]) -> str:
    """Run FunASR's or ONNX Runtime's part in a process, and return what it printed last."""
    command = [sys.executable, __file__, "child", json.dumps(request)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if ran.returncode:
        raise SystemExit(f"{request['what']}: {ran.stderr[-2000:]}")
    return ran.stdout.strip().split("\n")[-1]


def timed(run: Any, rounds: int) -> float:
    """Return the median seconds of some runs, after one to warm up."""
    run()
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return float(np.median(found))


def speed_of(request: dict[str, Any]) -> None:
    """Time one side on features of windows: prints {way: seconds}."""
    feats = np.load(request["feats"])
    rounds, threads, folder = request["rounds"], request["threads"], request["folder"]
    found: dict[str, float] = {}
    if request["side"] == "mlx":
        import mlx_model
        from mlx_model.machine.blas import mx

        model = mlx_model.load(f"{folder}/mlx")
        lengths, rows = mx.array([feats.shape[1]] * len(feats)), mx.array(feats)
        found["batch"] = timed(lambda: mx.eval(model(rows, lengths)), rounds)
        alone = range(len(feats))
        found["one by one"] = timed(lambda: [mx.eval(model(rows[i : i + 1], lengths[:1])) for i in alone], 1)
    elif request["side"] == "funasr":
        import funasr  # noqa: F401
        import torch

        torch.set_num_threads(threads)
        network = torch.load(f"{folder}/network.pt", weights_only=False)
        rows = torch.from_numpy(feats)
        with torch.no_grad():
            found["batch"] = timed(lambda: network(rows.clone()), rounds)
            found["one by one"] = timed(lambda: [network(rows[i : i + 1].clone()) for i in range(len(feats))], 1)
    else:
        onnxruntime: Any = import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(f"{folder}/network.onnx", options, providers=["CPUExecutionProvider"])
        found["batch"] = timed(lambda: session.run(None, {"x": feats}), rounds)
        found["one by one"] = timed(lambda: [session.run(None, {"x": feats[i : i + 1]}) for i in range(len(feats))], 1)
    print(json.dumps(found))


def full_size(request: dict[str, Any]) -> None:
    """Write a random model of the released size, torch's module, its ONNX export, and features of windows."""
    import funasr  # noqa: F401
    import torch

    from tests.make_speakers import write

    rng = np.random.default_rng(0)
    speech = [(0.1 * rng.standard_normal(24000)).astype(np.float32) for _ in range(4)]
    folder = Path(request["folder"])
    model = write({"model": request["model"], "model_conf": {}}, folder / "model", 0, speech, False)
    torch.save(model, folder / "network.pt")
    feats = rng.standard_normal((request["windows"], 148, 80)).astype(np.float32)
    np.save(folder / "feats.npy", feats)
    axes = {"x": {0: "batch"}, "y": {0: "batch"}}
    with contextlib.suppress(Exception):  # speed() says so where there is none
        torch.onnx.export(
            model, (torch.from_numpy(feats[:2]),), str(folder / "network.onnx"), input_names=["x"],
            output_names=["y"], dynamic_axes=axes, dynamo=False,
        )  # fmt: skip


def speed(windows: int, rounds: int, threads: int) -> None:
    """Compare times at full size, sides in turn."""
    import convert

    for model in WIDTHS:
        with tempfile.TemporaryDirectory() as folder:
            asked({"what": "full_size", "folder": folder, "model": model, "windows": windows})
            convert.convert(Path(folder) / "model", Path(folder) / "mlx")
            base = {"what": "speed_of", "feats": f"{folder}/feats.npy", "folder": folder, "threads": threads}
            times: dict[str, list[dict[str, float]]] = {"mlx": [], "funasr": [], "onnxruntime": []}
            if not (Path(folder) / "network.onnx").exists():
                print(f"{model}: no ONNX of it here (torch exports none, or onnx is not installed)")
                del times["onnxruntime"]
            for _ in range(3):
                for side, found in times.items():
                    found.append(json.loads(asked({**base, "side": side, "rounds": rounds})))
            for way in ("batch", "one by one"):
                medians = {side: float(np.median([row[way] for row in found])) for side, found in times.items()}
                each = ", ".join(f"{side} {1000 * value / windows:.1f} ms" for side, value in medians.items())
                ratios = [f"mlx/{side} {medians['mlx'] / medians[side]:.2f}" for side in medians if side != "mlx"]
                print(f"{model} {way}, a window: {each}; {', '.join(ratios)}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        wanted = json.loads(sys.argv[2])
        {"theirs": theirs, "speed_of": speed_of, "full_size": full_size}[wanted.pop("what")](wanted)
        raise SystemExit
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("identity", "speed"))
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--windows", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if given.what == "identity":
        identity(given.folder, given.count)
    else:
        speed(given.windows, given.rounds, given.threads)
