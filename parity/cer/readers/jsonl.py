"""FunASR's training and evaluation list: one JSON object a line, with key, source and target. Stdlib only.

`source_len` is not read: it counts frames of a front end that the list does not name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mlx_model.errors import DatasetError
from parity.cer.lists import parse_json, read_json_lines, read_lines
from parity.cer.readers.finishing import finish
from parity.cer.readers.records import Columns, row_of
from parity.cer.readers.testset import Dataset, Options, merge_rows

COLUMNS = Columns(utt_id="key", path="source", text="target")


def find(path: Path) -> list[Path]:
    """Return the *.jsonl that `path` is or holds, as far as their first lines are FunASR's or cannot be told."""
    return [file for file in listed(path, "*.jsonl") if _is_ours(first_object(file))]


def _is_ours(first: dict[str, Any] | None) -> bool:
    return first is None or ("key" in first and ("source" in first or "target" in first))


def listed(path: Path, *patterns: str) -> list[Path]:
    """Return the files that match a pattern: `path` itself, or those in the folder, sorted."""
    if os.path.isfile(path):
        return [path] if any(path.match(pattern) for pattern in patterns) else []
    found = (file for pattern in patterns for file in path.glob(pattern))
    return sorted(file for file in found if not file.name.startswith(".") and os.path.isfile(file))


def first_object(path: Path) -> dict[str, Any] | None:
    """Return what the first line that is not blank holds; None where it cannot be read as an object."""
    try:
        number, line = next(read_lines(path), (0, ""))
        entry = parse_json(line, f"{path}:{number}")
    except DatasetError:
        return None
    return entry if isinstance(entry, dict) else None


def read(path: Path, options: Options) -> Dataset:
    """Return the list; relative sources start at the list's own folder."""
    notes = list(options.notes)
    rows = (row_of(entry, COLUMNS, where, path.parent, options) for where, entry in read_json_lines(path))
    return finish(
        f"{path.parent.name}/{path.name}",
        "jsonl",
        merge_rows(rows, path.name, notes),
        notes,
        path,
        trusted=options.trusted,
    )
