"""The fuzzer of tests/fuzz for as long as one likes: random command lines and damaged files, and what they ended in.

    python benchmarks/fuzz.py --commands 1000 --seed 1

Prints every command that did not end as promised (exit code 0, 1 or 2, one clear line, nothing left behind), in a form
that can be typed, and counts. Exit code 1 where there was one.
"""

from __future__ import annotations

import argparse
import collections
import random
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

import measure  # noqa: F401  puts the checkout on the path

from tests.fuzz.commands import Writer
from tests.fuzz.corpus import make
from tests.fuzz.runner import running


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="keep the inputs of commands that failed in this folder")
    options = parser.parse_args()
    codes: collections.Counter[int | None] = collections.Counter()
    failed = 0
    with tempfile.TemporaryDirectory() as scratch, running() as runner:
        corpus = (options.keep or Path(scratch)) / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        writer = Writer(make(corpus, runner), random.Random(options.seed))
        for number in range(options.commands):
            folder = (options.keep or Path(scratch)) / f"{options.seed}-{number}"
            folder.mkdir()
            ended = runner.run(writer.next(folder), folder)
            codes[ended.code] += 1
            if complaint := ended.complaint():
                failed += 1
                print(f"# {complaint}\nmlx-funasr {shlex.join(ended.words)!a}\n{ended.err[-1500:]!a}\n", flush=True)
            else:
                shutil.rmtree(folder, ignore_errors=True)
    print(f"{options.commands} commands, seed {options.seed}: {failed} not as promised; exit codes {dict(codes)}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
