"""WeNet's data.list: "raw" (a JSON object a line, with key, wav, txt) or "shard" (the path of a tar a line).

Stdlib only. A shard holds KEY.txt beside KEY.wav (or .flac, .mp3, ...); the audio stays in the tar until it is needed.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import BinaryIO

from mlx_model.errors import DatasetError
from parity.cer.lists import check_characters, quoted, read_json_lines, read_lines, shown
from parity.cer.readers.finishing import finish
from parity.cer.readers.jsonl import first_object, listed
from parity.cer.readers.places import audio_path, located
from parity.cer.readers.records import Columns, row_of
from parity.cer.readers.tar import Member, members
from parity.cer.readers.testset import Dataset, Options, Row, Utterance, check_id, count_unpaired, merge_rows
from parity.sides.audio_files import AUDIO_SUFFIXES

COLUMNS = Columns(utt_id="key", path="wav", text="txt", start="start", end="end")
MAX_TEXT_BYTES = 4 << 20  # a transcript; more is something else that is called .txt


def find(path: Path) -> list[Path]:
    """Return the data.list that `path` is or holds, and other *.list and *.jsonl whose first line is WeNet's."""
    return [file for file in listed(path, "*.list", "*.jsonl") if file.name == "data.list" or _is_ours(file)]


def _is_ours(path: Path) -> bool:
    first = first_object(path)
    return (first is not None and "wav" in first and "txt" in first) or (path.suffix == ".list" and _is_shards(path))


def _is_shards(path: Path) -> bool:
    """Whether the first line is the path of an archive."""
    try:
        _, line = next(read_lines(path), (0, ""))
    except DatasetError:
        return False
    return line.strip().endswith((".tar", ".tar.gz", ".tgz"))


def read(path: Path, options: Options) -> Dataset:
    """Return the list, whichever of the two forms its first line has; relative paths start at its own folder."""
    notes = list(options.notes)
    _, first = next(read_lines(path), (0, ""))
    if first.lstrip().startswith("{"):
        rows = (row_of(entry, COLUMNS, where, path.parent, options) for where, entry in read_json_lines(path))
        utterances = merge_rows(rows, path.name, notes)
    else:
        utterances = _read_shards(path, options, notes)
    return finish(f"{path.parent.name}/{path.name}", "wenet", utterances, notes, path, trusted=options.trusted)


def _read_shards(path: Path, options: Options, notes: list[str]) -> list[Utterance]:
    rows: list[Row] = []
    absent: list[str] = []
    listed_once: dict[Path, None] = {}
    for number, line in read_lines(path):
        where, value = f"{shown(path)}:{number}", line.strip()
        if value.startswith("{") or "://" in value or "|" in value:
            raise DatasetError(f"{where}: {quoted(value)}; expected the path of a tar, as in the lines before")
        shard = audio_path(value, path.parent, where, trusted=options.trusted)
        shard = located(shard, path.parent) if options.trusted else shard
        if not os.path.isfile(shard):
            absent.append(value)
        listed_once[shard] = None
    if absent:
        # Which utterances they held is not known, so these cannot count as deletions, and without them the rate lies.
        raise DatasetError(
            f"{shown(path)}: {len(absent)} of {len(listed_once)} shards do not exist (first: {quoted(absent[0])}); "
            "expected all of them"
        )
    for shard in listed_once:
        rows += _read_shard(shard, notes)
    return merge_rows(rows, path.name, notes)


def _read_shard(shard: Path, notes: list[str]) -> list[Row]:
    audio: dict[str, str] = {}
    texts: dict[str, str] = {}
    others: Counter[str] = Counter()
    with open(shard, "rb") as file:
        for member in members(shard):
            key, suffix = os.path.splitext(member.name.removeprefix("./"))
            where = f"{shown(shard)}: member {quoted(member.name)}"
            table = texts if suffix == ".txt" else audio if suffix.lower() in AUDIO_SUFFIXES else None
            if table is None:
                others[suffix] += 1
                continue
            check_id(key, where, "its key is")
            value = _text(file, member, where) if table is texts else member.name
            if table.setdefault(key, value) != value:
                raise DatasetError(f"{where}: key {quoted(key)} stands before; expected one text and one recording")
    if others:
        found = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in sorted(others.items()))
        notes.append(f"{shown(shard.name)}: members that are neither .txt nor audio: {found}; left out")
    found = [Utterance(utt_id=key, path=shard, text=texts[key], member=audio[key]) for key in audio if key in texts]
    unpaired: list[str] = []
    count_unpaired(set(audio), set(texts), unpaired)
    notes += [f"{shown(shard.name)}: {note}" for note in unpaired]
    return [Row(where=f"{shown(shard)}: member {quoted(item.member)}", utterance=item) for item in found]


def _text(file: BinaryIO, member: Member, where: str) -> str:
    if member.size > MAX_TEXT_BYTES:
        raise DatasetError(f"{where}: {member.size} bytes; expected a transcript")
    file.seek(member.offset)
    content = file.read(member.size)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{where}: not UTF-8 (byte 0x{content[error.start]:02x}); make the shards again") from error
    return check_characters(text.strip(), where)
