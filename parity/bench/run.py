"""The bench itself: start the sides, check their results, time them case by case, write the report.

Imports neither mlx nor torch: what is measured runs in processes of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlx_model.errors import UsageError
from mlx_model.files.destination import claimed
from mlx_model.files.scratch import scratch
from parity.bench import whole
from parity.bench.cases import Case, frames, gflop
from parity.bench.contest import Contest
from parity.bench.exports import Exports
from parity.bench.findings import Answer, Findings, Measured
from parity.bench.jobs import TRANSCRIBE
from parity.bench.plan import Plan, make_plan
from parity.bench.report import make_report
from parity.bench.speech import RATE, Speech
from reports.environment import versions
from reports.schema import BenchReport, write

SECONDS, BATCH, ROUNDS = (3.0, 10.0, 30.0), (1, 8, 32), 5
PRODUCT_ROUNDS = 2  # at each point of the grid: the fastest of the run counts
REPORT = "bench.json"
Progress = Callable[[float], None]


def bench(
    model: str | Path,
    *,
    against: Sequence[str] | None = None,
    source: str | None = None,
    audio: Sequence[str | Path] = (),
    seconds: Sequence[float] = SECONDS,
    batch: Sequence[int] = BATCH,
    rounds: int = ROUNDS,
    stages: Sequence[str] | None = None,
    threads: int | None = None,
    exports: Path | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> BenchReport:
    """Return this project's times beside every peer's, one run, interleaved; verdict "fail" where float32 ids differ.

    Args:
        model: a converted directory.
        against: names of peers.py; all of them where None. Those that cannot run are named absent, with the reason.
        source: the FunASR model; the one the conversion recorded where None.
        audio: recordings or folders; the bundled speech where empty.
        seconds: lengths of a recording.
        batch: recordings at once; every length is measured with every batch.
        rounds: how often every side runs each case.
        stages: names of cases.py; all where None.
        threads: of every side; all cores of this process where None.
        exports: folder that keeps what the peers load (2 GB at full size); made for this run only where None.
        out: folder for bench.json.
        overwrite: replace an earlier report there.
        progress: called with the share done since the last call; 1 in all.

    Raises:
        OutputError: `out` or `exports` cannot be written, which is said before anything else is done.
        UsageError: an unknown peer or stage, an impossible grid, a source of another model.
        ConfigError: `model` is not a converted directory.
        SideError: this project's own side failed.
    """
    given = [model, *([source] if source else [])]
    with claimed(out, [REPORT], overwrite=overwrite, apart_from=given), claimed(exports, [], apart_from=given):
        plan = make_plan(
            Path(model), against=against, source=source, stages=stages, seconds=seconds, batch=batch, rounds=rounds,
            threads=threads,
        )  # fmt: skip
        speech = Speech(audio)
        with scratch("bench") as folder:
            kept = (exports or folder / "exports") / _key(plan)
            contest = Contest(plan, Exports(plan.source, kept, folder / "exports.log"))
            findings = measure(plan, speech, contest, folder, progress or (lambda _: None))
            report = make_report(plan, contest, findings, speech.what)
        if out is not None:
            write(report, out / REPORT)
    return report


def _key(plan: Plan) -> str:
    """The name of the folder of one checkpoint's exports by one FunASR."""
    return f"{(plan.sha256 or 'unknown')[:16]}-funasr-{versions(('funasr',)).get('funasr', 'absent')}"


def measure(plan: Plan, speech: Speech, contest: Contest, scratch: Path, progress: Progress) -> Findings:
    """Return everything that was timed and compared."""
    findings = Findings()
    with contest:
        plan = timed_as_a_whole(plan, contest)
        points = plan.grid if [*plan.of("stages"), *plan.of("files")] else []
        share = 1 / (len(points) + 1 + bool(plan.of("process")))
        progress(share)
        for seconds, batch in points:
            files = speech.cut(seconds, batch, scratch)
            findings.measured += _point(plan, contest, findings, files, seconds)
            progress(share)
        if plan.of("process"):
            middle = plan.seconds[len(plan.seconds) // 2]
            file = speech.cut(middle, 1, scratch)[0]
            if not points:
                findings.compare(contest.ask_each(contest.able(middle), do="check", files=[file]))
            findings.measured += _whole(plan, contest, findings, file, middle)
            progress(share)
    return findings


def timed_as_a_whole(plan: Plan, contest: Contest) -> Plan:
    """Return the plan without stages where this family has none to time: what writes no text goes from files on.

    Raises:
        UsageError: nothing is left to time.
    """
    if contest.job == TRANSCRIBE:
        return plan
    cases = [case for case in plan.cases if case.run != "stages"]
    if not cases:
        asked = " ".join(case.name for case in plan.cases)
        raise UsageError(f"--stages {asked}: {plan.model} writes no text; it has end_to_end and cold_start only")
    return replace(plan, cases=cases)


def _point(plan: Plan, contest: Contest, findings: Findings, files: list[str], seconds: float) -> Iterator[Measured]:
    """One point of the grid: results compared, then every live case timed."""
    batch = len(files)
    contest.where = f"{seconds:g} s, batch {batch}"
    multiplying = list(findings.products or contest.sides)
    findings.add_products(contest.rounds(multiplying, PRODUCT_ROUNDS, ask(contest, do="product")))
    checks = contest.ask_each(contest.able(seconds * batch), do="check", files=files)
    tokens = [len(row) for row in findings.compare(checks)]
    counted = gflop(plan.config, frames(plan.config.frontend, round(seconds * RATE)), tokens)
    requests: dict[str, dict[str, Any]] = {"stages": {"do": "stages"}, "files": {"do": "files", "files": files}}
    for run, request in requests.items():
        if not plan.of(run):
            continue
        names = [name for name, check in checks.items() if run == "files" or check["stages"]]
        rounds = contest.rounds(names, plan.rounds, ask(contest, **request))
        for case in plan.of(run):
            yield Measured(case=case, seconds=seconds, batch=batch, rounds=rounds, gflop=counted.get(case.name))


def ask(contest: Contest, **request: Any) -> Callable[[str], Answer]:
    """Return a turn: the side of that name asked this."""
    return lambda name: contest.sides[name].ask(**request)


def _whole(plan: Plan, contest: Contest, findings: Findings, file: str, seconds: float) -> Iterator[Measured]:
    """The whole process of every side that could be started, the live ones ended before."""
    contest.where = "its whole process"
    names = [name for name in contest.able(seconds) if contest.peers[name].has_program]
    contest.close()

    def turn(name: str) -> Answer:
        command = contest.peers[name].command(
            str(contest.paths[name]), file, plan.threads, contest.device, contest.job
        )
        return whole.run(name, command, plan.threads, contest.log(f"{name}-process"))

    findings.printed = {name: answer["printed"] for name, answer in contest.each(names, turn).items()}  # fills caches
    rounds = contest.rounds(names, plan.rounds, turn)
    case: Case = plan.of("process")[0]
    yield Measured(case=case, seconds=seconds, batch=1, rounds=rounds, gflop=None)
