"""Texts with named fields: JSON lines, a JSON document of results, tables with tabs or commas and a header.

Which field holds the text depends on what the file is for: a table may hold both sides. Stdlib only.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_model.errors import DatasetError
from parity.cer.lists import IdLine, check_characters, csv_rows, decoded_lines, parse_json, quoted, read_lines, shown
from parity.cer.readers.testset import check_id
from parity.cer.texts.head import Head, Role
from parity.sides.audio_files import AUDIO_SUFFIXES

# In the order in which they are looked for; two of one tier in a record are refused, for nobody can say which is meant.
_IDS = (
    ("utt_id", "utt", "uttid", "utterance_id", "utterance", "key", "id", "utt_name"),
    (
        "path", "audio", "audio_filepath", "audio_path", "audio_file", "wav", "wav_path", "wav_name", "file",
        "file_name", "filename", "filepath", "file_path", "source", "name",
    ),
)  # fmt: skip
_TEXTS = ("text", "txt", "sentence", "transcript", "transcription", "content", "target", "label")
_OWN: dict[Role, tuple[str, ...]] = {
    "reference": ("reference", "ref", "ref_text", "reference_text", "ground_truth", "groundtruth", "gt"),
    "hypothesis": (
        "hypothesis", "hyp", "hyp_text", "pred", "prediction", "pred_text", "predicted_text", "predicted",
        "asr", "asr_text", "result", "recognized", "recognition", "output",
    ),
}  # fmt: skip
_COMMAS = {",": "comma", ";": "semicolon", "|": "vertical bar"}


def plain_id(utt_id: str) -> str:
    """Return an id without the folder and the audio suffix that a file's name has: `wav/u1.wav` -> `u1`."""
    name = re.split(r"[/\\]", utt_id)[-1]
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and dot + suffix.lower() in AUDIO_SUFFIXES else name


def is_json(head: Head) -> bool:
    """Whether the file begins as JSON objects, or a list of some, do."""
    return re.match(r'\{\s*("|$)|\[\s*([{\]]|$)', head.lines[0].lstrip()) is not None


def read_json(path: Path, role: Role) -> Iterator[IdLine]:
    """Yield the texts of JSON lines, of a list of objects, of `{"results": [...]}` or of `{"ID": "text"}`.

    Raises:
        DatasetError: it is not JSON, is another document, or an object lacks its id or text.
    """
    number, first = next(read_lines(path))
    try:
        entry = parse_json(first, f"{shown(path)}:{number}")
    except DatasetError:
        entry = None  # one document over several lines
    if isinstance(entry, dict) and not _is_document(entry):
        yield from _from_records(path, _json_lines(path), role)
        return
    document = parse_json("\n".join(line for _, line in decoded_lines(path)), shown(path))
    yield from _from_records(path, enumerate(_records(document, path), start=1), role)


def _is_document(entry: Mapping[str, Any]) -> bool:
    tiers = (*_IDS, _TEXTS, *_OWN.values())
    known = {name for tier in tiers for name in tier} & {str(key).lower() for key in entry}
    return isinstance(entry.get("results"), list) or "schema" in entry or not known


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in read_lines(path):
        entry = parse_json(line, f"{shown(path)}:{number}")
        if not isinstance(entry, dict):
            raise DatasetError(f"{shown(path)}:{number}: holds a {type(entry).__name__}; expected an object")
        yield number, entry


def _records(document: Any, path: Path) -> list[Mapping[str, Any]]:
    """Return the records of a document as a whole."""
    found = document.get("results", document) if isinstance(document, dict) else document
    if isinstance(found, dict) and found and "schema" not in found and all(isinstance(v, str) for v in found.values()):
        return [{"utt_id": utt_id, "text": text} for utt_id, text in found.items()]
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        schema = document.get("schema") if isinstance(document, dict) else None
        what = "JSON" if schema is None else f"a document {quoted(schema)}"
        raise DatasetError(
            f"{shown(path)}: {what} without texts; expected objects with an id and a text, one a line, as a list or in "
            '`{"results": [...]}`'
        )
    if not found:
        raise DatasetError(f"{shown(path)}: holds no line; expected objects with an id and a text")
    return found


