"""WenetSpeech.json: `audios`, each with `segments` of sid, begin_time, end_time, text and subsets. Stdlib only.

The file of the whole corpus is larger than many memories, so it is read one audio at a time, and one subset is chosen:
`WenetSpeech.json#TEST_NET`. Its paths are relative to it and never leave its folder.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from mlx_model.errors import DatasetError
from parity.cer.lists import check_characters, quoted, shown
from parity.cer.readers.finishing import finish
from parity.cer.readers.places import audio_path
from parity.cer.readers.testset import (
    Dataset,
    Options,
    Row,
    Utterance,
    check_id,
    check_order,
    checked_seconds,
    merge_rows,
)

_CHUNK = 4 << 20  # characters
_HEADER = 64 << 20  # characters before the audios; more is another file
_LONGEST_WORD = 16  # of JSON that an end of text can cut: -Infinity, an escape
_DECODER = json.JSONDecoder()
_AUDIOS = re.compile(r'"audios"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")


def find(path: Path) -> list[Path]:
    """Return the file that `path` is, or the WenetSpeech.json in the folder."""
    file = path if path.suffix == ".json" and os.path.isfile(path) else path / "WenetSpeech.json"
    return [file] if os.path.isfile(file) else []


def read(path: Path, options: Options) -> Dataset:
    """Return one subset, which is also the `condition`; without a choice the file must hold only one.

    Raises:
        DatasetError: not such a file, or no subset of that name, or several and none chosen.
    """
    subset, notes = options.part, list(options.notes)
    seen: dict[str, None] = {}
    rows: list[Row] = []
    for number, audio in enumerate(_audios(path)):
        where = f"{shown(path)}: audios[{number}]"
        file = audio_path(_field(audio, "path", str, where), path.parent, where, trusted=False)
        for index, segment in enumerate(_field(audio, "segments", list, where)):
            place = f"{where}.segments[{index}]"
            subsets = _subsets(segment, place)
            seen.update(dict.fromkeys(subsets))
            if subset is None and len(seen) > 1:
                raise DatasetError(
                    f"{shown(path)}: holds several subsets ({', '.join(seen)}, ...); choose one, "
                    f"for example {shown(path.name)}#TEST_NET"
                )
            if subsets and (subset is None or subset in subsets):
                rows.append(_row(segment, file, subset or subsets[0], place))
    if subset is not None and subset not in seen:
        raise DatasetError(f"{shown(path)}: no subset {quoted(subset)}; there are: {', '.join(seen) or 'none'}")
    name = f"{path.parent.name}/{path.name}" + (f"#{subset}" if subset else "")
    return finish(name, "wenetspeech", merge_rows(rows, path.name, notes), notes, path, trusted=options.trusted)


def _subsets(segment: Any, where: str) -> list[str]:
    values = _field(segment, "subsets", list, where)
    if not all(isinstance(value, str) for value in values):
        raise DatasetError(f"{where}: subsets are {quoted(values)}; expected names")
    return [check_characters(value, where) for value in values]


def _row(segment: Any, file: Path, subset: str, where: str) -> Row:
    start_s, end_s = (checked_seconds(segment.get(name), where, name) for name in ("begin_time", "end_time"))
    check_order(start_s, end_s, where)
    utterance = Utterance(
        utt_id=check_id(_field(segment, "sid", str, where), where, "sid"),
        path=file,
        text=_field(segment, "text", str, where),
        condition=subset,
        start_s=start_s,
        end_s=end_s,
    )
    return Row(where=where, utterance=utterance)


def _field(entry: Any, name: str, kind: type, where: str) -> Any:
    value = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(value, kind):
        found = f"is {quoted(value)}" if isinstance(entry, dict) and name in entry else "is missing"
        raise DatasetError(f"{where}: {name!r} {found}; expected a {kind.__name__}")
    return check_characters(value, where) if isinstance(value, str) else value


def _audios(path: Path) -> Iterator[Any]:
    """Yield the members of the array `audios`, without ever holding more than one and what was read ahead."""
    try:
        with open(path, encoding="utf-8-sig", newline="\n") as file:
            text = _Text(path, file)
            text.skip_to(_AUDIOS)
            while True:
                text.skip(_BETWEEN)
                if text.ahead.startswith("]", text.at):
                    return
                yield text.value()
    except OSError as error:
        raise DatasetError(f"{shown(path)}: cannot be read: {error.strerror}") from error


class _Text:
    """A text file read ahead as far as needed: `ahead[at:]` is what has not been used yet."""

    def __init__(self, path: Path, file: TextIO):
        self.path, self.file = path, file
        self.ahead, self.at, self.line = "", 0, 1

    def value(self) -> Any:
        """Return the JSON value that begins here, and pass over it."""
        while True:
            try:
                value, self.at = _DECODER.raw_decode(self.ahead, self.at)
                return value
            except json.JSONDecodeError as error:
                # Only what the end of the text read so far may have caused is worth reading on for.
                cut = error.msg.startswith("Unterminated") or error.pos > len(self.ahead) - _LONGEST_WORD
                if not cut or not self.more():
                    raise DatasetError(f"{self.where(error.pos)}: not JSON ({error.msg})") from error
            except (ValueError, RecursionError) as error:
                reason = "nested too deeply" if isinstance(error, RecursionError) else "a number is too long"
                raise DatasetError(f"{self.where(self.at)}: not usable JSON ({reason})") from error

    def more(self) -> bool:
        """Read as much again as is waiting, so that a long value is not tried a thousand times; False at the end."""
        waiting = len(self.ahead) - self.at
        try:
            chunk = self.file.read(max(_CHUNK, waiting))
        except UnicodeDecodeError as error:
            raise DatasetError(f"{self.where(len(self.ahead))}: not UTF-8 at or soon after this line") from error
        if not chunk:
            return False
        self.line += self.ahead.count("\n", 0, self.at)
        self.ahead, self.at = self.ahead[self.at :] + chunk, 0
        return True

    def where(self, position: int) -> str:
        return f"{shown(self.path)}:{self.line + self.ahead.count(chr(10), 0, position)}"

    def skip(self, pattern: re.Pattern[str]) -> None:
        """Pass over what the pattern matches here; what is left is not empty."""
        while True:
            match = pattern.match(self.ahead, self.at)
            self.at = match.end() if match else self.at
            if self.at < len(self.ahead):
                return
            if not self.more():
                raise DatasetError(f'{self.where(self.at)}: ends inside "audios"; it was cut short')

    def skip_to(self, pattern: re.Pattern[str]) -> None:
        """Pass over everything up to the end of the pattern's first match."""
        while (match := pattern.search(self.ahead, self.at)) is None:
            if len(self.ahead) > _HEADER or not self.more():
                raise DatasetError(f'{shown(self.path)}: no "audios"; expected WenetSpeech.json')
        self.at = match.end()
