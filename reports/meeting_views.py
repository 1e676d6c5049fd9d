"""What pages, summaries and tables show of a meeting: figures, the picture of who speaks when, sentences in pieces.

Arranges what a report says; judges nothing. Imports svg, formatting and the schema; it must not import jinja2 or rich.
"""

from __future__ import annotations

from typing import Any

from reports import formatting as fmt
from reports import svg
from reports.formatting import Figure
from reports.schema import MeetingReport, MeetingSentence

LEFT, ROW = 120, 30  # of the picture: room for names, height of a speaker's row
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
KINDS = 6  # colours; the seventh speaker has the first one's, and a row of its own


def clock(seconds: float) -> str:
    """Return a time of a recording: 3725.4 -> "1:02:05"; below an hour "2:05"."""
    whole = int(seconds)
    minutes = f"{whole // 60 % 60:02}:{whole % 60:02}"
    return f"{whole // 3600}:{minutes}" if whole >= 3600 else minutes.removeprefix("0")


def meeting_summary(report: MeetingReport) -> str:
    """Return how long, how many speakers, how many sentences."""
    speakers = f"{fmt.count(len(report.speakers))} speakers, " if report.speakers else ""
    said = f"{clock(report.duration_s)}, {speakers}{fmt.count(len(report.sentences))} sentences"
    return f"{fmt.visible(report.recording)}: {said}"


def meeting_counters(report: MeetingReport) -> list[Figure]:
    """Return the figures of a meeting."""
    spoken = sum(turn.end_s - turn.start_s for turn in report.turns)
    found = [Figure("Length", clock(report.duration_s), "hours, minutes and seconds")]
    if report.speakers:
        found.append(Figure("Speakers", fmt.count(len(report.speakers)), f"{clock(spoken)} of speech"))
    detail = "each of one speaker" if report.speakers else ""
    found.append(Figure("Sentences", fmt.count(len(report.sentences)), detail))
    if report.confidence is not None:
        found.append(Figure("Confidence", fmt.rate(report.confidence), "mean of all tokens; not an error rate"))
    return found


def meeting_context(report: MeetingReport) -> dict[str, Any]:
    """Return what the page needs beside the report."""
    return {
        "chart": _chart(report),
        "clock": clock,
        "pieces": pieces,
        "name_of": lambda number: "" if number is None else report.speakers[number].name,
        "kind_of": lambda number: "" if number is None else f"who{number % KINDS}",
        "sorted_speakers": sorted(enumerate(report.speakers), key=lambda pair: -pair[1].seconds),
    }


def pieces(sentence: MeetingSentence) -> list[tuple[str, bool]]:
    """Return the sentence's text cut where the model becomes sure or unsure: (text, doubted)."""
    found, at = list[tuple[str, bool]](), 0
    for start, stop in sentence.doubts:
        found += [(sentence.text[at:start], False), (sentence.text[start:stop], True)]
        at = stop
    return [pair for pair in (*found, (sentence.text[at:], False)) if pair[0]]


def _chart(report: MeetingReport) -> svg.Drawing | None:
    """Who speaks when: a row a speaker, time from left to right; None where speakers were not told apart."""
    if not report.speakers or not report.duration_s:
        return None
    scale = (svg.WIDTH - LEFT - 10) / report.duration_s
    bottom = ROW * len(report.speakers) + 6
    parts = []
    step = next((step for step in STEPS_S if report.duration_s / step <= 12), STEPS_S[-1])
    for number in range(int(report.duration_s // step) + 1):
        x = LEFT + number * step * scale
        parts += [svg.line(x, 0, x, bottom, "grid"), svg.text(x, bottom + 18, clock(number * step), "tick")]
    for number, speaker in enumerate(report.speakers):
        parts.append(svg.text(LEFT - 10, ROW * number + 21, _short(speaker.name), "label", anchor="end"))
    for turn in report.turns:
        name = report.speakers[turn.speaker].name
        title = f"{name}, {clock(turn.start_s)} to {clock(turn.end_s)}"
        x, width = LEFT + turn.start_s * scale, max((turn.end_s - turn.start_s) * scale, 1)
        parts.append(svg.rect(x, ROW * turn.speaker + 6, width, ROW - 9, f"turn who{turn.speaker % KINDS}", title))
    return svg.svg(svg.WIDTH, bottom + 26, "Who speaks when", parts)


def _short(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"
