"""`parity run` and `parity check`: have the reference recorded, run the candidate on the same audio, compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlx_model.errors import OutputError, UsageError
from mlx_model.files.destination import claimed, staged
from mlx_model.files.scratch import scratch
from parity import families
from parity.layers.check import Comparing
from parity.layers.given import accept, find
from parity.sides import guard, reference
from parity.sides.candidate import Candidate
from parity.taps.takes import RECORDINGS, TEXTS
from parity.taps.trace import Trace
from reports.environment import directory_sha256
from reports.schema import ParityReport, write

REPORT = "parity.json"
Progress = Callable[[str, float], None]


def run(
    src: str | Path,
    model: str | Path,
    audio: Sequence[str | Path] = (),
    *,
    texts: Sequence[str] = (),
    out: Path | None = None,
    limit: int | None = None,
    taps: Sequence[str] = (),
    steps: bool = True,
    invariants: bool = True,
    options: Mapping[str, Any] | None = None,
    named: str | None = None,
    progress: Progress | None = None,
) -> ParityReport:
    """Return the report of FunASR's checkpoint `src` against its conversion `model` over real audio.

    Args:
        src: FunASR directory, model.pt beside its config, or hub id.
        model: what `convert` wrote for it.
        audio: recordings, or folders of them.
        texts: in their place where the model takes texts: texts, and `@FILE` of one a line.
        out: folder for parity.json (not written when None).
        limit: at most so many recordings or texts.
        taps: patterns of modules to compare; all of the tap set where empty.
        steps: also look inside attention, feed-forward and predictor.
        invariants: also check that nothing depends on batch, padding, precision, device, compilation, format, order.
        options: of the family, as hotwords="魔搭 通义"; both sides are given them.
        named: what the user calls the source, where `src` is a directory made of it.
        progress: called with ("reference" | "candidate", 1.0) for every utterance done.

    Raises:
        OutputError: `out` cannot be written, which is said before anything else is done.
    """
    guard.check(str(src))
    with claimed(out, [REPORT], apart_from=[src, model]):
        found = find(audio, texts, limit)
        candidate = families.candidate(model, taps)
        accept(found, families.by_name(candidate.tapset.family), candidate)
        with scratch("trace") as folder:
            tell = None if progress is None else lambda done: progress("reference", done)
            asked: dict[str, Any] = {"taps": taps, "steps": steps, "halves": candidate.half(), "options": options}
            asked["takes"] = found.takes
            trace = reference.record(src, found.items, folder, **asked, named=named, progress=tell)
            if len(trace.utterances) != len(found.items):
                counts = f"{len(trace.utterances)} of {len(found.items)} {found.takes}"
                raise OutputError(f"FunASR recorded {counts}; run it again")
            tell = None if progress is None else lambda done: progress("candidate", done)
            report = compare_trace(trace, candidate, tell, invariants=invariants)
        if out is not None:
            write(report, Path(out) / REPORT)
    return report


def record(
    src: str | Path,
    trace: Path,
    audio: Sequence[str | Path] = (),
    *,
    texts: Sequence[str] = (),
    limit: int | None = None,
    taps: Sequence[str] = (),
    steps: bool = True,
    halves: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    named: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> Trace:
    """Return FunASR's side over real audio, recorded into the new folder `trace`; options as `run`'s.

    `halves` are the half precisions ("float16", "bfloat16") of candidates that are to be judged by FunASR's own; `run`
    asks for its candidate's. The folder appears when it is whole; until then it stands beside under a temporary name.

    Raises:
        OutputError: the folder exists, or cannot be written.
    """
    guard.check(str(src))
    with staged(trace, overwrite=False, apart_from=[src]) as part:
        found = find(audio, texts, limit)
        asked: dict[str, Any] = {"taps": taps, "steps": steps, "halves": halves, "options": options}
        asked["takes"] = found.takes
        reference.record(src, found.items, part, **asked, named=named, progress=progress)
    return Trace.open(trace)


def check(
    model: str | Path,
    trace: str | Path,
    *,
    out: Path | None = None,
    taps: Sequence[str] = (),
    invariants: bool = True,
    progress: Callable[[float], None] | None = None,
) -> ParityReport:
    """Return the report of a conversion against a recorded trace; needs neither torch nor funasr.

    Raises:
        OutputError: the trace is damaged, of another version, or of another checkpoint than the model; `out` cannot be
            written, which is said before anything else is done.
        UsageError: a pattern fits no tap.
    """
    with claimed(out, [REPORT], apart_from=[model, trace]):
        recorded = Trace.open(Path(trace))
        candidate = families.candidate(model, [*taps] or recorded.meta["taps"], recorded.meta["family"])
        report = compare_trace(recorded, candidate, progress, invariants=invariants)
        if out is not None:
            write(report, Path(out) / REPORT)
    return report


def compare_trace(
    trace: Trace, candidate: Candidate, progress: Callable[[float], None] | None = None, *, invariants: bool = True
) -> ParityReport:
    """Return the report of a recorded reference against a candidate."""
    comparing, digest = Comparing(trace, candidate), directory_sha256(candidate.path)
    if not any(map(comparing.decisions.heard, trace.utterances)):
        family = comparing.family
        what = {RECORDINGS: "recording", TEXTS: "text"}[family.takes]
        found = f"no {what} {family.nothing} in FunASR (of {len(trace.utterances)})"
        raise UsageError(f"{found}: nothing to compare, give {family.words.get('given', 'speech')}")
    reading = trace.read()
    for utterance, arrays in reading:
        comparing.add(utterance, arrays, reading.ahead)
        if progress is not None:
            progress(1.0)
    return replace(comparing.report(invariants), model_sha256=digest)
