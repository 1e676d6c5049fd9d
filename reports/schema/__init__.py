"""What the project writes down: one frozen dataclass per kind of report, each with a schema version, to and from JSON.

Stdlib only: every other folder may import this one, and this one imports none. Fields are those of the command line's
`--json` contract; rendering (render.py) only shows what is stored here. One file a kind; every name is to be had here.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

from reports.checking import build, read_json, shortened
from reports.schema import parity_1
from reports.schema.bench import BenchReport, BenchRow, BenchSide
from reports.schema.cer import (
    Bin,
    Calibration,
    CalibrationBin,
    CerDivision,
    CerGroup,
    CerReport,
    CerUtterance,
    CompareReport,
    CompareSide,
    Confusion,
    DifferingUtterance,
    Failure,
    PairedGroup,
)
from reports.schema.conversion import ConversionReport, TensorRow
from reports.schema.meeting import MeetingReport, MeetingSentence, MeetingSpeaker, MeetingTurn
from reports.schema.parity import (
    PLAIN,
    DecisionRow,
    FaultRow,
    Introduced,
    InvarianceRow,
    Outcome,
    ParityReport,
    PathRow,
    SelftestReport,
    TapRow,
    UtteranceRow,
)
from reports.schema.pictures import FiringPicture, HeatMap, Pictures
from reports.writing import write_text

__all__ = [
    "PLAIN", "REPORTS", "BenchReport", "BenchRow", "BenchSide", "Bin", "Calibration", "CalibrationBin",
    "CerDivision", "CerGroup", "CerReport", "CerUtterance", "CompareReport", "CompareSide", "Confusion",
    "ConversionReport", "DecisionRow", "DifferingUtterance", "Failure", "FaultRow", "FiringPicture", "HeatMap",
    "Introduced", "InvarianceRow", "MeetingReport", "MeetingSentence", "MeetingSpeaker", "MeetingTurn",
    "Outcome", "PairedGroup", "ParityReport", "PathRow", "Pictures",
    "SelftestReport", "TapRow", "TensorRow", "UtteranceRow", "from_dict", "read", "to_dict", "write",
]  # fmt: skip


KINDS = (ConversionReport, ParityReport, SelftestReport, CerReport, CompareReport, BenchReport, MeetingReport)
REPORTS: dict[str, type] = {cls.SCHEMA: cls for cls in KINDS}
OLDER = {parity_1.ParityReport1.SCHEMA: (parity_1.ParityReport1, parity_1.upgrade)}  # versions that are still read


def to_dict(report: Any) -> dict[str, Any]:
    """Return the report as plain JSON types, `schema` first; NaN and infinities become strings JSON can carry.

    What scripts read that follows from other fields (a parity report's `cif` and `tokens`) is filled in.
    """
    document = {"schema": type(report).SCHEMA, **_plain(dataclasses.asdict(report))}
    return {**document, **report.derived()} if hasattr(report, "derived") else document


def from_dict(document: dict[str, Any]) -> Any:
    """Return the dataclass for a document written by `to_dict`, also by an older version of it (as one of this).

    What follows from other fields is not read: it is filled in again where the report is written.

    Raises:
        ValueError: the schema is missing or unknown, or a field is missing, surplus or not of its type.
    """
    schema = document.get("schema")
    if not isinstance(schema, str) or schema not in {**REPORTS, **OLDER}:
        raise ValueError(
            f"not a report of this version: schema is {shortened(schema)}, expected one of {', '.join(sorted(REPORTS))}"
        )
    body = {key: value for key, value in document.items() if key != "schema"}
    if schema in OLDER:
        cls, upgrade = OLDER[schema]
        return upgrade(build(cls, body, schema))
    for key in getattr(REPORTS[schema], "DERIVED", ()):
        body.pop(key, None)
    return build(REPORTS[schema], body, schema)


def write(report: Any, path: Path) -> Path:
    """Write the report as JSON under a temporary name, rename it when whole, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_text(path, json.dumps(to_dict(report), ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def read(path: Path) -> Any:
    """Return the report stored at `path`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or is none of ours; one line, with the path and the field.
    """
    document = read_json(path)
    if not isinstance(document, dict):
        raise ValueError(f"{path} is not a report: it holds a {type(document).__name__}")
    try:
        return from_dict(document)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return _text(str(value)) if isinstance(value, (str, Path)) else value


def _text(value: str) -> str:
    r"""Return a text that every encoder of UTF-8 takes: a byte of a name that is no text is written `\xff`.

    As mlx_model.files.names.written, which this folder does not know.
    """
    try:
        encoded = os.fsencode(value)
    except UnicodeEncodeError:  # half a surrogate pair, which is no file's name
        encoded = value.encode("utf-8", "backslashreplace")
    return encoded.decode("utf-8", "backslashreplace")
