"""The harness on itself: every seeded fault must be caught and given the right address; healthy models must pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from mlx_model.audio.files import load_audio
from mlx_model.files.destination import claimed
from mlx_model.files.scratch import scratch
from parity import families
from parity.faults import Fault
from parity.layers.check import Comparing
from parity.layers.run import find_audio
from parity.sides import guard, reference
from parity.sides.candidate import Candidate
from parity.taps.trace import Recorded, Trace, TracedUtterance
from reports.environment import describe
from reports.schema import FaultRow, ParityReport, SelftestReport, write

REPORT = "selftest.json"
RIGHT_ADDRESS = 0.95  # share of faults whose module must be named
SILENCE_S = 0.6
CUTS = (0.38, 0.53, 0.71)
KEEP_MB = 300.0  # a trace below this stays in memory over all faults, unpacked in about three times its size
Progress = Callable[[str, float], None]
Utterances = list[tuple[TracedUtterance, Recorded]] | Callable[[], Iterator[tuple[TracedUtterance, Recorded]]]


def selftest(
    src: str | Path,
    model: str | Path,
    audio: Sequence[str | Path],
    *,
    out: Path | None = None,
    limit: int | None = 3,
    named: str | None = None,
    progress: Progress | None = None,
) -> SelftestReport:
    """Return how the harness did on a checkpoint: FunASR is recorded once, then every fault is seeded and looked for.

    To the audio given, a few short pieces of it are added (see `extra_audio`).

    Args:
        src: FunASR directory, model.pt beside its config, or hub id.
        model: its healthy conversion.
        audio: recordings, or folders of them.
        out: folder for selftest.json (not written when None).
        limit: at most so many recordings.
        named: what the user calls the source, where `src` is a directory made of it.
        progress: called with ("reference" | "faults", 1.0) for every one done.
    """
    started = time.perf_counter()
    guard.check(str(src))
    with claimed(out, [REPORT], apart_from=[src, model]):
        found = find_audio(audio, limit)
        with scratch("selftest") as folder:
            extra = extra_audio([path for _, path in found], folder)
            tell = None if progress is None else lambda done: progress("reference", done)
            trace = reference.record(src, [*found, *extra], folder / "trace", named=named, progress=tell)
            report = judge(trace, model, progress=progress, started=started)
        if out is not None:
            write(report, Path(out) / REPORT)
    return report


def extra_audio(paths: Sequence[Path], folder: Path) -> list[tuple[str, Path]]:
    """Write what some faults need beside ordinary speech, 16-bit at 16 kHz, and return (utt_id, path) of each.

    Digital silence shows the log floor; cuts of the recordings at odd places show incomplete LFR frames and sums of
    alphas on both sides of a half.
    """
    import soundfile

    speech = [load_audio(path, 16000) for path in paths[:2]]
    made = {"with_silence": np.pad(speech[0][: 16000 * 3 // 2], (0, round(SILENCE_S * 16000)))}
    made |= {f"cut_to_{share:.0%}": speech[-1][: round(share * len(speech[-1]))] for share in CUTS}
    for name, waveform in made.items():
        soundfile.write(folder / f"{name}.wav", waveform, 16000, subtype="PCM_16")
    return [(name, folder / f"{name}.wav") for name in made]


def judge(
    trace: Trace,
    model: str | Path,
    *,
    faults: Sequence[Fault] | None = None,
    progress: Progress | None = None,
    started: float | None = None,
) -> SelftestReport:
    """Return the report of seeded faults against a recorded trace; needs neither torch nor funasr.

    The faults are the family's where none are given.
    """
    chosen: Sequence[Fault] = families.by_name(trace.meta["family"]).seeded() if faults is None else faults
    started = time.perf_counter() if started is None else started
    recorded = list(trace.read()) if trace.size_mb() < KEEP_MB else trace.read
    healthy = examine(trace, recorded, families.candidate(model, family=trace.meta["family"]), invariants=True)
    rows = []
    for fault in chosen:
        row = seeded(trace, recorded, model, fault, healthy)
        rows += [row] if row is not None else []
        if progress is not None:
            progress("faults", 1.0)
    caught, right = sum(row.caught for row in rows), sum(row.right_address for row in rows)
    alarms = int(healthy.verdict != "pass")
    missed = [row for row in rows if not row.caught and row.visible]
    passed = caught > 0 and not missed and right >= RIGHT_ADDRESS * caught and not alarms
    return SelftestReport(
        verdict="pass" if passed else "fail",
        reference=str(trace.meta["source"]),
        faults=rows,
        caught=caught,
        right_address=right,
        total=len(rows),
        false_alarms=alarms,
        healthy=[{"name": str(model), "verdict": healthy.verdict, "first_failure": healthy.first_failure}],
        utterances=[row.utt_id for row in trace.utterances],
        seconds=time.perf_counter() - started,
        notes=[
            f"To pass: every fault caught that changes any number on this audio, {RIGHT_ADDRESS:.0%} of addresses "
            "right, no alarm on the healthy model.",
            "An address is right where the row that first shows introduced error lies in the module the fault was put "
            "into. Faults of masks only show in a batch and are looked for by the invariance rows.",
        ],
        environment=describe(reference=trace.meta.get("environment", {})),
        numerics=healthy.numerics,
    )


def seeded(
    trace: Trace, recorded: Utterances, model: str | Path, fault: Fault, healthy: ParityReport
) -> FaultRow | None:
    """Return how one fault fared in a candidate loaded for it, or None where the model has no such part.

    It is visible where any number of the report differs from the healthy one's: a fault that changes nothing on this
    audio cannot be caught with it.
    """
    started = time.perf_counter()
    with ExitStack() as stack:
        candidate = families.candidate(model, family=trace.meta["family"])
        if not fault.fits(candidate):
            return None
        fault.seed(candidate, stack)
        report = examine(trace, recorded, candidate, invariants=fault.batch)
    caught = report.verdict == "fail"
    address = (report.address or report.first_failure) if caught else None
    ratios = [row.ratio for row in report.taps if row.name == report.first_failure]
    return FaultRow(
        name=fault.name,
        module=fault.module,
        description=fault.description,
        caught=caught,
        address=address,
        right_address=fault.is_at(address),
        first_failure=report.first_failure,
        ratio=ratios[0] if ratios else None,
        seconds=time.perf_counter() - started,
        needs=fault.needs,
        visible=caught or numbers(report) != numbers(healthy) or fault.batch,
    )


def numbers(report: ParityReport) -> list[tuple[str, float, float | None]]:
    """Return what tells two reports apart: every tap's distances."""
    return [(row.name, row.max_abs, row.rel_l2) for row in report.taps]


def examine(trace: Trace, recorded: Utterances, candidate: Candidate, *, invariants: bool) -> ParityReport:
    """Return the parity report of a candidate, without pictures."""
    comparing = Comparing(trace, candidate, pictures=0)
    for utterance, arrays in recorded() if callable(recorded) else recorded:
        comparing.add(utterance, arrays)
    return comparing.report(invariants)
