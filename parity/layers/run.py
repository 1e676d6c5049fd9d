"""`parity run` and `parity check`: have the reference recorded, run the candidate on the same audio, compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlx_model.audio.files import load_audio
from mlx_model.errors import OutputError, UsageError
from mlx_model.files.destination import claimed, staged
from mlx_model.files.scratch import scratch
from parity import families
from parity.layers.check import Comparing
from parity.sides import guard, reference
from parity.sides.audio_files import find_files
from parity.sides.candidate import Candidate
from parity.taps.trace import Trace
from reports.environment import directory_sha256
from reports.schema import ParityReport, write

REPORT = "parity.json"
Progress = Callable[[str, float], None]


def find_audio(paths: Sequence[str | Path], limit: int | None = None) -> list[tuple[str, Path]]:
    """Return (utt_id, path) for files and, recursively, for folders; ids are file stems, made unique by their folder.

    Raises:
        UsageError: a path does not exist, or there is no audio at all.
    """
    files = find_files(paths)
    stems = [file.stem for file in files]
    found = [(s if stems.count(s) == 1 else f"{f.parent.name}/{f.name}", f) for s, f in zip(stems, files, strict=True)]
    return found[:limit]


def run(
    src: str | Path,
    model: str | Path,
    audio: Sequence[str | Path],
    *,
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
        out: folder for parity.json (not written when None).
        limit: at most so many recordings.
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
        found = find_audio(audio, limit)
        candidate = families.candidate(model, taps)
        for _, path in found:
            load_audio(path, candidate.model.config.frontend.fs)  # bad audio is refused before the reference is started
        with scratch("trace") as folder:
            tell = None if progress is None else lambda done: progress("reference", done)
            asked: dict[str, Any] = {"taps": taps, "steps": steps, "options": options, "named": named}
            trace = reference.record(src, found, folder, **asked, progress=tell)
            if len(trace.utterances) != len(found):
                raise OutputError(f"FunASR recorded {len(trace.utterances)} of {len(found)} recordings; run it again")
            tell = None if progress is None else lambda done: progress("candidate", done)
            report = compare_trace(trace, candidate, tell, invariants=invariants)
        if out is not None:
            write(report, Path(out) / REPORT)
    return report


def record(
    src: str | Path,
    trace: Path,
    audio: Sequence[str | Path],
    *,
    limit: int | None = None,
    taps: Sequence[str] = (),
    steps: bool = True,
    options: Mapping[str, Any] | None = None,
    named: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> Trace:
    """Return FunASR's side over real audio, recorded into the new folder `trace`; options as `run`'s.

    The folder appears when it is whole; until then it stands beside under a temporary name.

    Raises:
        OutputError: the folder exists, or cannot be written.
    """
    guard.check(str(src))
    with staged(trace, overwrite=False, apart_from=[src]) as part:
        asked: dict[str, Any] = {"taps": taps, "steps": steps, "options": options, "named": named}
        reference.record(src, find_audio(audio, limit), part, **asked, progress=progress)
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
        found = f"no recording {comparing.family.nothing} in FunASR ({len(trace.utterances)} heard)"
        raise UsageError(f"{found}: nothing to compare, give speech")
    reading = trace.read()
    for utterance, arrays in reading:
        comparing.add(utterance, arrays, reading.ahead)
        if progress is not None:
            progress(1.0)
    return replace(comparing.report(invariants), model_sha256=digest)
