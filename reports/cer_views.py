"""What pages, summaries and tables show first of an error rate report.

Arranges what a report says (sorting, picking the worst); judges nothing. Imports charts, formatting and the schema; it
must not import jinja2 or rich.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from reports import calibration_charts, cer_charts
from reports import formatting as fmt
from reports.formatting import Figure
from reports.latency_views import delay_picture, latency_figures
from reports.schema.cer import CerDivision, CerGroup, CerReport, CerUtterance, Confusion
from reports.schema.hotwords import HotwordCounts

BARS = 12  # groups of a picture; the table below it has them all
OPEN = 10  # rows of a list that stand open; the others fold
KINDS = {"S": "Taken for another", "D": "Left out", "I": "Put in"}
IN_ORDER = ("length", "duration", "rate")  # divisions whose groups follow from one another


class Unit(NamedTuple):
    """What one error is counted in, in words."""

    short: str
    rate: str
    plural: str
    said: str


UNITS = {
    "char": Unit("CER", "character error rate", "characters", "Errors are counted in characters."),
    "word": Unit("WER", "word error rate", "words", "Errors are counted in words, which white space separates."),
    "mixed": Unit(
        "MER",
        "mixed error rate",
        "units",
        "Errors are counted in mixed units: one for each Chinese, Japanese or Korean character, one for each word of "
        "other scripts.",
    ),
}


class Card(NamedTuple):
    """One division of the utterances: its title, its picture, its groups, and how many of them the picture shows."""

    title: str
    chart: str
    groups: list[CerGroup]
    drawn: int


class Confused(NamedTuple):
    """The confusions of one kind, most frequent first: those that stand open, and those that fold."""

    kind: str
    title: str
    first: list[Confusion]
    further: list[Confusion]


def unit_of(name: str) -> Unit:
    """Return a unit's words; one that is not known is called by its name."""
    said = fmt.visible(name)
    return UNITS.get(name) or Unit("Rate", f"error rate ({said})", "units", f"Errors are counted in units of {said}.")


def cer_summary(report: CerReport) -> str:
    """Return the rate with its interval, and what was lost."""
    rate = f"{unit_of(report.unit).short} {fmt.rate(report.cer)} (95%: {fmt.interval(report.ci95)})"
    lost = f", {fmt.count(report.missing)} missing, {fmt.count(report.failed)} failed"
    return f"{rate}, {fmt.count(report.utterances)} utterances" + (lost if incomplete(report) else "")


def incomplete(report: CerReport) -> bool:
    """Whether the rate stands for less than the whole test set was meant to show."""
    return bool(report.missing or report.failed)


def cer_counters(report: CerReport) -> list[Figure]:
    """Return every count and rate of a report besides its rate itself."""
    unit = unit_of(report.unit)
    length = f"of {fmt.count(report.reference_length)} reference {unit.plural}"
    counters = [
        Figure("Substitutions", fmt.count(report.substitutions), length),
        Figure("Deletions", fmt.count(report.deletions), length),
        Figure("Insertions", fmt.count(report.insertions), "beyond the reference"),
        Figure("Hits", fmt.count(report.hits), length),
        Figure("Sentence error rate", fmt.rate(report.ser), f"of {fmt.count(report.utterances)} utterances"),
        Figure(f"Mean utterance {unit.short}", fmt.rate(report.mean_utterance_cer), "every utterance weighs the same"),
        Figure("Missing", fmt.count(report.missing), "no hypothesis; counted as deletions"),
        Figure("Failed", fmt.count(report.failed), "an error instead of a text"),
    ]
    if report.audio_s is not None or report.wall_s is not None:
        timing = f"{fmt.seconds(report.wall_s)} for {fmt.seconds(report.audio_s)} of audio"
        counters.append(Figure("Real-time factor", fmt.number(report.rtf), timing))
    return [*counters, *confidence_figures(report)]


def confidence_figures(report: CerReport) -> list[Figure]:
    """Return what is said of the confidences in numbers; nothing where there are none."""
    found = report.confidence
    if found is None:
        return []
    said = f"mean confidence {fmt.rate(found.confidence)}, {fmt.rate(found.accuracy)} right"
    share = fmt.number(found.auc)
    return [
        Figure("Calibration error", fmt.rate(found.ece), f"{said}, {fmt.count(found.tokens)} tokens"),
        Figure("AUC of errors", share, "how often a wrong token is less sure than a right one"),
    ]


