"""Whole evaluations: `mlx-funasr cer` against FunASR's AutoModel loop over 500 utterances, and what resuming costs.

    python benchmarks/cer_run.py [--rounds 3] [--utterances 500] [--journal 10000]

For each trained checkpoint in ../shared, both sides as whole processes on the same cores, in turn: `mlx-funasr cer`
with --out, start, scoring and report included, and a script that loads FunASR's AutoModel, calls generate on one file
after the other, as its documentation does, and writes the texts. Both texts are then scored and compared. Bars:
identical rates, a paired difference of 0, not slower. A new process that finds a journal of 10,000 answers must know in
under 2 s what is left (list, fingerprint, model's sha256 and journal read); how long scoring and reporting all of them
takes is printed beside it. Exit code 1 where a text differs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import measure
import numpy as np
from cold_start import installed_command

CHECKPOINTS = ("paraformer_real_digits_tiny", "paraformer_real_small")
FUNASR = """
import sys
from pathlib import Path
from funasr import AutoModel
source, dataset, out = sys.argv[1:]
auto = AutoModel(model=source, device="cpu", disable_update=True, disable_pbar=True, frontend_conf={"dither": 0.0})
lines = [line.split(maxsplit=1) for line in Path(dataset, "wav.scp").read_text("utf-8").splitlines()]
with open(out, "w", encoding="utf-8") as texts:
    for utt_id, path in lines:
        print(utt_id, auto.generate(input=str(Path(dataset, path)))[0]["text"], file=texts)
"""


RESUME = """
import sys
from pathlib import Path
from parity.cer import datasets
from parity.cer.recognizers import model_sha256
from mlx_model.files.journal import Journal
model, folder, run = sys.argv[1:]
data = datasets.read_dataset(folder)
key = {"engine": "mlx", "model_sha256": model_sha256(model), "data_sha256": datasets.fingerprint(data)}
with Journal(Path(run), {**key, "batch_seconds": 60.0}) as journal:
    print(sum(item.utt_id not in journal for item in data.utterances))
"""


def kaldi_subset(count: int, folder: Path, start: int = 0) -> Path:
    """Write a Kaldi directory of S0150's utterances `start` to `count` - 1, with absolute paths, and return it."""
    folder.mkdir()
    for name in ("wav.scp", "text", "utt2spk"):
        lines = (measure.SPEECH / name).read_text("utf-8").splitlines()[start:count]
        if name == "wav.scp":
            pairs = (line.split(maxsplit=1) for line in lines)
            lines = [f"{utt_id} {(measure.SPEECH / path).resolve()}" for utt_id, path in pairs]
        (folder / name).write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def side_by_side(name: str, dataset: Path, rounds: int, scratch: Path) -> tuple[str, dict[str, list[float]], bool]:
    """Return a table row, the seconds of both sides, and whether their rates and texts agree."""
    import convert
    from parity.cer import compare, score_files

    source, model = measure.SHARED / "checkpoints" / name, scratch / name
    convert.convert(source, model)
    ours, theirs, texts = scratch / f"{name}-mlx", scratch / f"{name}-funasr", scratch / f"{name}.hyp"
    command = [*installed_command(), "cer", str(model), str(dataset), "--out", str(ours), "--overwrite"]
    loop = [sys.executable, "-c", FUNASR, str(source), str(dataset), str(texts)]
    seconds: dict[str, list[float]] = {"mlx": [], "funasr": []}
    for _ in range(rounds):
        for side, arguments in (("mlx", command), ("funasr", loop)):
            seconds[side].append(
                measure.timed(lambda given=arguments: subprocess.run(given, check=True, capture_output=True))
            )
    score_files(dataset / "text", texts, out=theirs)
    report = compare(theirs, ours)
    ratio = statistics.median(seconds["mlx"]) / statistics.median(seconds["funasr"])
    row = (
        f"| `cer` over {report.utterances} utterances, {name.removeprefix('paraformer_real_')} | "
        f"{measure.milliseconds(seconds['mlx'])} | {measure.milliseconds(seconds['funasr'])} | {ratio:.2f} | "
        f"CER {report.b.cer:.4%} and {report.a.cer:.4%}, {report.identical} texts identical, difference "
        f"{report.difference:g} [{report.ci95[0]:g}, {report.ci95[1]:g}] |"
    )
    return row, seconds, report.identical == report.utterances


def resumed(count: int, rounds: int, scratch: Path) -> tuple[str, list[float]]:
    """Return a table row and the seconds of the command that finds a journal with all its answers."""
    import soundfile

    from mlx_model.files.journal import Journal
    from parity.cer import datasets
    from parity.cer.evaluate import BATCH_SECONDS, REPORT
    from parity.cer.recognizers import model_sha256

    texts = [line.split(maxsplit=1)[1] for line in (measure.SPEECH / "text").read_text("utf-8").splitlines()]
    folder, model, run = scratch / "large", scratch / CHECKPOINTS[0], scratch / "resumed"
    folder.mkdir()
    soundfile.write(folder / "one.wav", np.zeros(16000, np.int16), 16000)
    rows = [
        {"key": f"utt{number:06}", "source": "one.wav", "target": texts[number % len(texts)]} for number in range(count)
    ]
    (folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    data = datasets.read_dataset(folder)
    key = {
        "engine": "mlx",
        "model_sha256": model_sha256(str(model)),
        "data_sha256": datasets.fingerprint(data),
        "batch_seconds": BATCH_SECONDS,
    }
    with Journal(run, key) as journal:
        journal.append(
            [(row["key"], {"text": row["target"][:-1], "duration_s": 1.0, "error": None, "rtf": 0.01}) for row in rows]
        )
    command = [*installed_command(), "cer", str(model), str(folder), "--out", str(run), "--json"]
    resume = [sys.executable, "-c", RESUME, str(model), str(folder), str(run)]
    seconds, whole = [], []
    for _ in range(rounds):
        (run / REPORT).unlink(missing_ok=True)
        seconds.append(measure.timed(lambda: subprocess.run(resume, check=True, capture_output=True, cwd=measure.ROOT)))
        whole.append(measure.timed(lambda: subprocess.run(command, check=True, capture_output=True)))
    row = (
        f"| a journal of {count:,} answers: a new process knows what is left | {measure.milliseconds(seconds)} | 2 s | "
        f"| all scored and reported after {measure.milliseconds(whole)} |"
    )
    return row, seconds


def main() -> int:
    """Measure and print the table rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--utterances", type=int, default=500)
    parser.add_argument("--journal", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    table, found, same = [], {}, True
    with tempfile.TemporaryDirectory(prefix="mlx-funasr-bench-") as folder:
        scratch = Path(folder)
        dataset = kaldi_subset(options.utterances, scratch / "data")
        for name in CHECKPOINTS:
            row, seconds, identical = side_by_side(name, dataset, options.rounds, scratch)
            table.append(row)
            same &= identical
            found |= {f"{name} {side}": values for side, values in seconds.items()}
        row, found["resumed"] = resumed(options.journal, options.rounds, scratch)
    rows = measure.bench_rows("whole evaluations", found, f"{CHECKPOINTS[0]} funasr")
    measure.publish("cer_run", rows, [*table, row], options.out, [])
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
