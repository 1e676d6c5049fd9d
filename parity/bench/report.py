"""From what was found to the report: one row per case and side, one entry per side, the verdict, notes, environment.

Imports neither mlx nor torch.
"""

from __future__ import annotations

import os
import platform
import shlex
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parity.bench.contest import Contest
from parity.bench.findings import Findings, Measured
from parity.bench.peer import Peer
from parity.bench.peers import OURS
from parity.bench.plan import Plan
from parity.bench.sides import child_environment
from reports.environment import PACKAGES, describe, instruction_set, processor_name, versions
from reports.schema import BenchReport, BenchRow, BenchSide

FLAGS = ("MLX_", "OMP_", "OPENBLAS_", "MKL_", "KMP_", "ORT_", "TORCH_", "DNNL_")


def make_report(plan: Plan, contest: Contest, findings: Findings, heard: str) -> BenchReport:
    """Return the report of one run; `heard` says what the sides were given to hear."""
    rates = product_rates(plan, contest, findings)
    sides = [make_side(peer, plan, contest, findings) for peer in plan.peers]
    return BenchReport(
        rows=[row for measured in findings.measured for row in make_rows(measured, rates)],
        command=command(),
        verdict=verdict(sides),
        machine=machine(plan, contest),
        matmul_gflops=rates.get(OURS),
        instructions=instruction_set(),
        empty_us=findings.empty.get(OURS),
        sides=sides,
        notes=[*notes(plan, sides, findings, heard), *device_notes(sides, findings, contest, rates)],
        environment=environment(plan, contest, findings),
        numerics=contest.facts.get(OURS, {}).get("numerics", {}),
    )


def machine(plan: Plan, contest: Contest) -> str:
    """Return what it ran on, the GPU too where this project computes on one."""
    name = contest.facts.get(OURS, {}).get("device_name", "") if contest.device == "gpu" else ""
    return f"{processor_name()}, {plan.threads} of {os.cpu_count()} cores, {platform.system()}" + (name and f"; {name}")


def product_rates(plan: Plan, contest: Contest, findings: Findings) -> dict[str, float]:
    """Return GFLOP/s by side: the fastest matrix product of any side on its kind of device and in its precision."""
    kinds = {
        peer.name: (contest.facts[peer.name].get("device"), plan.precision_of(peer))
        for peer in plan.peers
        if peer.name in contest.facts
    }
    best: dict[tuple[Any, str], float] = {}
    for side, rate in findings.products.items():
        best[kinds[side]] = max(rate, best.get(kinds[side], 0.0))
    return {side: best[kind] for side, kind in kinds.items() if kind in best}


def make_rows(measured: Measured, rates: Mapping[str, float]) -> list[BenchRow]:
    """Return a case's rows, one per side; `rates`: see `product_rates`."""
    times = measured.times()
    medians = {side: statistics.median(values) for side, values in times.items()}
    audio_s = measured.seconds * measured.batch
    return [
        BenchRow(
            case=measured.title,
            side=side,
            median_s=median,
            ratio=None if side == OURS or OURS not in medians else medians[OURS] / median,
            spread_s=sorted(times[side]),
            peak_rss_mb=measured.peak_mb(side),
            stage=measured.case.name,
            seconds=measured.seconds,
            batch=measured.batch,
            rtf=median / audio_s,
            speed=audio_s / median,
            gflop=measured.gflop,
            matmul_fraction=measured.gflop / median / rates[side] if measured.gflop and side in rates else None,
            noise=measured.rounds.busy,
            peak_device_mb=measured.peak_mb(side, "device_peak_mb"),
        )
        for side, median in medians.items()
    ]


def make_side(peer: type[Peer], plan: Plan, contest: Contest, findings: Findings) -> BenchSide:
    """Return what the report says of one side, present or absent."""
    name = peer.name
    path = Path(contest.paths.get(name, ""))
    return BenchSide(
        name=name,
        what=peer.what,
        precision=plan.precision_of(peer),
        versions=versions(peer.distributions),
        library=contest.facts.get(name, {}).get("library", ""),
        disk_mb=peer.disk_mb(path) if name in contest.paths and path.is_dir() else None,
        absent=contest.absent.get(name),
        tokens_compared=findings.compared.get(name, 0),
        tokens_different=findings.differing.get(name, 0),
        device=contest.facts.get(name, {}).get("device_name", ""),
        judged=peer.judges and {plan.precision_of(peer), plan.precision} == {"float32"} and name in findings.compared,
    )


