"""One trace against one candidate: utterance by utterance, then the whole report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mlx_model.errors import OutputError, UsageError
from mlx_model.machine.numerics import numerics, product_error
from parity import families
from parity.decisions.base import Decisions
from parity.families.family import Family
from parity.layers.columns import Column, hold, in_force
from parity.layers.invariance import AS_USERS_RUN_IT, invariance
from parity.sides.candidate import Candidate
from parity.sides.hotwords import of_ours
from parity.taps.distances import PASS, Comparison
from parity.taps.pictures import heat_map
from parity.taps.takes import RECORDINGS, TEXTS
from parity.taps.tapset import FLOAT32, Precision
from parity.taps.trace import Recorded, Trace, TracedUtterance
from parity.taps.verdict import Verdict, conclude, structure
from reports.environment import describe
from reports.schema import HeatMap, InvarianceRow, ParityReport, TapRow, UtteranceRow

PICTURES = 3  # utterances drawn
ENGINE_UTTERANCES = 2  # read by every engine as well
PLAIN = "MLX, module by module"
GIVEN = {
    RECORDINGS: (
        "The network taps are fed the reference's own features, so that the front end's rounding hides no fault; "
        "the end_to_end rows start from the waveform.",
        "Dither is 0 on both sides; FunASR runs one utterance at a time.",
    ),
    TEXTS: (
        "The network taps are fed the ids and the windows that the reference made of a text, so that a difference in "
        "cutting hides no other; the end_to_end rows start from the text. FunASR runs one window at a time.",
    ),
}


def same_checkpoint(trace: Trace, candidate: Candidate) -> None:
    """Raise OutputError where the trace was recorded from another model.pt than the candidate was converted from."""
    found, wanted = candidate.checkpoint_sha256, trace.meta["checkpoint_sha256"]
    if found is not None and found != wanted:
        raise OutputError(
            f"{trace.directory} was recorded from a checkpoint with sha256 {wanted[:12]}..., but {candidate.path} was "
            f"converted from {found[:12]}...; record {trace.meta['source']} again or convert it"
        )


def tolerance(trace: Trace, candidate: Candidate) -> tuple[Precision, str]:
    """Return what a candidate is judged by, and why not by FunASR's own run in its precision ("" where it is, or at
    float32).

    Raises:
        UsageError: there are no tolerances for its precision.
    """
    name, tapset = candidate.precision, candidate.full_tapset
    if name not in tapset.precisions:
        known = ", ".join(tapset.precisions)
        raise UsageError(f"no tolerances for {name} candidates; there are {known}")
    if name not in tapset.halves:
        return tapset.precisions[name], ""
    why = trace.meta.get("halves", {}).get(name, f"record the trace with --precision {name}")
    return (tapset.precisions[name], why) if why else (tapset.halves[name], "")


class Comparing:
    """One trace against one candidate, utterance by utterance; `report` sums up."""

    def __init__(
        self, trace: Trace, candidate: Candidate, *, pictures: int = PICTURES, engines: int = ENGINE_UTTERANCES
    ):
        same_checkpoint(trace, candidate)
        self.trace, self.candidate = trace, candidate
        candidate.options = of_ours(trace.meta.get("options") or {})
        self.precision, self.without_half = tolerance(trace, candidate)
        self.comparison = Comparison(candidate.full_tapset, self.precision)
        self.rows: list[UtteranceRow] = []
        self.family = families.by_name(candidate.tapset.family)
        self.decisions: Decisions = self.family.piece("decisions")(
            trace, candidate, self.precision, self.family.decided
        )
        self.columns = [Column(engine, candidate, self.decisions) for engine in candidate.engines()]
        self.pictures_wanted, self.read_by_engines = pictures, engines

    def add(self, utterance: TracedUtterance, arrays: Recorded, ahead: Callable[[], None] = lambda: None) -> None:
        """Compare one utterance: front end on the waveform, network on the reference's features, outcome end to end.

        `ahead` is called when the products on all cores are through: one of those waits for its slowest thread.
        """
        recorded, decisions = self.judged_by(self.chosen(arrays)), self.decisions
        plain, steps = recorded.plain, self.trace.meta["steps"]
        self.candidate.take(plain)
        front = self.candidate.front(plain)
        self.comparison.add_frontend(utterance.utt_id, plain, front)
        run = self.candidate.run(plain, front, recorded.inputs, steps=steps)
        ahead()
        decided = hold(self.comparison, decisions, utterance, recorded, run)
        self.rows.append(decisions.compare(self.comparison, utterance, recorded, run, decided))
        decisions.rows += decided
        if len(self.rows) <= self.pictures_wanted:
            decisions.picture(utterance, recorded, run)
        for column in self.columns:
            if column.utterances < self.read_by_engines and decisions.heard(utterance):
                column.add(utterance, recorded, steps=steps)

    def chosen(self, recorded: Recorded) -> Recorded:
        """Return what was recorded, without the taps that were not asked for.

        Raises:
            UsageError: a tap was asked for that the trace does not hold.
        """
        wanted = self.candidate.asked_for
        held = recorded.inputs.keys() | recorded.propagated
        missing = [name for name in self.candidate.restricted_to if name not in held]
        if missing and self.trace.meta["taps"]:
            raise UsageError(
                f"{self.trace.directory} was recorded with --taps {', '.join(self.trace.meta['taps'])} and does not "
                f"hold {missing[0]}; record it again"
            )
        return Recorded(
            plain=recorded.plain,
            propagated={name: pair for name, pair in recorded.propagated.items() if wanted(name)},
            introduced={name: pair for name, pair in recorded.introduced.items() if wanted(name, introduced=True)},
            inputs=recorded.inputs,
        )

    def judged_by(self, recorded: Recorded) -> Recorded:
        """Return what was recorded with the run in it whose distances are the floor."""
        half = self.precision.floor != FLOAT32
        return recorded.under(self.candidate.precision) if half else recorded

    def heat(self, taps: Sequence[TapRow], engine: str) -> HeatMap | None:
        """Return the worst tap's error map in a column, from the utterance it is worst in (computed again)."""
        measured = [row for row in taps if row.ratio is not None and row.worst and len(row.worst["index"]) == 3]
        if not measured:
            return None
        guilty = [row for row in measured if row.status != PASS][:1]
        worst = (guilty or sorted(measured, key=lambda row: -(row.ratio or 0.0) / (row.tolerance_ratio or 1.0)))[0]
        utt_id = (worst.worst or {})["utt_id"]
        utterance = next(row for row in self.trace.utterances if row.utt_id == utt_id)
        recorded = self.judged_by(self.trace.arrays(utterance))
        self.candidate.take(recorded.plain)
        with self.candidate.by(engine):
            if worst.scope == "introduced":
                inputs = {module: given for module, given in recorded.inputs.items() if worst.name.startswith(module)}
                value = self.candidate.introduced(inputs, steps=True)[worst.name]
                return heat_map(worst.name, utt_id, recorded.introduced[worst.name], value)
            value = self.candidate.network(recorded.plain["feats"])[worst.name]
            return heat_map(worst.name, utt_id, recorded.propagated[worst.name], value)

    def floor(self) -> str:
        """Return which floor is used, in words, and why."""
        lacking = f"; not by FunASR's own {self.candidate.precision}: {self.without_half}" if self.without_half else ""
        return f"judged by the {self.precision.floor}'s own distance: {self.precision.reason}{lacking}"

    def facts(self) -> list[dict[str, Any]]:
        """Return one row per kind of structural fact."""
        return structure(self.trace.meta["structure"], self.candidate.structure(self.family.facts))

    def plain(
        self, taps: Sequence[TapRow], facts: Sequence[dict[str, Any]], checks: Sequence[InvarianceRow]
    ) -> Verdict:
        """Return the verdict over the plain column alone."""
        name, floor = self.candidate.precision, self.precision.floor
        return conclude(taps, facts, self.decisions.rows, checks, name, self.family.decided, floor)

    def verdict(
        self, taps: Sequence[TapRow], facts: Sequence[dict[str, Any]], checks: Sequence[InvarianceRow]
    ) -> Verdict:
        """Return the verdict over the plain column, and over the first engine's that fails where that one passes."""
        plain = self.plain(taps, facts, checks)
        read = [column for column in self.columns if column.utterances]
        if not plain.passed or not read:
            return plain
        failed = next((found for found in (column.verdict(facts) for column in read) if not found.passed), None)
        if failed is not None:
            return failed._replace(sentence=f"Under {failed.engine}, and not under MLX alone: {failed.sentence}")
        names = " and ".join(column.engine for column in read)
        return plain._replace(sentence=f"{plain.sentence[:-1]}; so under {names}.")

    def report(self, invariants: bool) -> ParityReport:
        """Return the report over all utterances added."""
        decisions, family = self.decisions, self.family
        plain, facts = self.comparison.rows(), self.facts()
        names = family.invariance if invariants else ()
        checks = invariance(names, family.scored, self.candidate, self.trace, decisions.apart()) if names else []
        found = tapped(self.candidate, checks, self.columns)
        verdict = self.verdict(plain, facts, checks)
        by_engine = {column.engine: column.rows() for column in self.columns if column.utterances}
        taps = [*plain, *(row for rows in by_engine.values() for row in rows)]
        return ParityReport(
            verdict="pass" if verdict.passed else "fail",
            first_failure=verdict.first_failure,
            reference=str(self.trace.meta["source"]),
            candidate=str(self.candidate.path),
            taps=taps,
            utterances=self.rows,
            structure=facts,
            notes=notes(self.candidate, self.floor(), family, found["tapped"]),
            environment=describe(
                reference=self.trace.meta.get("environment", {}), float32_product_error=product_error(), numerics=found
            ),
            numerics=found,
            precision=self.candidate.precision,
            engine=verdict.engine,
            address=verdict.address,
            sentence=verdict.sentence,
            decisions=[*decisions.rows, *(row for column in self.columns for row in column.decided)],
            invariance=checks,
            heatmap=self.heat(by_engine.get(verdict.engine, plain), verdict.engine) if self.pictures_wanted else None,
            outcomes=decisions.outcomes(),
            words=dict(family.words),
            **decisions.fields(),
        )


