"""How far healthy candidates stray at taps of a CIF, one recording at a time. Bar: the limits of their tap sets.

    python benchmarks/integral_floors.py SOURCE... [--limit 12] [--folder DIR]

Each SOURCE is a FunASR directory of a class with a CIF; the recordings are AISHELL's, evenly spread. FunASR is recorded
on all, in a process of its own, and every recording is then judged alone, as a user's single one is: a limit that holds
over many together may refuse one. Printed, per tap: the median and the largest ratio of one recording, introduced and
propagated, with the floor as it is and with that of the reference's one draw, and how many recordings exceed the limit.
Exit code 1 where one does.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import measure

TEXTS = measure.SPEECH / "text"


class Reading(NamedTuple):
    """One recording at one tap: times the floor, times the reference's own error there, and what is allowed."""

    ratio: float
    draw: float
    limit: float


def texts(files: list[Path]) -> dict[str, str]:
    """Return {path: what is said}."""
    known = dict(line.split(maxsplit=1) for line in TEXTS.read_text("utf-8").splitlines())
    return {str(path): known[path.stem] for path in files}


def judge(source: Path, files: list[Path], folder: Path) -> dict[str, list[Reading]]:
    """Return {tap and scope: readings of each recording, plain and by every engine} of a predictor's taps."""
    import convert
    from parity import families, record
    from parity.layers.check import Comparing
    from parity.taps.trace import Trace

    model = folder / f"{source.parent.name}-{source.name}.mlx"
    trace = folder / f"{source.parent.name}-{source.name}.trace"
    if not model.is_dir():
        convert.convert(source, model)
    if not trace.is_dir():
        family = families.candidate(model).tapset.family
        record(source, trace, files, options={"text": texts(files)} if family == "monotonic_aligner" else None)
    found: dict[str, list[Reading]] = {}
    for utterance, arrays in Trace.open(trace).read():
        comparing = Comparing(Trace.open(trace), families.candidate(model), pictures=0, engines=1)
        comparing.add(utterance, arrays)
        for comparison in (comparing.comparison, *(column.comparison for column in comparing.columns)):
            for name, reading in readings(comparison, arrays):
                found.setdefault(name, []).append(reading)
    return found


def readings(comparison: Any, arrays: Any) -> Iterator[tuple[str, Reading]]:
    """Yield (tap and scope, reading) of a predictor's taps in one recording."""
    tapset = comparison.tapset
    for name, total in comparison.totals.items():
        if not name.startswith("predictor") or not (total.propagated or total.introduced):
            continue
        spec = tapset.spec(name)
        for scope, distances in (("propagated", total.propagated), ("introduced", total.introduced)):
            if distances is None or not distances.pairs or spec.ratio is None:
                continue
            ((distance, floor),) = distances.pairs
            draw = max(float((getattr(arrays, scope)[name].floors() ** 2).mean() ** 0.5), tapset.floor_rel_l2)
            grows = scope == "propagated" and bool(spec.introduced)
            limit = spec.ratio * (tapset.drift if grows else 1.0)
            yield f"{name} {scope}", Reading(distance / floor, distance / draw, limit)


def main() -> int:
    """Judge every source, print a row for every tap."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="+")
    parser.add_argument("--limit", type=int, default=12)
    parser.add_argument("--folder", type=Path, help="kept between runs: conversions and traces")
    given = parser.parse_args()
    files = measure.utterances(limit=given.limit)
    over, every = 0, dict[str, list[Reading]]()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for source in given.source:
            for name, rows in judge(source, files, folder).items():
                every.setdefault(name, []).extend(rows)
            print(source, flush=True)
    for name, rows in sorted(every.items()):
        ratios, draws, limits = zip(*rows, strict=True)
        beyond = sum(row.ratio > row.limit for row in rows)
        over += beyond
        print(
            f"| {name} | {len(rows)} | {statistics.median(ratios):.2f}, {max(ratios):.2f} | "
            f"{statistics.median(draws):.2f}, {max(draws):.2f} | {max(limits):g} | {beyond} |"
        )
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
