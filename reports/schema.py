"""What the project writes down: one frozen dataclass per kind of report, each with a schema version, to and from JSON.

Stdlib only: every other folder may import this one, and this one imports none. Fields are those of the command line's
`--json` contract; rendering (render.py) only shows what is stored here.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from reports.cer_schema import (
    Bin,
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
)  # fmt: skip
from reports.checking import build, read_json, shortened
from reports.parity_schema import (
    CifPathRow,
    CifPicture,
    DecisionRow,
    FaultRow,
    HeatMap,
    Introduced,
    InvarianceRow,
    ParityReport,
    SelftestReport,
    TapRow,
    UtteranceRow,
)  # fmt: skip
from reports.writing import write_text

__all__ = [
    "REPORTS", "BenchReport", "BenchRow", "BenchSide", "Bin", "CerDivision", "CerGroup", "CerReport", "CerUtterance",
    "CifPathRow", "CifPicture", "CompareReport", "CompareSide", "Confusion", "ConversionReport", "DecisionRow",
    "DifferingUtterance", "Failure", "FaultRow", "HeatMap", "Introduced", "InvarianceRow", "PairedGroup",
    "ParityReport", "SelftestReport", "TapRow", "TensorRow", "UtteranceRow", "from_dict", "read", "to_dict", "write",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRow:
    """The fate of one checkpoint tensor. `target` is None where it was dropped; `op` is the layout change's name."""

    source: str
    target: str | None
    op: str
    shape: list[int]
    dtype: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionReport:
    """What `inspect` found or `convert` did. `parameters` counts the checkpoint's elements, dropped ones included.

    `name` is the model's own, `source` what the user typed. `sha256` is of the source's files, `output_sha256` of the
    files written, but not of the card, which may be edited, nor of this document.
    """

    SCHEMA: ClassVar[str] = "conversion/1"
    family: str
    source: str
    output: str | None
    parameters: int
    converted_parameters: int
    tensors: list[TensorRow]
    sha256: dict[str, str]
    options: dict[str, Any]
    config: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    output_sha256: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """One side of one case. `ratio` = this project's median over the peer's in the same run (below 1: it is faster).

    The ratio stands on the peers' rows where there are several peers (`bench`), on this project's row where there
    is one (benchmarks/). `spread_s` holds the samples, or [low, high]. The fields after `peak_rss_mb` (of the
    side's process while the case ran) are those of `bench`: which stage, for how long a recording and how many at
    once, the median over the audio's duration and its inverse, the operations of one run in 1e9 (counted from the
    configuration), the share of the machine's rate of matrix products they amount to (on the side's kind of device, in
    its precision; None where that is not known), the share of the cores that other processes used, and the most memory
    in use on the side's GPU.
    """

    case: str
    side: str
    median_s: float
    ratio: float | None
    spread_s: list[float] = field(default_factory=list)
    peak_rss_mb: float | None = None
    stage: str = ""
    seconds: float | None = None
    batch: int | None = None
    rtf: float | None = None
    speed: float | None = None
    gflop: float | None = None
    matmul_fraction: float | None = None
    noise: float | None = None
    peak_device_mb: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSide:
    """What was measured, or why not: `absent` is None, or the reason.

    `tokens_compared` with this project's own, of which `tokens_different` were others. `disk_mb`: the files it loads.
    `device`: what it computed on.
    """

    name: str
    what: str
    precision: str
    versions: dict[str, str] = field(default_factory=dict)
    library: str = ""
    disk_mb: float | None = None
    absent: str | None = None
    tokens_compared: int = 0
    tokens_different: int = 0
    device: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """Timings of all sides, interleaved in one run on one machine.

    `verdict`: "fail" where token ids of two float32 sides differ, "pass" where they were compared, else "".
    `matmul_gflops`: the fastest matrix product of any side on this project's kind of device, in its precision.
    """

    SCHEMA: ClassVar[str] = "bench/1"
    rows: list[BenchRow]
    command: str
    verdict: str = ""
    machine: str = ""
    matmul_gflops: float | None = None
    sides: list[BenchSide] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    numerics: dict[str, Any] = field(default_factory=dict)


KINDS = (ConversionReport, ParityReport, SelftestReport, CerReport, CompareReport, BenchReport)
REPORTS: dict[str, type] = {cls.SCHEMA: cls for cls in KINDS}


def to_dict(report: Any) -> dict[str, Any]:
    """Return the report as plain JSON types, `schema` first; NaN and infinities become strings JSON can carry."""
    return {"schema": type(report).SCHEMA, **_plain(dataclasses.asdict(report))}


def from_dict(document: dict[str, Any]) -> Any:
    """Return the dataclass for a document written by `to_dict`.

    Raises:
        ValueError: the schema is missing or unknown, or a field is missing, surplus or not of its type.
    """
    schema = document.get("schema")
    if not isinstance(schema, str) or schema not in REPORTS:
        raise ValueError(
            f"not a report of this version: schema is {shortened(schema)}, expected one of {', '.join(sorted(REPORTS))}"
        )
    body = {key: value for key, value in document.items() if key != "schema"}
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
