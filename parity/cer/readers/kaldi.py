"""Kaldi data directories: wav.scp and text, with segments, utt2spk and utt2dur where they are there.

Stdlib only. A wav.scp may hold commands (`sph2pipe x.sph |`): they are refused unless asked for, and never run when
the list is read.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from mlx_model.errors import DatasetError
from parity.cer.lists import IdLine, merge_repeated, quoted, read_id_lines, shown
from parity.cer.readers.finishing import finish
from parity.cer.readers.places import audio_path
from parity.cer.readers.testset import Dataset, Options, Utterance, check_order, checked_seconds, count_unpaired


def find(path: Path) -> list[Path]:
    """Return the wav.scp that `path` is or holds; a trans.txt in place of text is AISHELL-2's."""
    file = path if os.path.isfile(path) and path.name == "wav.scp" else path / "wav.scp"
    aishell2 = os.path.isfile(file.parent / "trans.txt") and not os.path.isfile(file.parent / "text")
    return [file] if os.path.isfile(file) and not aishell2 else []


def read(path: Path, options: Options) -> Dataset:
    """Return the directory of this wav.scp; with a segments file its utterances are parts of the recordings."""
    folder, notes = path.parent, list(options.notes)
    if not os.path.isfile(folder / "text"):
        raise DatasetError(f"{shown(folder)}: wav.scp without text; a Kaldi data directory needs both to be scored")
    sources = merge_repeated(read_id_lines(path), notes)
    audio = {recording: scp_audio(line, folder, options) for recording, line in sources.items()}
    parts = _segments(folder / "segments", set(audio), notes)
    texts = merge_repeated(read_id_lines(folder / "text"), notes)
    listed = dict.fromkeys(sources, _WHOLE) if parts is None else parts
    speakers = _column(folder / "utt2spk", "speaker", listed, notes)
    durations = _column(folder / "utt2dur", "duration", listed, notes)
    utterances = []
    for utt_id, part in listed.items():
        if utt_id not in texts:
            continue
        file, command = audio[part[0] or utt_id]
        speaker, duration = speakers.get(utt_id), durations.get(utt_id)
        utterances.append(
            Utterance(
                utt_id=utt_id,
                path=file,
                text=texts[utt_id].rest,
                speaker=speaker.rest.strip() if speaker else None,
                start_s=part[1],
                end_s=part[2],
                channel=part[3],
                command=command,
                duration_s=checked_seconds(duration.rest, duration.where, "the duration") if duration else None,
            )
        )
    count_unpaired(set(listed), set(texts), notes, "recordings" if parts is None else "segments")
    return finish(folder.name, "kaldi", utterances, notes, folder, trusted=options.trusted)


_Part = tuple[str | None, float | None, float | None, int | None]  # recording, start, end, channel
_WHOLE: _Part = (None, None, None, None)


def _segments(path: Path, recordings: set[str], notes: list[str]) -> dict[str, _Part] | None:
    """Return the parts by utterance; those of recordings that wav.scp lacks are counted and left out."""
    if not os.path.lexists(path):
        return None
    if not os.path.isfile(path):
        raise DatasetError(f"{shown(path)}: is no file; expected `utterance recording start end` lines")
    lines = merge_repeated(read_id_lines(path), notes)
    parts = {utt_id: _segment(line) for utt_id, line in lines.items()}
    lost = sorted(utt_id for utt_id, part in parts.items() if part[0] not in recordings)
    if lost:
        what = f"{len(lost)} of {len(parts)} segments are of recordings that wav.scp lacks"
        notes.append(f"{what}: left out (first: {shown(lost[0])})")
    if unused := sorted(recordings - {part[0] or "" for part in parts.values()}):
        what = f"{len(unused)} of {len(recordings)} recordings have no segment"
        notes.append(f"{what}: left out (first: {shown(unused[0])})")
    return {utt_id: part for utt_id, part in parts.items() if part[0] in recordings}


def _segment(line: IdLine) -> _Part:
    values = line.rest.split()
    if len(values) not in (3, 4):
        raise DatasetError(
            f"{line.where}: {len(values) + 1} columns; expected `utterance recording start end`, in seconds"
        )
    start_s = checked_seconds(values[1], line.where, "the start")
    # -1 is Kaldi's "to the end of the recording".
    end_s = None if re.fullmatch(r"-1(\.0*)?", values[2]) else checked_seconds(values[2], line.where, "the end")
    check_order(start_s, end_s, line.where)
    channel = values[3] if len(values) == 4 else None
    if channel is not None and not re.fullmatch(r"[0-9]{1,3}", channel):
        raise DatasetError(f"{line.where}: channel {quoted(channel)}; expected 0, 1, ...")
    return values[0], start_s, end_s, None if channel is None else int(channel)


def _column(path: Path, what: str, listed: dict[str, _Part], notes: list[str]) -> dict[str, IdLine]:
    if not os.path.isfile(path):
        return {}
    lines = merge_repeated(read_id_lines(path), notes)
    values = {utt_id: line for utt_id, line in lines.items() if line.rest.strip()}
    without = sum(utt_id not in values for utt_id in listed)
    if without:
        notes.append(f"{path.name}: {without} of {len(listed)} utterances have no {what} there")
    return values


def scp_audio(line: IdLine, folder: Path, options: Options) -> tuple[Path, str | None]:
    """Return (the file, None) of a wav.scp line, or (the wav.scp itself, the command) where that was allowed.

    Raises:
        DatasetError: no path, a path that `audio_path` refuses, a command, or a place inside a Kaldi archive.
    """
    value = line.rest.strip()
    if not value:
        raise DatasetError(f"{line.where}: id {quoted(line.utt_id)} without a path; expected `ID path`")
    if "|" in value:
        return line.path, _command(value, line.where, options)
    if re.search(r"\.ark:\d+$", value):
        raise DatasetError(
            f"{line.where}: {quoted(value)} points into a Kaldi archive; expected the path of an audio file"
        )
    return audio_path(value, folder, line.where, trusted=options.trusted), None


def _command(value: str, where: str, options: Options) -> str:
    if not options.trusted:
        raise DatasetError(f"{where}: {quoted(value)} is a command; those of a downloaded list are never run")
    if not options.allow_pipes:
        raise DatasetError(
            f"{where}: {quoted(value)} is a command (it holds a pipe `|`), and commands from lists are not run unless "
            "asked for (--allow-pipes); or write the audio to files and list their paths"
        )
    command = value.removesuffix("|").strip()
    if command == value or not command or "\0" in command:
        raise DatasetError(f"{where}: {quoted(value)} is no command to read from; expected `COMMAND |`")
    return command