def tapped(candidate: Candidate, checks: Sequence[InvarianceRow], columns: Sequence[Column]) -> dict[str, Any]:
    """Return the candidate's numerics, and what of it the taps watched: never more than was proved."""
    found = dict(numerics(candidate.model))
    rows = {row.name: row.status for row in checks if row.name in AS_USERS_RUN_IT}
    read = [
        f"{column.engine} at the same taps, {counted(column.utterances)}" for column in columns if column.utterances
    ]
    held = [f"{name} held against them by its invariance row ({status})" for name, status in rows.items()]
    otherwise = "what users run was not held against them" if found["engine"] != PLAIN else "which is what users run"
    return {**found, "tapped": f"plain MLX modules; {', '.join([*read, *held]) or otherwise}"}


def counted(utterances: int) -> str:
    """Return "1 utterance" or "2 utterances"."""
    return f"{utterances} utterance{'s' if utterances > 1 else ''}"


def notes(candidate: Candidate, reason: str, family: Family, tapped: str) -> list[str]:
    """Return what a reader must know to read the numbers."""
    given, own = GIVEN[family.takes], family.notes
    return [
        f"Taps watch {tapped}.",
        in_force(candidate.engines()),
        f"Candidate precision: {candidate.precision} ({reason}).",
        *given,
        *own,
        "Introduced error: each module run alone on the float64 reference's inputs, as float32; rows inside a module "
        "come from that run.",
    ]
