"""What a parity run concludes: structural facts, the first failure, the address of the error, all in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from parity.taps.distances import FAIL, PASS
from parity.taps.tapset import FLOAT32
from reports.schema import PLAIN, DecisionRow, InvarianceRow, TapRow

Facts = Mapping[str, Mapping[str, Any]]


class Verdict(NamedTuple):
    """`first_failure` is a tap (or a fact, or an invariance), `address` a module or step that introduces error.

    `engine` is what computed where it failed.
    """

    passed: bool
    first_failure: str | None
    address: str | None
    sentence: str
    engine: str = PLAIN


def structure(reference: Facts, candidate: Facts) -> list[dict[str, Any]]:
    """Return one row per kind of fact: {fact, status, where}, `where` naming up to three modules that differ.

    A fact of one word is a module, and lists its settings; any other is a property, listed by the modules that have it.
    """
    rows = []
    for fact, known in reference.items():
        found = candidate.get(fact, {})
        both = {name: known[name] for name in known if name in found}
        is_module = " " not in fact
        prefix = f"{fact}." if is_module else ""
        wrong = [f"{prefix}{name}: {found[name]}, not {value}" for name, value in both.items() if found[name] != value]
        values = sorted({str(value) for value in both.values()})
        text = f"{fact}: {', '.join(values[:3])} in all {len(both)}" if not is_module else _settings(fact, both)
        wrong += [f"{prefix}{name}: not there, the reference has {known[name]}" for name in known if name not in found]
        rows.append({"fact": text, "status": FAIL if wrong else PASS, "where": wrong[:3]})
    return rows


def _settings(module: str, values: Mapping[str, Any]) -> str:
    return f"{module}: " + ", ".join(f"{name} {value:g}" for name, value in values.items())


def conclude(
    taps: Sequence[TapRow],
    facts: Sequence[Mapping[str, Any]],
    decisions: Sequence[DecisionRow],
    invariance: Sequence[InvarianceRow],
    precision: str,
    decided: Mapping[str, str],
    floor: str = FLOAT32,
) -> Verdict:
    """Return the verdict over everything that was compared; nothing compared is a failure.

    `decided` names the tap of each kind of decision, `floor` the run of FunASR whose distance is the unit.
    """
    if not any(row.ratio is not None for row in taps):
        return Verdict(False, None, None, "Nothing was compared: no tap has numbers on both sides.")
    failed = [row for row in taps if row.status == FAIL]
    wrong_facts = [fact for fact in facts if fact["status"] == FAIL]
    broken = [row for row in invariance if row.status == FAIL]
    unexplained = [row for row in decisions if not row.explained]
    if not (failed or wrong_facts or broken or unexplained):
        return Verdict(True, None, None, _healthy(taps, decisions, precision, floor))
    where = structural_address(wrong_facts) or address(failed)
    if failed:
        return Verdict(False, failed[0].name, where, _guilty(failed, where))
    if wrong_facts:
        sentence = f"Distances pass, but structure differs: {'; '.join(wrong_facts[0]['where'])}."
        return Verdict(False, where, where, sentence)
    if unexplained:
        row = unexplained[0]
        sentence = f"{row.utt_id}: a {row.kind} differs that rounding does not explain (position {row.position})."
        return Verdict(False, decided[row.kind], None, sentence)
    row = broken[0]
    return Verdict(False, f"invariance: {row.name}", None, f"The result depends on {row.name}: {row.detail}.")


def structural_address(wrong: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the first module whose structure differs, a certainty where distances only infer; None without one."""
    return next((fact["where"][0].partition(":")[0] for fact in wrong if ":" in fact["where"][0]), None)


def address(failed: Sequence[TapRow]) -> str | None:
    """Return the first row that shows error its module introduces itself, or None where none does.

    A propagated row whose own share is within tolerance only passes on what came before it; rows that cannot be
    isolated (front end, positions, discrete outcomes) count as they are.
    """
    for row in failed:
        passes_on = row.introduced is not None and row.introduced.status == PASS and row.rel_l2 is not None
        if not passes_on:
            return row.name
    return None


def _healthy(taps: Sequence[TapRow], decisions: Sequence[DecisionRow], precision: str, floor: str) -> str:
    measured = [row for row in taps if row.ratio is not None]
    worst = max(measured, key=lambda row: (row.ratio or 0.0) / (row.tolerance_ratio or 1.0))
    count = len({row.name for row in measured})
    near = f"All {count} taps stay near FunASR's own {precision} error; furthest is {worst.name}"
    text = f"{near} at {worst.ratio:.3g} times it"
    if floor != f"{precision} reference":
        text = f"All {count} taps stay within what {precision} allows; furthest: {worst.name}"
    flips = f"; {len(decisions)} decisions differ, each explained by rounding" if decisions else ""
    return f"{text}{flips}."


def _guilty(failed: Sequence[TapRow], where: str | None) -> str:
    first = failed[0]
    if where is None:
        return (
            f"{first.name} is the first tap out of tolerance, but no single module introduces that much: "
            "small errors add up (precision, or the same small fault in every layer)."
        )
    row = next((row for row in failed if row.name == where), first)
    what = f"The error starts in {where}: {row.reason if row.name == where else 'its structure differs'}"
    return f"{what}. {len(failed) - 1} later rows fail with it." if len(failed) > 1 else f"{what}."