def verdict(sides: list[BenchSide]) -> str:
    """Return "fail" where a judged side's ids differ, "pass" where FunASR's were compared, else nothing.

    Another peer's may differ from FunASR's as well: that is said of it, and nothing of this project.
    """
    judged = [side for side in sides if side.judged and side.tokens_compared]
    if any(side.tokens_different for side in judged):
        return "fail"
    return "pass" if any(side.name != OURS for side in judged) else ""


def notes(plan: Plan, sides: list[BenchSide], findings: Findings, heard: str) -> list[str]:
    """Return what a reader must know beside the numbers."""
    said = [f"input: {heard}", "ratio: mlx's median over the side's; below 1, mlx is faster"]
    for side in sides:
        if side.absent:
            said.append(f"{side.name} is absent: {side.absent}")
        if side.tokens_compared and (side.tokens_different or not side.judged):
            differ = f"{side.tokens_different} of {side.tokens_compared} token ids differ"
            aside = "" if side.judged else ", which the verdict does not ask"
            said.append(f"{side.name} ({side.precision}): {differ}{aside}")
    largest = max(plan.seconds) * max(plan.batch)
    said += [
        f"{peer.name}: left out of cases with more than {peer.most_audio_s:g} s of audio, as it is slow"
        for peer in plan.peers
        if largest > peer.most_audio_s
    ]
    remarks = {peer.name: f" ({peer.remark})" if peer.remark else "" for peer in plan.peers}
    said += [f"{name}: its whole process printed another text{remarks[name]}" for name in other_texts(findings.printed)]
    noisy = [measured.title for measured in findings.measured if measured.rounds.noisy]
    if noisy:
        busy = max(measured.rounds.busy for measured in findings.measured)
        said.append(
            f"the machine was BUSY: in {len(noisy)} of {len(findings.measured)} cases too few rounds were quiet (other "
            f"processes used up to {busy:.0%} of the cores); such ratios flatter MLX, as torch waits by spinning"
        )
    return said


def device_notes(sides: list[BenchSide], findings: Findings, contest: Contest, rates: Mapping[str, float]) -> list[str]:
    """Return what differs on a GPU, and whose share of the product rate is not known."""
    said = []
    if contest.device == "gpu":
        said.append(
            "on a GPU every step ends when the device is done; features to logits goes on to the token ids: from "
            "features in the host's memory to ids there, once more in one go, so it is less than the sum of its steps"
        )
    timed = {side for measured in findings.measured if measured.gflop for side in measured.rounds.found}
    unknown = [f"{side.name} ({side.precision})" for side in sides if side.name in timed and side.name not in rates]
    if unknown:
        said.append(f"of the product rate: left out for {', '.join(unknown)}, whose products no side can compute alone")
    return said


def other_texts(printed: dict[str, str]) -> list[str]:
    """Return the sides whose whole process printed another text than this project's, spaces aside.

    Those that print no text, but token ids, are left out.
    """
    texts = {name: line.removeprefix("text:").replace(" ", "") for name, line in printed.items() if line[:1] != "{"}
    return [name for name, text in texts.items() if text != texts.get(OURS, text)]


def environment(plan: Plan, contest: Contest, findings: Findings) -> dict[str, Any]:
    """Return where and how it was measured."""
    names = dict.fromkeys([*PACKAGES, *(name for peer in plan.peers for name in peer.distributions)])
    measured = child_environment(plan.threads)
    return describe(
        versions=versions(tuple(names)),
        mlx_device=contest.facts.get(OURS, {}).get("device_name"),
        libraries={name: facts.get("library") for name, facts in contest.facts.items()},
        devices={name: facts.get("device_name") for name, facts in contest.facts.items()},
        mlx_enable_tf32=measured["MLX_ENABLE_TF32"],
        threads=plan.threads,
        rounds=plan.rounds,
        flags={name: value for name, value in sorted(measured.items()) if name.startswith(FLAGS)},
        matmul_gflops=findings.products,
        checkpoint_sha256=plan.sha256,
        model=str(plan.model),
        source=plan.source,
        noise={measured.title: measured.rounds.note for measured in findings.measured},
        load_average=os.getloadavg(),
    )


def command() -> str:
    """Return the command line as it can be repeated."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
