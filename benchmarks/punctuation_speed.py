"""Full-size punctuation (vocabulary 272,727, 256 wide, 4 blocks) against FunASR in PyTorch, its export in onnxruntime.

    python benchmarks/punctuation_speed.py WORK_DIR [--threads N] [--rounds N] [--words 20,60,120,220]

Random weights, written by FunASR's class. Each side is a process of its own, and is asked by turns; a row is the median
of the rounds' ratios. With one thread times are the process's own, which a busy machine disturbs less. `window W`: one
window's labels; `text`: 2,000 words as a user gives them (FunASR's AutoModel; none for
onnxruntime). Exits with 1 where ours takes more than 0.7 of FunASR's time, or longer than onnxruntime.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
VOCABULARY, BAR = 272_727, 0.7
MARKS = ["<unk>", "_", "，", "。", "？", "、"]
CONFIG: dict[str, Any] = {
    "model": "CTTransformer",
    "model_conf": {"ignore_id": 0, "embed_unit": 256, "att_unit": 256, "punc_list": MARKS, "sentence_end_id": 3},
    "encoder": "SANMEncoder",
    "encoder_conf": {
        "input_size": 256, "output_size": 256, "attention_heads": 8, "linear_units": 1024, "num_blocks": 4,
        "input_layer": "pe", "normalize_before": True, "kernel_size": 11, "sanm_shfit": 0,
        "selfattention_layer_type": "sanm", "padding_idx": 0,
    },
    "tokenizer": "CharTokenizer",
    "tokenizer_conf": {"unk_symbol": "<unk>"},
}  # fmt: skip


def build(folder: Path) -> None:
    """Write FunASR's directory, and its own ONNX export beside."""
    import torch
    import yaml
    from funasr import AutoModel
    from funasr.register import tables

    source = folder / "source"
    source.mkdir(parents=True)
    options = {**CONFIG["model_conf"], **CONFIG, "vocab_size": VOCABULARY}
    torch.manual_seed(0)
    model = tables.model_classes["CTTransformer"](**options).eval()
    with torch.no_grad():
        model.decoder.bias.copy_(torch.tensor([-9.0, 2.0, 0.0, 0.0, -1.0, -1.0]))
    torch.save(model.state_dict(), source / "model.pt")
    tokens = ["<blank>", "<s>", "</s>", *(chr(0x4E00 + i) for i in range(8362))]
    tokens += [f"w{i}" for i in range(VOCABULARY - len(tokens) - 1)]
    (source / "tokens.json").write_text(json.dumps([*tokens, "<unk>"], ensure_ascii=False), "utf-8")
    (source / "config.yaml").write_text(yaml.safe_dump(CONFIG, allow_unicode=True), "utf-8")
    metas = {"init_param": "model.pt", "config": "config.yaml", "tokenizer_conf": {"token_list": "tokens.json"}}
    (source / "configuration.json").write_text(json.dumps({"file_path_metas": metas}), "utf-8")
    made = AutoModel(model=str(source), device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR")
    torch.onnx.export = functools.partial(torch.onnx.export, dynamo=False)
    made.export(type="onnx", quantize=False, output_dir=str(folder / "onnx"))


def text_of(words: int) -> str:
    """Return a text of so many characters of the vocabulary."""
    ids = np.random.default_rng(5).integers(0, 8362, words)
    return "".join(chr(0x4E00 + i) for i in ids)


def funasr_side(folder: Path, threads: int) -> dict[str, Callable[[int], Any]]:
    """Return what FunASR can be asked."""
    import torch
    from funasr import AutoModel

    torch.set_num_threads(threads)
    model = AutoModel(model=str(folder / "source"), device="cpu", disable_update=True, disable_pbar=True)

    def window(words: int) -> Any:
        ids = torch.arange(3, 3 + words)[None]
        with torch.no_grad():
            return model.model.punc_forward(ids, torch.tensor([words], dtype=torch.int32))[0].numpy()

    return {"window": window, "text": lambda words: model.generate(input=text_of(words))}


def onnx_side(folder: Path, threads: int) -> dict[str, Callable[[int], Any]]:
    """Return what onnxruntime can be asked."""
    import onnxruntime  # pyright: ignore[reportMissingImports]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    (path,) = folder.glob("**/model.onnx")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def window(words: int) -> Any:
        ids = np.arange(3, 3 + words, dtype=np.int32)[None]
        return session.run(None, {"inputs": ids, "text_lengths": np.array([words], np.int32)})[0]

    return {"window": window}


def our_side(folder: Path, threads: int) -> dict[str, Callable[[int], Any]]:
    """Return what ours can be asked."""
    from mlx_model.loading import load

    model = load(folder / "mlx")

    def window(words: int) -> Any:
        return model._labelled([np.arange(3, 3 + words, dtype=np.int32)])[0]

    return {"window": window, "text": lambda words: model.punctuate([text_of(words)], as_funasr=True)}


SIDES = {"ours": our_side, "funasr": funasr_side, "onnxruntime": onnx_side}


def serve(side: str, folder: Path, threads: int) -> None:
    """Answer `KIND WORDS TIMES` with the shortest of so many times, seconds."""
    clock = time.process_time if threads == 1 else time.perf_counter
    out = os.fdopen(os.dup(1), "w")
    with contextlib.redirect_stdout(io.StringIO()):
        asked = SIDES[side](folder, threads)
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        kind, words, times = line.split()
        spent = []
        for _ in range(int(times)):
            started = clock()
            with contextlib.redirect_stdout(io.StringIO()):
                asked[kind](int(words))
            spent.append(clock() - started)
        print(min(spent), file=out, flush=True)


def main() -> None:
    """Build what is not there, measure, print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("work", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--words", default="20,60,120,220")
    parser.add_argument("--side")
    given = parser.parse_args()
    if given.side == "build":
        build(given.work)
        return
    if given.side:
        serve(given.side, given.work, given.threads)
        return
    command = [sys.executable, __file__, str(given.work), "--threads", str(given.threads), "--side"]
    if not (given.work / "source").is_dir():
        subprocess.run([*command, "build"], check=True, stdout=subprocess.DEVNULL)
    if not (given.work / "mlx").is_dir():
        import convert

        convert.convert(given.work / "source", given.work / "mlx")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": str(given.threads), "PYTHONPATH": path}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "stderr": subprocess.DEVNULL}
    running: dict[str, Any] = {side: subprocess.Popen([*command, side], env=environment, **pipes) for side in SIDES}
    for side, process in running.items():
        assert process.stdout.readline() == "ready\n", side
    passed = True
    for kind, words in [*(("window", int(size)) for size in given.words.split(",")), ("text", 2000)]:
        passed = measure(running, kind, words, given.rounds) and passed
    for process in running.values():
        process.stdin.close()
        process.wait()
    sys.exit(0 if passed else 1)


def measure(running: dict[str, Any], kind: str, words: int, rounds: int) -> bool:
    """Measure one case by turns, print it, and return whether both bars hold."""
    sides = [side for side in running if kind == "window" or side != "onnxruntime"]
    times: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(rounds + 1):
        for side in sides:
            running[side].stdin.write(f"{kind} {words} {5 if kind == 'window' else 1}\n")
            running[side].stdin.flush()
            spent = float(running[side].stdout.readline())
            if number:
                times[side].append(spent)
    ratios = {
        side: statistics.median(a / b for a, b in zip(times["ours"], times[side], strict=True)) for side in sides[1:]
    }
    found = {side: round(1000 * statistics.median(spent), 2) for side, spent in times.items()}
    print(json.dumps({"case": f"{kind} {words}", "ms": found, "ratios": {k: round(v, 3) for k, v in ratios.items()}}))
    return ratios["funasr"] <= BAR and ratios.get("onnxruntime", 0.0) <= 1.0


if __name__ == "__main__":
    main()
