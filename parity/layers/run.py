"""`parity run` and `parity check`: have the reference recorded, run the candidate on the same audio, compare."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from mlx_model.audio import load_audio
from mlx_model.errors import OutputError, UsageError
from parity import reference
from parity.audio_files import find_files
from parity.candidate import Candidate, tapset_of
from parity.layers.comparing import Comparing
from parity.layers.tapset import load_tapset
from parity.layers.trace import Trace
from reports.environment import directory_sha256
from reports.schema import ParityReport, write

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
        progress: called with ("reference" | "candidate", 1.0) for every utterance done.
    """
    found = find_audio(audio, limit)
    candidate = Candidate(model, tapset_of(model), taps)
    for _, path in found:
        load_audio(path, candidate.model.config.frontend.fs)  # bad audio is refused before the reference is started
    with tempfile.TemporaryDirectory(prefix="mlx-funasr-trace-") as folder:
        trace = reference.record(
            src,
            found,
            Path(folder),
            taps=taps,
            steps=steps,
            progress=None if progress is None else lambda done: progress("reference", done),
        )
        if len(trace.utterances) != len(found):
            raise OutputError(f"FunASR recorded {len(trace.utterances)} of {len(found)} recordings; run it again")
        tell = None if progress is None else lambda done: progress("candidate", done)
        report = compare_trace(trace, candidate, tell, invariants=invariants)
    if out is not None:
        write(report, Path(out) / "parity.json")
    return report


def record(
    src: str | Path,
    trace: Path,
    audio: Sequence[str | Path],
    *,
    limit: int | None = None,
    taps: Sequence[str] = (),
    steps: bool = True,
    progress: Callable[[float], None] | None = None,
) -> Trace:
    """Return FunASR's side over real audio, recorded into the new folder `trace`; options as `run`'s.

    The folder appears when it is whole; until then it stands beside under a temporary name.

    Raises:
        OutputError: the folder exists.
    """
    if trace.exists():
        raise OutputError(f"{trace} exists; a trace is not overwritten, choose another folder")
    found = find_audio(audio, limit)
    trace.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{trace.name}.", dir=trace.absolute().parent) as folder:
        part = Path(folder) / "trace"
        reference.record(src, found, part, taps=taps, steps=steps, progress=progress)
        part.rename(trace)
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
        OutputError: the trace is damaged, of another version, or of another checkpoint than the model.
        UsageError: a pattern fits no tap.
    """
    recorded = Trace.open(Path(trace))
    tapset = load_tapset(recorded.meta["family"])
    candidate = Candidate(model, tapset, [*taps] or recorded.meta["taps"])
    report = compare_trace(recorded, candidate, progress, invariants=invariants)
    if out is not None:
        write(report, Path(out) / "parity.json")
    return report


def compare_trace(
    trace: Trace, candidate: Candidate, progress: Callable[[float], None] | None = None, *, invariants: bool = True
) -> ParityReport:
    """Return the report of a recorded reference against a candidate."""
    comparing, digest = Comparing(trace, candidate), directory_sha256(candidate.path)
    if reason := comparing.outcomes.nothing_heard(trace):
        raise UsageError(reason)
    reading = trace.read()
    for utterance, arrays in reading:
        comparing.add(utterance, arrays, reading.ahead)
        if progress is not None:
            progress(1.0)
    return replace(comparing.report(invariants), model_sha256=digest)
