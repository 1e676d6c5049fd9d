"""Praat's TextGrid of one recording: tiers of intervals without a gap between them. Stdlib only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Interval = tuple[float, float, str]  # start and end, s, and what stands there


def textgrid(duration_s: float, tiers: Mapping[str, Sequence[Interval]]) -> str:
    """Return the document; what no interval covers becomes one without text.

    Args:
        duration_s: of the recording; the grid is longer where an interval is.
        tiers: intervals by the tiers' names, in order; they do not overlap.
    """
    total = max([duration_s, *(end for found in tiers.values() for _, end, _ in found)])
    span = f"xmin = 0\nxmax = {total:.10g}\n"
    head = f'File type = "ooTextFile"\nObject class = "TextGrid"\n\n{span}tiers? <exists>\n'
    head += f"size = {len(tiers)}\nitem []:\n"
    return head + "\n".join(
        f'    item [{number}]:\n        class = "IntervalTier"\n        name = "{_doubled(name)}"\n'
        + "".join(f"        {line}\n" for line in span.splitlines())
        + _intervals(_filled(found, total))
        for number, (name, found) in enumerate(tiers.items(), 1)
    )


def _filled(found: Sequence[Interval], total: float) -> list[Interval]:
    """The same with an interval wherever there was none; of no length are left out, which Praat refuses."""
    filled: list[Interval] = []
    edge = 0.0
    for start, end, text in found:
        start = max(start, edge)
        if end <= start:
            continue
        if start > edge:
            filled.append((edge, start, ""))
        filled.append((start, end, text))
        edge = end
    if total > edge or not filled:
        filled.append((edge, total, ""))
    return filled


def _intervals(filled: Sequence[Interval]) -> str:
    parts = [
        f"        intervals [{number}]:\n            xmin = {low:.10g}\n            xmax = {high:.10g}\n"
        f'            text = "{_doubled(text)}"'
        for number, (low, high, text) in enumerate(filled, 1)
    ]
    return f"        intervals: size = {len(filled)}\n" + "\n".join(parts)


def _doubled(text: str) -> str:
    """Praat ends a string at a quotation mark, unless there are two."""
    return text.replace('"', '""')
