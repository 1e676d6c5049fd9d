"""The harness on itself: every seeded fault must be caught and given the right address; healthy models must pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from mlx_model.audio.files import load_audio
from mlx_model.files.destination import claimed
from mlx_model.files.scratch import scratch
from mlx_model.machine.device import share_products
from parity import families
from parity.faults import Fault
from parity.layers.check import Comparing
from parity.layers.columns import in_force
from parity.layers.given import find
from parity.sides import guard, reference
from parity.sides.candidate import Candidate
from parity.taps.takes import TEXTS
from parity.taps.trace import Recorded, Trace, TracedUtterance
from parity.taps.verdict import Verdict
from reports.environment import describe
from reports.schema import PLAIN, FaultRow, ParityReport, SelftestReport, write

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
    audio: Sequence[str | Path] = (),
    *,
    texts: Sequence[str] = (),
    out: Path | None = None,
    limit: int | None = 3,
    options: Mapping[str, Any] | None = None,
    named: str | None = None,
    progress: Progress | None = None,
) -> SelftestReport:
    """Return how the harness did on a checkpoint: FunASR is recorded once, then every fault is seeded and looked for.

    To what is given, a few short pieces of it are added (see `extra_audio`, `extra_texts`).

    Args:
        src: FunASR directory, model.pt beside its config, or hub id.
        model: its healthy conversion.
        audio: recordings, or folders of them.
        texts: in their place where the model takes texts: texts, and `@FILE` of one a line.
        out: folder for selftest.json (not written when None).
        limit: at most so many recordings or texts.
        options: of the family, as for `run`.
        named: what the user calls the source, where `src` is a directory made of it.
        progress: called with ("reference" | "faults", 1.0) for every one done.
    """
    started = time.perf_counter()
    guard.check(str(src))
    with claimed(out, [REPORT], apart_from=[src, model]):
        found = find(audio, texts, limit)
        with scratch("selftest") as folder:
            made = [item for _, item in found.items]
            extra = extra_texts(made) if found.takes == TEXTS else extra_audio([*map(Path, made)], folder)
            tell = None if progress is None else lambda done: progress("reference", done)
            asked: dict[str, Any] = {"options": options, "named": named, "takes": found.takes}
            trace = reference.record(src, [*found.items, *extra], folder / "trace", **asked, progress=tell)
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


def extra_texts(texts: Sequence[str | Path]) -> list[tuple[str, str]]:
    """Return what some faults need beside ordinary text, as (utt_id, text) of each: odd cuts, calls, English, digits.

    `|` parts the calls of a stream; for a model without one it is a character.
    """
    whole = "".join(str(texts[0]).split())[:180]
    made = {f"cut_to_{share:.0%}": whole[: max(round(share * len(whole)), 2)] for share in CUTS}
    parts = [whole[place : place + 13] for place in range(0, len(whole), 13)]
    made["in_calls"] = "|".join(part for part in parts if part.strip("|"))
    return [*made.items(), ("mixed", f"{whole[:25]} hello World it's 10.5% {whole[25:40]}iPhone12 NBA {whole[40:60]}")]


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
    sound = examine(trace, recorded, families.candidate(model, family=trace.meta["family"]))
    healthy = sound.report(invariants=True)
    rows: list[FaultRow] = []
    for fault in chosen:
        rows += seeded(trace, recorded, model, fault, healthy)
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
            in_force([column.engine for column in sound.columns]),
            *plain_only(rows, healthy),
        ],
        environment=describe(reference=trace.meta.get("environment", {})),
        numerics=healthy.numerics,
    )


def plain_only(rows: Sequence[FaultRow], healthy: ParityReport) -> list[str]:
    """Return which faults have no row of an engine, and why; nothing where the machine has none."""
    engines = {row.engine for row in healthy.taps} - {PLAIN}
    if not engines:
        return []
    reached = {row.name for row in rows if row.engine != PLAIN}
    alone = [row.name for row in rows if row.name not in reached]
    return [
        f"Every other fault was looked for under {', '.join(sorted(engines))} as well. Under MLX "
        "alone, because no engine computes what they are in, or only MLX what was put there: " + ", ".join(alone)
        + "."
    ]


def seeded(
    trace: Trace, recorded: Utterances, model: str | Path, fault: Fault, healthy: ParityReport
) -> list[FaultRow]:
    """Return how one fault fared in a candidate loaded for it, a row for every engine; none without such a part.

    An engine has a row where it computes the module that the fault is in, and goes on to: where something was put there
    that only MLX computes, the plain row says all. A fault is visible where any number differs from the healthy
    model's: one that changes nothing on this audio cannot be caught with it.
    """
    started = time.perf_counter()
    with ExitStack() as stack:
        candidate = families.candidate(model, family=trace.meta["family"])
        if not fault.fits(candidate):
            return []
        if fault.engine and fault.engine not in candidate.engines():
            return []
        fault.seed(candidate, stack)
        comparing = examine(trace, recorded, candidate, only_engines=bool(fault.engine))
        fault = fault.of(candidate)  # which by now knows the run's options
        report = comparing.report(invariants=fault.batch)
        verdicts = {column.engine: column.verdict(report.structure) for column in comparing.columns}
        if fault.engine:
            verdicts = {fault.engine: verdicts[fault.engine]}
        else:
            reached = not fault.batch and candidate.in_stack(fault.module)
            plain = comparing.plain(comparing.comparison.rows(), report.structure, report.invariance)
            verdicts = {PLAIN: plain, **(verdicts if reached else {})}
    seconds = (time.perf_counter() - started) / len(verdicts)
    return [_row(fault, engine, found, report, healthy, seconds) for engine, found in verdicts.items()]


def _row(
    fault: Fault, engine: str, verdict: Verdict, report: ParityReport, healthy: ParityReport, seconds: float
) -> FaultRow:
    caught = not verdict.passed
    address = (verdict.address or verdict.first_failure) if caught else None
    ratios = [row.ratio for row in report.taps if (row.name, row.engine) == (verdict.first_failure, engine)]
    return FaultRow(
        name=fault.name,
        module=fault.module,
        description=fault.description,
        caught=caught,
        address=address,
        right_address=fault.is_at(address),
        first_failure=verdict.first_failure,
        ratio=ratios[0] if ratios else None,
        seconds=seconds,
        needs=fault.needs,
        visible=caught or numbers(report, engine, fault.batch) != numbers(healthy, engine, fault.batch),
        engine=engine,
    )


def numbers(report: ParityReport, engine: str, batch: bool) -> list[tuple[str, float | None, float | None]]:
    """Return what tells two reports apart: every tap's distances in one column, and what a batch changes."""
    taps = [(row.name, row.max_abs, row.rel_l2) for row in report.taps if row.engine == engine]
    held = [(row.name, row.max_abs, float(row.differ)) for row in report.invariance if row.side == "candidate"]
    return [*taps, *(held if batch else [])]


def examine(trace: Trace, recorded: Utterances, candidate: Candidate, *, only_engines: bool = False) -> Comparing:
    """Return a candidate compared with every utterance, without pictures; `only_engines`: with the first with speech.

    Engines read what MLX reads: a fault that shows in one utterance is looked for in all under each.
    """
    share_products()  # a product's bits depend on its threads, of which the run before left some number
    comparing = Comparing(trace, candidate, pictures=0, engines=len(trace.utterances))
    for utterance, arrays in recorded() if callable(recorded) else recorded:
        comparing.add(utterance, arrays)
        if only_engines and all(column.utterances for column in comparing.columns):
            break
    return comparing
