"""NIST's timed texts: stm (segments of a recording) and ctm (words of one), a recording's channel an utterance.

Texts are joined in the order of their times, so both sides are compared over the whole recording. Stdlib only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mlx_model.errors import DatasetError
from parity.cer.lists import IdLine, read_lines, shown
from parity.cer.texts.head import Head, Role
from parity.cer.texts.lines import is_comment, refuse_alternatives

_NUMBER = re.compile(r"\d+(\.\d*)?|\.\d+")
_LABELS = re.compile(r"<[^<>\s]*>\s*")
_SKIPPED = ("inter_segment_gap",)  # silence between segments: nothing is said there
_UNSCORED = "ignore_time_segment_in_scoring"

Segment = tuple[float, int, str, str]  # its begin, its line, the recording with its channel, its text


def is_stm(head: Head) -> bool:
    """Whether every line is `recording channel speaker begin end [<labels>] text`."""
    rows = [line.split(maxsplit=5) for line in head.lines if not is_comment(line)]
    return bool(rows) and all(_stm_row(row) for row in rows) and _decimal(rows, 3, 4)


def _stm_row(row: list[str]) -> bool:
    return len(row) >= 5 and _numbers(row, 3, 4) and float(row[3]) <= float(row[4])


def is_ctm(head: Head) -> bool:
    """Whether every line is `recording channel begin duration word [confidence]`."""
    rows = [line.split() for line in head.lines if not is_comment(line)]
    return bool(rows) and all(_ctm_row(row) for row in rows) and _decimal(rows, 2, 3)


def _ctm_row(row: list[str]) -> bool:
    return 5 <= len(row) <= 8 and (_numbers(row, 2, 3) or row[2:4] == ["*", "*"])


def _numbers(row: list[str], *places: int) -> bool:
    return all(_NUMBER.fullmatch(row[place]) for place in places)


def _decimal(rows: list[list[str]], *places: int) -> bool:
    """Whether some time has a decimal point: texts of digits have none."""
    return any("." in row[place] for row in rows for place in places)


def read_stm(path: Path, role: Role) -> Iterator[IdLine]:
    """Yield one line a recording and channel.

    Raises:
        DatasetError: a line that is no stm, alternatives, or a segment that is not to be scored.
    """
    segments: list[Segment] = []
    for number, line in read_lines(path):
        if is_comment(line):
            continue
        where, row = f"{shown(path)}:{number}", line.split(maxsplit=5)
        if not _stm_row(row):
            raise DatasetError(f"{where}: not stm; expected `recording channel speaker begin end text`")
        text = _LABELS.sub("", row[5], count=1) if len(row) > 5 and row[5].startswith("<") else "".join(row[5:])
        if row[2] in _SKIPPED:
            continue
        if _UNSCORED in text.lower():
            raise DatasetError(f"{where}: a time that is not to be scored, which only sclite leaves out of both sides")
        refuse_alternatives(text, where)
        segments.append((float(row[3]), number, f"{row[0]} {row[1]}", text.strip()))
    return _joined(path, segments)


def read_ctm(path: Path, role: Role) -> Iterator[IdLine]:
    """Yield one line a recording and channel.

    Raises:
        DatasetError: a line that is no ctm, or alternatives.
    """
    words: list[Segment] = []
    for number, line in read_lines(path):
        if is_comment(line):
            continue
        where, row = f"{shown(path)}:{number}", line.split()
        if not _ctm_row(row) or row[2] == "*":
            what = "holds alternatives, which only sclite scores" if len(row) > 2 and row[2] == "*" else "not ctm"
            raise DatasetError(f"{where}: {what}; expected `recording channel begin duration word`")
        words.append((float(row[2]), number, f"{row[0]} {row[1]}", row[4]))
    return _joined(path, words)


def _joined(path: Path, segments: list[Segment]) -> Iterator[IdLine]:
    """Yield the texts of each recording in the order of time, the recordings in that of the file.

    A recording with one channel is called by its own name, others by name and channel.
    """
    found: dict[str, list[Segment]] = {}
    for segment in segments:
        found.setdefault(segment[2], []).append(segment)
    names = [key.partition(" ")[0] for key in found]
    for (key, parts), name in zip(found.items(), names, strict=True):
        utt_id = name if names.count(name) == 1 else key.replace(" ", "_")
        text = " ".join(part[3] for part in sorted(parts, key=lambda part: part[:2]))
        yield IdLine(path=path, number=parts[0][1], utt_id=utt_id, rest=text)


def is_segments(rows: list[list[str]]) -> bool:
    """Whether rows are those of Kaldi's segments file, `utterance recording begin end`."""
    return all(len(row) == 4 and _numbers(row, 2, 3) for row in rows) and _decimal(rows, 2, 3)


def is_durations(rows: list[list[str]]) -> bool:
    """Whether rows are those of Kaldi's utt2dur, `utterance seconds`."""
    return all(len(row) == 2 and _numbers(row, 1) for row in rows) and _decimal(rows, 1)
