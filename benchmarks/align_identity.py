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
from collections.abc import Sequence
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

    converted = source.with_name(f"{source.name}.mlx")
    if not converted.is_dir():
        convert.convert(source, converted)
    found = load(converted).align([path for path, _ in cases], [text for _, text in cases])
    counted = {"utterances": len(cases), "words": 0, "differ": 0, "funasr_fails": 0, "corrected_otherwise": 0}
    for ours, answer, (_, text) in zip(found, theirs, cases, strict=True):
        times = [[word.start_ms, word.end_ms] for word in ours.funasr_words]
        expected = [] if "error" in answer else answer["timestamp"]
        counted["funasr_fails"] += "error" in answer
        counted["words"] += len(times)
        counted["corrected_otherwise"] += corrected(ours.words, times)
        if times != expected:
            counted["differ"] += 1
            print(f"  {text}: {times} for {expected}")
    return counted


def corrected(words: Sequence[Any], times: list[list[int]]) -> bool:
    """Return whether the corrected words are others, or 2 ms away: FunASR truncates, ours are rounded."""
    if len(words) != len(times):
        return True
    pairs = zip(words, times, strict=True)
    return any(max(abs(word.start_ms - start), abs(word.end_ms - end)) > 1 for word, (start, end) in pairs)


def main() -> None:
    """Print one line a model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bicif", type=Path)
    parser.add_argument("kaldi", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--builder", type=Path)
    parser.add_argument("--limit", type=int, default=500)
    parser.add_argument("--each", type=int, default=20)
    parser.add_argument("--random-only", action="store_true", help="leave the trained checkpoint out")
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    cases = cases_of(given.kaldi, given.limit)
    if not given.random_only:
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