def _from_records(path: Path, records: Iterable[tuple[int, Mapping[str, Any]]], role: Role) -> Iterator[IdLine]:
    columns: tuple[str, str] | None = None
    for number, record in records:
        where = f"{shown(path)}:{number}"
        if columns is None or not set(columns) <= record.keys():
            columns = _columns(list(record), where, role)
        utt_id, text = record[columns[0]], record[columns[1]]
        if text is None or (record.get("error") and not text):
            if role == "hypothesis":
                continue  # nothing was recognised: missing, which is counted
            raise DatasetError(f"{where}: {columns[1]!r} is null; expected the text of the reference")
        if not isinstance(text, str) or isinstance(utt_id, bool) or not isinstance(utt_id, (str, int)):
            name, value = (columns[1], text) if not isinstance(text, str) else (columns[0], utt_id)
            raise DatasetError(f"{where}: {name!r} is {quoted(value)}; expected a string")
        name = plain_id(str(utt_id)) if columns[0].strip().lower() in _IDS[1] else str(utt_id).strip()
        check_characters(text, where)
        yield IdLine(path=path, number=number, utt_id=check_id(name, where, columns[0]), rest=text.strip())


def _columns(header: Sequence[str], where: str, role: Role) -> tuple[str, str]:
    """Return the names of the id and of the text.

    Raises:
        DatasetError: there is none, or several that may be meant.
    """
    found = [_first(header, tiers, where) for tiers in (_IDS, (_OWN[role], _TEXTS))]
    for column, what in zip(found, ("id", f"text of the {role}"), strict=True):
        if column is None:
            names = _IDS[0][:3] + _IDS[1][:3] if what == "id" else _OWN[role][:2] + _TEXTS[:2]
            raise DatasetError(
                f"{where}: no field for the {what} among {quoted(list(header), 300)}; expected one of "
                f"{', '.join(names)}, ..."
            )
    return found[0] or "", found[1] or ""


def _first(header: Sequence[str], tiers: Sequence[Sequence[str]], where: str) -> str | None:
    for tier in tiers:
        fitting = [name for name in header if name.strip().lower() in tier]
        if len(fitting) > 1:
            both = " and ".join(quoted(name) for name in fitting)
            raise DatasetError(f"{where}: the fields {both} may both be meant; leave one of them")
        if fitting:
            return fitting[0]
    return None


def is_tsv(head: Head) -> bool:
    """Whether the first line names columns, or every line has as many of them, the id alone in the first."""
    if "\t" not in head.lines[0]:
        return False
    if _names_columns(head.lines[0].split("\t")):
        return True
    counts = {line.count("\t") for line in head.lines}
    # `id<TAB>text` is what Kaldi's reader takes too, unless an id holds a blank; words between tabs vary in number.
    blank = any(" " in line.partition("\t")[0].strip() for line in head.lines)
    return (counts == {1} and blank) or (len(counts) == 1 and min(counts) > 1)


def _names_columns(header: Sequence[str]) -> bool:
    names = {name.strip().lower() for name in header}
    ids = {name for tier in _IDS for name in tier}
    texts = {*_TEXTS, *_OWN["reference"], *_OWN["hypothesis"]}
    return len(header) > 1 and bool(names & ids) and bool(names & texts)


def read_tsv(path: Path, role: Role) -> Iterator[IdLine]:
    """Yield the texts of a table with tabs, of which none is quoted."""
    rows = ((number, line.split("\t")) for number, line in read_lines(path))
    return _table(path, rows, role, "tab")


def is_csv(head: Head) -> bool:
    """Whether the first line names columns, or every line's first word runs into the text without a blank."""
    return _separator(head) is not None


def _separator(head: Head) -> str | None:
    for separator in _COMMAS:
        if _names_columns(head.lines[0].split(separator)):
            return separator
        heads = [re.split(r"\s", line, maxsplit=1)[0] for line in head.lines]
        if all(separator in word.strip(separator) or word.endswith(separator) for word in heads):
            return separator
    return None


def read_csv(path: Path, role: Role) -> Iterator[IdLine]:
    """Yield the texts of a table with commas, semicolons or vertical bars, quoted as RFC 4180 says."""
    separator = _separator(Head.of(path)) or ","
    return _table(path, csv_rows(path, separator), role, _COMMAS[separator])


def _table(path: Path, rows: Iterator[tuple[int, list[str]]], role: Role, separator: str) -> Iterator[IdLine]:
    at, first = next(rows)
    named = _names_columns(first)
    header = first if named else ["path", "text"]  # an id that stands for itself passes for a path, too
    if not named and len(first) != 2:
        raise DatasetError(
            f"{shown(path)}:{at}: {len(first)} columns without names, separated by a {separator}; expected an id "
            "and a text, or a first line that names them (id, text, ...)"
        )

    def records() -> Iterator[tuple[int, dict[str, Any]]]:
        for number, fields in rows if named else itertools.chain([(at, first)], rows):
            if len(fields) != len(header):
                raise DatasetError(
                    f"{shown(path)}:{number}: {len(fields)} columns, but the first line has {len(header)}; is a "
                    f"{separator} missing, or one too many inside a text?"
                )
            yield number, dict(zip(header, fields, strict=True))

    return _from_records(path, records(), role)
