"""Records with named fields (a JSON line, a row of a table) -> utterances. Stdlib only.

FunASR's jsonl, WeNet's data.list and plain manifests differ in nothing but what they call their columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_model.errors import DatasetError
from parity.cer.lists import check_characters, quoted
from parity.cer.readers.places import audio_path
from parity.cer.readers.testset import Options, Row, Utterance, check_id, check_order, checked_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What a list calls its columns; None where it has none of that meaning.

    Without an `utt_id` column the name of the audio file, without its suffix, is the id.
    """

    path: str
    text: str
    utt_id: str | None
    speaker: str | None = None
    condition: str | None = None
    start: str | None = None
    end: str | None = None
    duration: str | None = None


def row_of(record: Mapping[str, Any], columns: Columns, where: str, folder: Path, options: Options) -> Row:
    """Return the utterance of one record.

    Raises:
        DatasetError: a field is missing, is of the wrong type or cannot be used (an id with white space, a path out of
            the folder, an end before its start).
    """
    source = _string(record, columns.path, where, columns)
    path = audio_path(source, folder, where, trusted=options.trusted)
    if columns.utt_id is None:
        utt_id = check_id(path.stem, where, "the file's name, which is the id here, is")
    else:
        utt_id = check_id(_string(record, columns.utt_id, where, columns), where, columns.utt_id)
    start_s, end_s, duration_s = _times(record, columns, where)
    utterance = Utterance(
        utt_id=utt_id,
        path=path,
        text=_string(record, columns.text, where, columns),
        speaker=_optional(record, columns.speaker, where, columns),
        condition=_optional(record, columns.condition, where, columns),
        start_s=start_s,
        end_s=end_s,
        duration_s=duration_s,
    )
    return Row(where=where, utterance=utterance)


def _string(record: Mapping[str, Any], name: str, where: str, columns: Columns) -> str:
    value = record.get(name)
    if not isinstance(value, str):
        found = f"is {quoted(value)}, not a string" if name in record else "is missing"
        needed = ", ".join(column for column in (columns.utt_id, columns.path, columns.text) if column)
        raise DatasetError(f"{where}: {name!r} {found}; expected {needed} as strings")
    return check_characters(value, where)


def _optional(record: Mapping[str, Any], name: str | None, where: str, columns: Columns) -> str | None:
    if name is None or record.get(name) in (None, ""):
        return None
    return _string(record, name, where, columns)


def _times(record: Mapping[str, Any], columns: Columns, where: str) -> tuple[float | None, float | None, float | None]:
    """Return start, end and duration in seconds: a duration beside a start gives the end, alone the whole file's."""
    start_s, end_s, duration_s = (
        None if name is None or record.get(name) in (None, "") else checked_seconds(record[name], where, repr(name))
        for name in (columns.start, columns.end, columns.duration)
    )
    if start_s is not None and end_s is None and duration_s is not None:
        end_s = start_s + duration_s
    check_order(start_s, end_s, where)
    # Half a hundredth: what rounding to two decimals on either side can make of it.
    if end_s is not None and duration_s is not None and abs(end_s - (start_s or 0.0) - duration_s) > 0.015:
        raise DatasetError(
            f"{where}: {columns.duration} {duration_s} is not the time from start {start_s or 0.0} to end {end_s}"
        )
    return start_s, end_s, duration_s
