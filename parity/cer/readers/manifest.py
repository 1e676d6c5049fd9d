"""Plain manifests: a table (.tsv, .csv) whose first line names its columns, or JSON lines (.jsonl). Stdlib only.

Tabs in a .tsv separate and nothing quotes, as Common Voice and most scripts write it; a .csv is read as RFC 4180 says.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlx_model.errors import DatasetError
from parity.cer.lists import csv_rows, quoted, read_json_lines, read_lines, shown
from parity.cer.readers.finishing import finish
from parity.cer.readers.jsonl import find as find_funasr
from parity.cer.readers.jsonl import first_object, listed
from parity.cer.readers.records import Columns, row_of
from parity.cer.readers.testset import Dataset, Options, Row, merge_rows

# meaning -> the names it may have; the first three are needed, the id as far as the files' own names do not serve.
NAMES: dict[str, tuple[str, ...]] = {
    "utt_id": ("id", "utt_id", "key"),
    "path": ("path", "audio", "audio_filepath", "wav", "source", "file_name"),
    "text": ("text", "transcript", "sentence", "target", "txt"),
    "speaker": ("speaker",),
    "condition": ("condition",),
    "start": ("start",),
    "end": ("end",),
    "duration": ("duration",),
}
_NEEDED = ("path", "text")


def find(path: Path) -> list[Path]:
    """Return the manifest that `path` is, or those in the folder whose columns can be told."""
    if path.suffix in (".tsv", ".csv") and listed(path, "*.tsv", "*.csv") == [path]:
        return [path]  # asked for by name: what is wrong with its header is for `read` to say
    return [file for file in listed(path, "*.tsv", "*.csv", "*.jsonl") if _is_ours(file)]


def _is_ours(path: Path) -> bool:
    if path.suffix == ".jsonl" and find_funasr(path):
        return False
    try:
        columns_of(_header(path), path.name)
    except DatasetError:
        return False
    return True


def _header(path: Path) -> list[str]:
    if path.suffix == ".jsonl":
        return list(first_object(path) or {})
    return next((fields for _, fields in _table(path)), [])


def read(path: Path, options: Options) -> Dataset:
    """Return the manifest; relative paths start at its own folder, columns of other names are passed over."""
    notes = list(options.notes)
    records = read_json_lines(path) if path.suffix == ".jsonl" else _records(path)
    rows: list[Row] = []
    shapes: dict[tuple[str, ...], Columns] = {}  # a JSON line may have columns that others lack
    for where, entry in records:
        shape = tuple(entry)
        columns = shapes[shape] if shape in shapes else columns_of(list(entry), where)
        if (columns.utt_id is None) != (next(iter(shapes.values()), columns).utt_id is None):
            raise DatasetError(f"{where}: some lines have an id and some have none; expected one of the two")
        shapes[shape] = columns
        rows.append(row_of(entry, columns, where, path.parent, options))
    if any(columns.utt_id is None for columns in shapes.values()):
        names = ", ".join(NAMES["utt_id"])
        notes.append(f"{shown(path.name)}: no id column ({names}): the audio files' names are the ids")
    return finish(
        f"{path.parent.name}/{path.name}",
        "manifest",
        merge_rows(rows, path.name, notes),
        notes,
        path,
        trusted=options.trusted,
    )


def columns_of(header: list[str], where: str) -> Columns:
    """Return which of these columns means what.

    Raises:
        DatasetError: a needed meaning has no column, or some meaning has two.
    """
    found: dict[str, str] = {}
    for meaning, names in NAMES.items():
        fitting = [column for column in header if column.strip().lower() in names]
        if len(fitting) > 1:
            both = " and ".join(quoted(column) for column in fitting)
            raise DatasetError(f"{where}: columns {both} both mean the {meaning}; rename all but one")
        if fitting:
            found[meaning] = fitting[0]
    missing = [meaning for meaning in _NEEDED if meaning not in found]
    if missing:
        expected = " and ".join(f"one of {', '.join(NAMES[meaning])}" for meaning in missing)
        raise DatasetError(
            f"{where}: no column for the {' and the '.join(missing)} among {quoted(header, 300)}; expected {expected}"
        )
    return Columns(**{"utt_id": None, **found})


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (`file:line`, row as a mapping) of every row under the header."""
    header: list[str] | None = None
    for number, fields in _table(path):
        where = f"{shown(path)}:{number}"
        if header is None:
            header = fields
            columns_of(header, where)
            continue
        if len(fields) != len(header):
            separator = "comma" if path.suffix == ".csv" else "tab"
            raise DatasetError(
                f"{where}: {len(fields)} columns, but the header has {len(header)}; is a {separator} missing, or "
                "one too many inside a text?"
            )
        yield where, dict(zip(header, fields, strict=True))


def _table(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of every row that is not blank, the header first."""
    if path.suffix != ".csv":
        for number, line in read_lines(path):
            yield number, line.split("\t")
        return
    yield from csv_rows(path)
