"""What every reader gives back, and the rules they share: what is counted, what is refused (paths: places.py).

Stdlib, parity.cer.lists and mlx_model.errors only; no audio is opened here.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

from mlx_model.errors import DatasetError
from parity.cer.lists import quoted, shown

MAX_SECONDS = 366 * 86400.0  # nothing real lasts a year; larger numbers are broken, and would overflow a frame count


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One recording, or a part of one, and what was said in it, as the list spells it.

    `path` may not exist: the notes count those. It is the audio file itself, or the tar that holds `member`, or, where
    `command` is set, the list that the command stands in. `start_s` and `end_s` bound a part of the recording (None:
    from its beginning, to its end), `channel` picks one of its channels (None: as the engine mixes them).
    `condition` is what the set itself groups by (a split, a subset, a column), `duration_s` what the list itself says.
    """

    utt_id: str
    path: Path
    text: str
    speaker: str | None = None
    condition: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    channel: int | None = None
    member: str | None = None
    command: str | None = None
    duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A test set in its own order. `kind` is a name in the readers' table; `notes` say what was left out, and why."""

    name: str
    kind: str
    utterances: tuple[Utterance, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        repeated = [utt_id for utt_id, count in Counter(item.utt_id for item in self.utterances).items() if count > 1]
        if repeated:
            raise DatasetError(f"{self.name}: id {repeated[0]!r} stands for several utterances; expected each id once")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a list is to be read. `part` is what stood behind the `#` of the path; `notes` open the set's own notes.

    A set that came from a hub was written by a stranger: nothing in it may point outside it (`trusted` is False).
    """

    allow_pipes: bool = False
    trusted: bool = True
    part: str | None = None
    notes: tuple[str, ...] = ()


class Row(NamedTuple):
    """An utterance and the line it stands in, for messages."""

    where: str
    utterance: Utterance


def checked_seconds(value: object, where: str, what: str) -> float:
    """Return a number or its text as seconds, or raise DatasetError where it is none between 0 and a year."""
    try:
        seconds = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds <= MAX_SECONDS:
        raise DatasetError(f"{where}: {what} is {quoted(value)}; expected seconds, 0 or more")
    return seconds


def check_order(start_s: float | None, end_s: float | None, where: str) -> None:
    """Raise DatasetError where a part ends before it has begun."""
    if end_s is not None and end_s <= (start_s or 0.0):
        raise DatasetError(f"{where}: ends at {end_s} s, but begins at {start_s or 0.0} s; expected a later end")


def check_id(utt_id: str, where: str, what: str) -> str:
    """Return the id, or raise DatasetError: hypotheses are `id text` lines, which white space in an id would break."""
    if not utt_id or re.search(r"\s", utt_id):
        raise DatasetError(f"{where}: {what} {quoted(utt_id)}; expected an id, and no white space in it")
    return utt_id


def merge_rows(rows: Iterable[Row], name: str, notes: list[str]) -> list[Utterance]:
    """Return the utterances in order; ids that stand again with the same content are counted in `notes`.

    Raises:
        DatasetError: one id stands with two different contents, so nobody can say which one is meant.
    """
    table: dict[str, Row] = {}
    repeated = 0
    for row in rows:
        first = table.setdefault(row.utterance.utt_id, row)
        if first is row:
            continue
        if first.utterance != row.utterance:
            raise DatasetError(_contradiction(first, row))
        repeated += 1
    if repeated:
        notes.append(f"{shown(name)}: {repeated} duplicate lines (same id, same content) counted once")
    return [row.utterance for row in table.values()]


def _contradiction(first: Row, second: Row) -> str:
    names = [field.name for field in fields(Utterance)]
    name = next(name for name in names if getattr(first.utterance, name) != getattr(second.utterance, name))
    before, now = (getattr(row.utterance, name) for row in (first, second))
    before, now = (str(value) if isinstance(value, Path) else value for value in (before, now))
    return (
        f"{second.where}: id {quoted(second.utterance.utt_id)} has {name} {quoted(now)}, but {quoted(before)} in "
        f"{first.where}; keep one of the two lines"
    )


def count_unpaired(audio: set[str], texts: set[str], notes: list[str], what: str = "recordings") -> None:
    """Note the ids that stand on one side only; they are not part of the set."""
    if silent := sorted(audio - texts):
        first = shown(silent[0])
        notes.append(f"{len(silent)} of {len(audio)} {what} have no transcript: left out (first: {first})")
    if unheard := sorted(texts - audio):
        first = shown(unheard[0])
        notes.append(f"{len(unheard)} of {len(texts)} transcripts have no audio here: left out (first: {first})")
