"""Times of known texts against FunASR, to the millisecond: a trained checkpoint on AISHELL, and random architectures.

    python benchmarks/align_identity.py BICIF_DIR KALDI_DIR WORK_DIR [--builder FA_PY] [--limit N] [--each N]

BICIF_DIR is a trained BiCifParaformer, of whose encoder and predictor FunASR's MonotonicAligner is made (no trained
one is at hand); KALDI_DIR holds wav.scp and text. FA_PY, where given, writes eight random architectures (`python FA_PY
OUT N SEED CMVN`), each run on N utterances. FunASR runs in a process of its own (tests/make_monotonic_aligner.py), one
utterance at a time; ours in batches, as a user gets them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SEED = 20


def cases_of(kaldi: Path, limit: int) -> list[list[str]]:
    """Return [recording, text] of a Kaldi directory."""
    lines = (kaldi / "wav.scp").read_text("utf-8").splitlines()
    paths = dict(line.split(maxsplit=1) for line in lines)
    texts = dict(line.split(maxsplit=1) for line in (kaldi / "text").read_text("utf-8").splitlines())
    return [[str(kaldi / path), texts[key]] for key, path in paths.items() if key in texts][:limit]


def asked(folder: Path, request: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return FunASR's answers to a request, kept in `folder` for the next run."""
    if not (folder / "answers.json").is_file():
        (folder / "request.json").write_text(json.dumps({"folder": str(folder), **request}), "utf-8")
        maker = str(ROOT / "tests/make_monotonic_aligner.py")
        subprocess.run([sys.executable, maker, str(folder / "request.json")], check=True, capture_output=True)
    return json.loads((folder / "answers.json").read_text("utf-8"))


def compare(source: Path, cases: list[list[str]], theirs: list[dict[str, Any]]) -> dict[str, int]:
    """Return how many utterances and words were compared, and on how many the two differ."""
    import convert
    from mlx_model.loading import load

    model = load(source.with_name(f"{source.name}.mlx")) if source.with_name(f"{source.name}.mlx").is_dir() else None
    if model is None:
        convert.convert(source, source.with_name(f"{source.name}.mlx"))
        model = load(source.with_name(f"{source.name}.mlx"))
    found = model.align([path for path, _ in cases], [text for _, text in cases], as_funasr=True)
    counted = {"utterances": len(cases), "words": 0, "differ": 0, "funasr_fails": 0, "corrected_differ": 0}
    for ours, answer, (_, text) in zip(found, theirs, cases, strict=True):
        if "error" in answer:
            counted["funasr_fails"] += 1
            counted["differ"] += ours.error is None
            continue
        times = [[word.start_ms, word.end_ms] for word in ours.words]
        counted["words"] += len(times)
        if times != answer["timestamp"]:
            counted["differ"] += 1
            print(f"  {text}: {times} for {answer['timestamp']}")
    right = model.align([path for path, _ in cases], [text for _, text in cases])
    moved = [
        len(mine.words) != len(other.words)
        or any(
            max(abs(one.start_ms - two.start_ms), abs(one.end_ms - two.end_ms)) > 1
            for one, two in zip(mine.words, other.words, strict=True)
        )
        for mine, other in zip(right, found, strict=True)
    ]
    counted["corrected_differ"] = sum(moved)
    return counted


def main() -> None:
    """Print one line a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bicif", type=Path)
    parser.add_argument("kaldi", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--builder", type=Path)
    parser.add_argument("--limit", type=int, default=500)
    parser.add_argument("--each", type=int, default=20)
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    cases = cases_of(given.kaldi, given.limit)
    trained = given.work / "trained"
    trained.mkdir(parents=True, exist_ok=True)
    theirs = asked(trained, {"configs": {}, "trained": str(given.bicif), "cases": cases})["trained"]
    print("trained", compare(trained / "trained", cases, theirs), flush=True)
    if given.builder is None:
        return
    made = given.work / "random"
    if not made.is_dir():
        command = [sys.executable, str(given.builder), str(made), "8", str(SEED), str(given.bicif / "am.mvn")]
        subprocess.run(command, check=True, capture_output=True)
    some = cases[:: max(len(cases) // given.each, 1)][: given.each]
    theirs = asked(made, {"configs": {}, "made": [f"arch{number}" for number in range(8)], "cases": some})
    for name, answers in theirs.items():
        print(name, compare(made / name, some, answers), flush=True)


if __name__ == "__main__":
    main()