def hotword_figures(report: CerReport) -> list[Figure]:
    """Return what a report says of hotwords as a whole; nothing where no list was given."""
    found = report.hotwords
    if found is None:
        return []
    unit, count = unit_of(report.unit), fmt.count
    places = {
        "inside": (found.inside_cer, found.inside_errors, found.inside_length),
        "outside": (found.outside_cer, found.outside_errors, found.outside_length),
    }
    heard = f"{count(found.right)} of {count(found.hypothesis)} in hypotheses are right"
    return [
        Figure("Hotword recall", fmt.rate(found.recall), f"{count(found.found)} of {count(found.reference)} found"),
        Figure("Hotword precision", fmt.rate(found.precision), heard),
        Figure("Hotword F1", fmt.rate(found.f1), f"{count(found.occurring)} of {count(found.hotwords)} hotwords occur"),
        *(
            Figure(
                f"{unit.short} {where} hotwords", fmt.rate(rate), f"{count(errors)} errors, {count(size)} {unit.plural}"
            )
            for where, (rate, errors, size) in places.items()
        ),
    ]


def hotword_lists(report: CerReport) -> list[tuple[str, list[HotwordCounts]]]:
    """Return the lists of single hotwords under their titles, those that are empty left out."""
    found = report.hotwords
    lists = [] if found is None else [("Missed most often", found.missed), ("Invented most often", found.invented)]
    return [(title, rows) for title, rows in lists if rows]


def normalizer_of(report: CerReport) -> str:
    """Return the normaliser's name, version and fingerprint: rates compare only where all three agree."""
    mark = f", fingerprint {report.normalizer_fingerprint}" if report.normalizer_fingerprint else ""
    return f"{report.normalizer}, version {report.normalizer_version}{mark}"


def utterance_cer(row: CerUtterance) -> float:
    """Return an utterance's error rate; insertions into an empty reference count as infinite."""
    errors, length = row.substitutions + row.deletions + row.insertions, row.substitutions + row.deletions + row.hits
    return errors / length if length else math.inf if errors else 0.0


def because(row: CerUtterance) -> str:
    """Return why an utterance has no text, "" where it has one."""
    if row.error:
        return f"failed: {row.error}"
    return "no hypothesis" if row.hypothesis is None else ""


def confused(report: CerReport) -> list[Confused]:
    """Return the confusions by kind, in the report's order."""
    kinds = []
    for kind, title in KINDS.items():
        rows = [row for row in report.confusions if row.kind == kind]
        kinds.append(Confused(kind, title, rows[:OPEN], rows[OPEN:]))
    return kinds


def division_title(name: str, unit: str) -> str:
    """Return what a division divides by, in words."""
    units = unit_of(unit).plural
    titles = {
        "speaker": "By speaker",
        "length": f"By length, {units} of the reference",
        "duration": "By duration of the recording",
        "rate": f"By speaking rate, {units} a second",
        "condition": "By condition",
    }
    return titles.get(name, f"By {fmt.visible(name)}")


def drawn(division: CerDivision) -> list[CerGroup]:
    """Return the groups of a picture: those of a scale in its order, others with the highest rate first."""
    if division.name in IN_ORDER:
        return division.groups[: 2 * BARS]
    return sorted(division.groups, key=lambda group: -group.cer if group.cer == group.cer else 0.0)[:BARS]


def _card(division: CerDivision, report: CerReport) -> Card:
    title, shown = division_title(division.name, report.unit), drawn(division)
    picture = cer_charts.rate_bars(shown, report.cer, f"{unit_of(report.unit).rate}, {title}")
    return Card(title, picture, division.groups, len(shown))


def cer_context(report: CerReport) -> dict[str, Any]:
    """Return the pictures of a page, and its lists in two halves: what stands open and what folds."""
    unit = unit_of(report.unit)
    histograms: Sequence[tuple[str, str]] = [
        ("Utterances by error rate", cer_charts.bin_bars(report.rate_bins, f"{unit.rate} of the utterance", "Rates")),
        ("Utterances by real-time factor", cer_charts.bin_bars(report.rtf_bins, "real-time factor", "RTF")),
    ]
    sure = report.confidence and [
        ("Confidence against accuracy", calibration_charts.reliability(report.confidence)),
        ("Errors found by confidence", calibration_charts.errors_found(report.confidence)),
    ]
    return {
        "unit": unit,
        "confidences": [(name, chart) for name, chart in sure or () if chart],
        "cards": [_card(division, report) for division in report.divisions if division.groups],
        "histograms": [(name, chart) for name, chart in histograms if chart],
        "confused": confused(report),
        "hotwords": hotword_figures(report),
        "latency": latency_figures(report),
        "delays": delay_picture(report),
        "hotword_lists": hotword_lists(report),
        "open": OPEN,
        "incomplete": incomplete(report),
    }
