"""Texts of ContextualParaformers with hotwords: MLX against FunASR. Bar: identical one by one.

    python benchmarks/contextual_identity.py [--random 8] [--limit 100] [--source DIR] [--seed 3]

Random architectures of ../shared/tools/builders (no trained one is published), on AISHELL utterances, without a list,
with "", 1, 3 and 70 words of the model's own, and with 3 at clas_scale 0.5 and 2. FunASR: AutoModel.generate on each
file, in a process of its own. MLX: `transcribe(as_funasr=True)`, all of one list together, so that batching is part of
what is proved. Exit code 1 where a text differs; then the scores of the two tokens are to be looked at, which the front
end's rounding moves.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import measure

BUILDER = (measure.SHARED / "tools" / "builders" / "contextual").with_suffix(".py")
CMVN = measure.SHARED / "checkpoints" / "paraformer_real_small" / "am.mvn"


class Case(NamedTuple):
    """What all recordings are transcribed with."""

    name: str
    hotwords: str | None
    clas_scale: float = 1.0


def cases(directory: Path) -> Iterator[Case]:
    """Yield the lists, of the model's own characters, the same every time."""
    tokens: list[str] = json.loads((directory / "tokens.json").read_text("utf-8"))
    signs = [token for token in tokens if "\u4e00" <= token <= "\u9fff"]
    draw = random.Random(directory.name)
    words = ["".join(draw.sample(signs, draw.randint(1, 5))) for _ in range(70)]
    yield Case("none", None)
    yield Case('""', "")
    yield Case("1", words[0])
    yield from (Case(f"3, clas_scale {scale:g}", " ".join(words[:3]), scale) for scale in (0.5, 1.0, 2.0))
    yield Case("70", " ".join(words))


def reference(source: str) -> int:
    """Serve FunASR: each request is {files, hotwords, clas_scale}; the answer the text of each file."""
    from parity.sides.reference import load

    def made() -> Any:
        auto = load(source)

        def answer(request: dict[str, Any]) -> dict[str, Any]:
            asked = {} if request["hotwords"] is None else {"hotword": request["hotwords"]}
            rows = [auto.generate(input=path, clas_scale=request["clas_scale"], **asked) for path in request["files"]]
            return {"rows": [row[0]["text"] if row else "" for row in rows]}

        return answer

    return measure.serve(made)


def compare(directory: Path, files: Sequence[Path]) -> tuple[int, list[str]]:
    """Print a row for every list; return how many texts were compared, and what differs."""
    import convert
    from mlx_model.loading import load

    total, left, texts = 0, [], {}
    with tempfile.TemporaryDirectory() as folder, \
            measure.Side("funasr", __file__, ["--source", str(directory)], 1) as theirs:  # fmt: skip
        convert.convert(directory, Path(folder) / "model")
        model = load(Path(folder) / "model")
        for case in cases(directory):
            start = time.perf_counter()
            asked = {"hotwords": case.hotwords, "clas_scale": case.clas_scale}
            expected = theirs.ask(files=[str(file) for file in files], **asked)["rows"]
            middle = time.perf_counter()
            found = [row.text for row in model.transcribe(files, as_funasr=True, **asked)]
            end = time.perf_counter()
            texts[case.name] = expected
            wrong = [index for index, text in enumerate(expected) if text != found[index]]
            changed = sum(one != two for one, two in zip(expected, texts["none"], strict=True))
            left += [f"{directory.name}, {case.name}, {files[index].stem}: FunASR {expected[index]!r}, "
                     f"MLX {found[index]!r}" for index in wrong]  # fmt: skip
            total += len(files)
            print(f"| {directory.name} | {case.name} | {len(files)} texts, {len(wrong)} differ | {changed} changed by "
                  f"the list | MLX {end - middle:.1f} s, FunASR {middle - start:.1f} s |", flush=True)  # fmt: skip
    return total, left


def main() -> int:
    """Compare all, or be FunASR's side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random", type=int, default=8, help="random architectures")
    parser.add_argument("--seed", type=int, default=3, help="of the random architectures")
    parser.add_argument("--limit", type=int, default=100, help="utterances")
    parser.add_argument("--source", type=Path, default=None, help="one directory instead")
    parser.add_argument("--serve", choices=["funasr"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        return reference(str(given.source))
    files, total, left = measure.utterances(limit=given.limit), 0, []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "random"
        if given.source is None:
            command = [sys.executable, str(BUILDER), str(out), str(given.random), str(given.seed), str(CMVN)]
            subprocess.run(command, check=True, capture_output=True, cwd=BUILDER.parent)
        for directory in [given.source] if given.source is not None else sorted(out.glob("arch*")):
            count, differ = compare(directory, files)
            total, left = total + count, [*left, *differ]
    print("\n".join([*left, f"{total} texts compared, {len(left)} differ"]))
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
