"""Texts and times of SeacoParaformers with hotwords: MLX against FunASR. Bar: identical one by one, or explained.

    python benchmarks/hotword_identity.py [--source DIR] [--limit 500] [--hotwords 0 1 3 70 1000] [--random 8]

The trained checkpoint of ../shared on its AISHELL utterances, with lists of so many of AISHELL-1-NE's words (0: none
given; the words of a list change from utterance to utterance up to 70); then random architectures of
../shared's own builder on a few utterances each, without hotwords, with "", three and seventy. FunASR:
AutoModel.generate on each file, in a process of its own. MLX: `transcribe(as_funasr=True)`, those of one list together,
so that batching is part of what is proved. A result that differs is explained where `parity run` of that recording and
list passes. Exit code 1 where one is not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import measure

LISTS = measure.SHARED / "data" / "aishell_transcripts"
TRAINED = measure.SHARED / "checkpoints" / "seaco_real_small"
BUILDER = (measure.SHARED / "tools" / "builders" / "seaco").with_suffix(".py")
ROTATED = 70  # lists of so many words and fewer are other ones for every group of utterances
GROUP = 20  # utterances that share such a list
SEED = 77


class Case(NamedTuple):
    """Recordings that are given one list; None: no list."""

    name: str
    files: list[Path]
    hotwords: str | None


def words() -> list[str]:
    """Return the thousand hotwords of AISHELL-1-NE, dev's first."""
    found = [line.strip() for part in ("dev", "test")
             for line in (LISTS / f"hotword_{part}" / "hotword.txt").read_text("utf-8").splitlines()]  # fmt: skip
    return [word for word in found if word]


def trained_cases(files: Sequence[Path], counts: Sequence[int]) -> Iterator[Case]:
    """Yield the utterances in groups, with lists of so many words."""
    known = words()
    for count in counts:
        if count == 0 or count > ROTATED:
            yield Case(f"{count} hotwords", list(files), " ".join(known[:count]) if count else None)
            continue
        for group, start in enumerate(range(0, len(files), GROUP)):
            chosen = [known[(group * count + number) % len(known)] for number in range(count)]
            yield Case(f"{count} hotwords", list(files[start : start + GROUP]), " ".join(chosen))


def random_cases(directory: Path, files: Sequence[Path]) -> Iterator[Case]:
    """Yield the utterances without hotwords, with an empty list, with three and with seventy of the model's own."""
    case = json.loads((directory / "case.json").read_text("utf-8"))
    lists = {"none": None, "empty": "", "three": case["hotword"], "seventy": case["many"]}
    for name, given in lists.items():
        yield Case(f"{directory.name}, {name}", list(files), given)


def reference(source: str) -> int:
    """Serve FunASR: each request is {files, hotwords}; the answer, text and times of each file."""
    from parity.sides.reference import load

    def made() -> Any:
        auto = load(source)

        def answer(request: dict[str, Any]) -> dict[str, Any]:
            asked = {} if request["hotwords"] is None else {"hotword": request["hotwords"]}
            rows = []
            for path in request["files"]:
                found = auto.generate(input=path, **asked)
                rows.append([found[0]["text"], found[0].get("timestamp")] if found else ["", None])
            return {"rows": rows}

        return answer

    return measure.serve(made)


def ours(model: Any, case: Case) -> list[list[Any]]:
    """Return text and times of each file, as FunASR has them."""
    results = model.transcribe(case.files, hotwords=case.hotwords, as_funasr=True, times=True)
    times = [None if row.words is None else [[word.start_ms, word.end_ms] for word in row.words] for row in results]
    return [[row.text, found] for row, found in zip(results, times, strict=True)]


def explained(source: Path, model: Path, file: Path, hotwords: str | None) -> bool:
    """Return whether parity of one recording and one list passes."""
    from parity.layers.run import run

    given = {} if hotwords is None else {"hotwords": hotwords}
    return run(source, model, [file], invariants=False, options=given).verdict == "pass"


def compare(source: Path, cases: Sequence[Case]) -> tuple[list[str], int]:
    """Print a row for every kind of case; return what differs and is not explained, and how many were compared."""
    import convert
    from mlx_model import load

    left: list[str] = []
    compared, seconds = 0, {"mlx": 0.0, "funasr": 0.0}
    with tempfile.TemporaryDirectory() as folder, \
            measure.Side("funasr", __file__, ["--source", str(source)], 1) as theirs:  # fmt: skip
        convert.convert(source, Path(folder) / "model")
        model = load(Path(folder) / "model")
        for name, group in itertools.groupby(cases, key=lambda case: case.name):
            total = Counter[str]()
            for case in group:
                began = time.perf_counter()
                expected = theirs.ask(files=[str(file) for file in case.files], hotwords=case.hotwords)["rows"]
                between = time.perf_counter()
                found = ours(model, case)
                seconds["mlx"] += time.perf_counter() - between
                seconds["funasr"] += between - began
                for file, one, two in zip(case.files, expected, found, strict=True):
                    total.update(compared=1, texts=one[0] != two[0], times=one[1] != two[1])
                    if one == two or not (one[0] or two[0]):
                        continue
                    if explained(source, Path(folder) / "model", file, case.hotwords):
                        total["explained"] += 1
                    else:
                        left.append(f"{name}, {file.stem}: FunASR {one}, MLX {two}")
            compared += total["compared"]
            print(f"| {name} | {total['compared']} utterances | {total['texts']} texts and {total['times']} lists of "
                  f"times differ, {total['explained']} explained |", flush=True)  # fmt: skip
    print(f"{source.name}: MLX {seconds['mlx']:.1f} s, FunASR {seconds['funasr']:.1f} s, one thread each", flush=True)
    return left, compared


def main() -> int:
    """Compare all, or be FunASR's side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=TRAINED)
    parser.add_argument("--limit", type=int, default=500, help="utterances of the trained checkpoint")
    parser.add_argument("--hotwords", type=int, nargs="*", default=[0, 1, 3, 70, 1000])
    parser.add_argument("--random", type=int, default=8, help="random architectures")
    parser.add_argument("--random-limit", type=int, default=12, help="utterances of each")
    parser.add_argument("--serve", choices=["funasr"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        return reference(str(given.source))
    left, total = compare(given.source, [*trained_cases(measure.utterances(limit=given.limit), given.hotwords)])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "random"
        if given.random:
            command = [sys.executable, str(BUILDER), str(out), str(given.random), str(SEED), str(TRAINED / "am.mvn")]
            subprocess.run(command, check=True, capture_output=True, cwd=BUILDER.parent)
        for directory in sorted(out.glob("arch*")):
            more, count = compare(directory, [*random_cases(directory, measure.utterances(limit=given.random_limit))])
            left, total = [*left, *more], total + count
    print("\n".join(left))
    print(f"{total} results compared, {len(left)} differ without an explanation")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
