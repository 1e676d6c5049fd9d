"""Healthy conversions through parity: is one ever refused, and how far does each tap stray? Any family.

    python benchmarks/parity_healthy.py DIRECTORY... (--audio PATH... | --texts TEXT|@FILE...) [--out results.json]

DIRECTORIES are FunASR model directories, as ../shared/tools/builders writes them. Each is converted and compared as
`parity run` does, without the rows of invariance. Prints a line each: the verdict, the tap that comes nearest to its
limit, and of what modules introduce the largest ratio by kind of module (its name, numbers left out). Exit code 1 where
one was refused. Needs torch and funasr.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

import convert
import parity
from reports.schema import ParityReport


def kind(name: str) -> str:
    """Return a module's name without its numbers."""
    return re.sub(r"\d+", "N", name)


def largest(report: ParityReport) -> dict[str, float]:
    """Return {kind of module: the largest ratio of what such a module introduces}."""
    found: dict[str, float] = {}
    for row in report.taps:
        if row.introduced is not None and row.introduced.ratio is not None:
            found[kind(row.name)] = max(found.get(kind(row.name), 0.0), row.introduced.ratio)
    return found


def main() -> int:
    """Compare every directory; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", nargs="+", type=Path)
    parser.add_argument("--audio", nargs="+", default=[])
    parser.add_argument("--texts", nargs="+", default=[])
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    introduced: dict[str, float] = {}
    refused = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, directory in enumerate(asked.directories):
            model = Path(folder) / str(number)
            convert.convert(directory, model)
            report = parity.run(directory, model, asked.audio, texts=asked.texts, invariants=False)
            measured = [row for row in report.taps if row.ratio is not None and row.tolerance_ratio]
            worst = max(measured, key=lambda row: (row.ratio or 0.0) / (row.tolerance_ratio or 1.0))
            print(f"{directory}: {report.verdict}; {worst.name} {worst.ratio:.2f} of {worst.tolerance_ratio:g}"
                  f"{'' if report.verdict == 'pass' else '; ' + report.sentence}", flush=True)  # fmt: skip
            for name, ratio in largest(report).items():
                introduced[name] = max(introduced.get(name, 0.0), ratio)
            refused += report.verdict != "pass"
    for name, ratio in sorted(introduced.items(), key=lambda item: -item[1]):
        print(f"  {name}: {ratio:.2f}")
    if asked.out:
        asked.out.write_text(json.dumps({"introduced": introduced, "refused": refused}, indent=1), "utf-8")
    return int(refused > 0)


if __name__ == "__main__":
    sys.exit(main())
