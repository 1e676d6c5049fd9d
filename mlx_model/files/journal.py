"""What a run has recognised so far, on disk: append-only, so that a run killed at any moment goes on where it was.

`journal.jsonl` holds one JSON object a line: first the run's key, then one answer per utterance (`cer`) or segment
(`transcribe --out`), a batch at a time, with fsync after each. Texts are as recognised, not normalised: a normaliser is
not part of the key. Stdlib only.

A kill can tear the last line only; it is cut off when the journal is opened again, and its utterance runs again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from mlx_model.errors import OutputError, UsageError

NAME = "journal.jsonl"
SCHEMA = "cer-journal/1"


class Journal:
    """The journal of one run, open for appending; a context manager that holds its lock.

    `key` is what the answers depend on (model, data, options): a journal with another one is not continued.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any], schema: str = SCHEMA):
        self.path, self.key, self.schema = folder / NAME, dict(key), schema
        self._places: dict[str, int] = {}  # where each utterance's line begins
        self._file: BinaryIO | None = None

    def __enter__(self) -> Journal:
        """Open it, made where there is none.

        Raises:
            OutputError: another process writes it, or it is damaged before its last line.
            UsageError: it is of another model, data set or option.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "a+b")
        try:
            self._lock()
            self._read()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, utt_id: str) -> bool:
        return utt_id in self._places

    def append(self, answers: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Write (utt_id, answer) pairs, all or (after a kill) the first of them; on disk when this returns.

        Raises:
            ValueError: an utterance has an answer already, which would count it twice.
            OutputError: the disk is full; the journal ends with the last whole line.
        """
        repeated = [utt_id for utt_id, _ in answers if utt_id in self._places]
        if repeated or len({utt_id for utt_id, _ in answers}) < len(answers):
            raise ValueError(f"{self.path}: {repeated[:1] or 'an utterance'} answered twice")
        lines = [_line({"utt_id": utt_id, **answer}) for utt_id, answer in answers]
        place = self._write(b"".join(lines))
        for (utt_id, _), line in zip(answers, lines, strict=True):
            self._places[utt_id] = place
            place += len(line)

    def answers(self, utt_ids: Iterator[str] | Sequence[str]) -> Iterator[dict[str, Any] | None]:
        """Yield the answer of each utterance in the order asked for, None where it has none yet."""
        with open(self.path, "rb") as file:
            for utt_id in utt_ids:
                place = self._places.get(utt_id)
                if place is None:
                    yield None
                    continue
                file.seek(place)
                yield json.loads(file.readline())

    def _opened(self) -> BinaryIO:
        if self._file is None:
            raise RuntimeError("the journal is used outside its `with` block")
        return self._file

    def _lock(self) -> None:
        try:
            fcntl.flock(self._opened(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(f"{self.path}: another run writes it; wait, or choose another --out") from error

    def _write(self, data: bytes) -> int:
        """Append the bytes and return where they begin."""
        file = self._opened()
        place = file.seek(0, os.SEEK_END)
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            os.ftruncate(file.fileno(), place)
            raise OutputError(f"{self.path}: {error.strerror}; make room and give the same command again") from error
        return place

    def _read(self) -> None:
        """Note where every answer stands, and cut off a torn last line; a new journal gets its first one."""
        file = self._opened()
        file.seek(0)
        place = 0
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                os.ftruncate(file.fileno(), place)
                break
            self._note(line, place, number)
            place += len(line)
        if place == 0:
            self._write(_line({"schema": self.schema, "key": self.key}))

    def _note(self, line: bytes, place: int, number: int) -> None:
        try:
            entry = json.loads(line)
            if number == 1:
                self._same_key(entry)
                return
            utt_id = entry["utt_id"]
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{self.path}:{number}: damaged ({error}); start again with --overwrite") from error
        if utt_id in self._places:
            raise OutputError(f"{self.path}:{number}: {utt_id!r} stands there twice; start again with --overwrite")
        self._places[utt_id] = place

    def _same_key(self, entry: Mapping[str, Any]) -> None:
        if entry["schema"] != self.schema:
            raise OutputError(
                f"{self.path}: {entry['schema']!r}, expected {self.schema!r}; start again with --overwrite"
            )
        found = entry["key"]
        changed = [name for name in {**found, **self.key} if found.get(name) != self.key.get(name)]
        if changed:
            there, now = (str(side.get(changed[0]))[:16] for side in (found, self.key))
            raise UsageError(
                f"{self.path.parent} holds a run with another {', '.join(changed)} (there {there}, now {now}); "
                "choose another --out, or start again with --overwrite"
            )


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, ensure_ascii=True).encode() + b"\n"
