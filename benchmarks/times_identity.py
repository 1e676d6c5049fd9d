"""Texts and times of all 500 AISHELL utterances by models that time words: MLX against FunASR. Bar: identical.

    python benchmarks/times_identity.py [--source DIR ...] [--model DIR ...] [--hotwords TEXT] [--limit N]

FunASR: AutoModel.generate on each file, in a process of its own. MLX: `transcribe(as_funasr=True)` on the same files,
batched as by default. Compared: the text, and every [start, end] to the millisecond; where FunASR ends in an error,
that MLX says it knows no times. A difference is explained where `parity run` of that recording passes: then each
decision that differs has a margin below the noise floor. Beside it: in how many recordings the times by default differ
from FunASR's. Exit code 1 where anything is unexplained. For every class that returns `timestamp`: BiCif, SeACo (with
--hotwords, or none), and random models of them (../shared/tools/builders).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import full_size_checkpoint
import measure

TRAINED = measure.SHARED / "checkpoints/bicif_real_small"
CHILD = """
import contextlib, json, sys
request = json.load(open(sys.argv[1], encoding="utf-8"))
with contextlib.redirect_stdout(sys.stderr):
    import torch
    from funasr import AutoModel
    torch.manual_seed(0)
    model = AutoModel(
        model=request["source"], device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR", ncpu=1
    )
    model.kwargs["frontend"].dither = 0.0
    answers = []
    for file in request["files"]:
        try:
            found = model.generate(input=file, **request["options"])
            row = found[0] if found else {}
            answers.append({"text": row.get("text", ""), "timestamp": row.get("timestamp", [])})
        except (IndexError, RuntimeError) as error:
            answers.append({"error": type(error).__name__})
json.dump(answers, open(request["answers"], "w", encoding="utf-8"), ensure_ascii=False)
"""


def by_funasr(source: Path, files: Sequence[Path], options: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Return {text, timestamp} or {error} of each file."""
    request, answers = folder / "request.json", folder / "answers.json"
    given = {"source": str(source), "files": [*map(str, files)], "options": options, "answers": str(answers)}
    request.write_text(json.dumps(given), "utf-8")
    subprocess.run([sys.executable, "-c", CHILD, str(request)], check=True, stderr=subprocess.DEVNULL)
    return json.loads(answers.read_text("utf-8"))


def by_mlx(model: Path, files: Sequence[Path], options: dict[str, Any]) -> list[dict[str, Any]]:
    """Return {text, timestamp} of each file; timestamp is None where no times are known."""
    from mlx_model import load

    results = load(model).transcribe([*map(str, files)], times=True, **options)
    return [
        {"text": each.text, "timestamp": None if each.words is None else [[w.start_ms, w.end_ms] for w in each.words]}
        for each in results
    ]


def differs(theirs: dict[str, Any], ours: dict[str, Any]) -> bool:
    """Return whether text or times are not the same; FunASR's error is times that nobody knows."""
    if "error" in theirs:
        return ours["timestamp"] is not None
    return theirs["text"] != ours["text"] or theirs["timestamp"] != (ours["timestamp"] or [])


def explained(source: Path, model: Path, file: Path) -> bool:
    """Return whether `parity run` of a recording finds nothing that rounding does not explain."""
    from parity.layers.run import run

    return run(source, model, [file]).verdict == "pass"


def compare(
    source: Path, model: Path, files: Sequence[Path], options: dict[str, Any], folder: Path
) -> tuple[list[str], int, int, int]:
    """Return one line per difference, the numbers of times and of FunASR's errors, and where the default differs."""
    theirs = by_funasr(source, files, options, folder)
    ours, right = (by_mlx(model, files, {**options, "as_funasr": as_funasr}) for as_funasr in (True, False))
    lines = [
        f"{source.name} {file.stem}: FunASR {their}, MLX {our}"
        + (" (explained)" if "error" not in their and explained(source, model, file) else "")
        for file, their, our in zip(files, theirs, ours, strict=True)
        if differs(their, our)
    ]
    times = sum(len(row.get("timestamp", [])) for row in theirs)
    other = sum(row.get("timestamp", []) != each["timestamp"] for row, each in zip(theirs, right, strict=True))
    return lines, times, sum("error" in row for row in theirs), other


def main() -> int:
    """Compare every model and print the table rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, nargs="+", default=[TRAINED], help="FunASR directories")
    parser.add_argument("--model", type=Path, nargs="+", help="their conversions; made for this run when left out")
    parser.add_argument("--audio", type=Path, default=measure.SPEECH, help="folder of recordings")
    parser.add_argument("--hotwords", help="passed to both sides, as FunASR's `hotword`")
    parser.add_argument("--limit", type=int, help="compare at most so many recordings")
    options = parser.parse_args()
    files = measure.utterances(options.audio, options.limit)
    asked = {} if options.hotwords is None else {"hotword": options.hotwords}
    unexplained = 0
    for source, given in zip(options.source, options.model or [None] * len(options.source), strict=True):
        with tempfile.TemporaryDirectory(prefix="mlx-funasr-bench-") as name:
            model = full_size_checkpoint.ensure_converted(source, given, Path(name))
            lines, times, errors, other = compare(source, model, files, asked, Path(name))
        unexplained += sum(not line.endswith(" (explained)") for line in lines)
        print(
            f"| {source.name} | {len(files) - len(lines)} of {len(files)} identical | {times:,} times | {errors} "
            f"errors of FunASR | by default other times in {other} |", *lines, sep="\n", flush=True,
        )  # fmt: skip
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
