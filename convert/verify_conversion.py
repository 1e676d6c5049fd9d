"""`verify`: a conversion checked again, here or on a hub: its files against what conversion.json says, and the source.

Three questions, each answered by itself: are the files those that were written (sha256); is the source at hand the one
that was converted (sha256); does every stored tensor give the source's bits when its layout change is undone, or, where
it is quantised, its values within what rounding explains. Never torch; MLX where a model is laid out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from convert import hub, output
from convert.dtypes import cast
from convert.packing import packings_of
from convert.planning import Plan, hashes, make_plan
from convert.quantize import inexact
from convert.sources import resolve
from convert.verify import Written, differences
from mlx_model.errors import MlxFunasrError, UsageError
from reports import schema
from reports.environment import file_sha256
from reports.schema import ConversionReport

SHOWN = 5  # differences named of each kind
PASS, FAIL, SKIPPED = "pass", "fail", "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question and its answer: "pass", "fail" or "skipped"; `differs` names what is not as it should be."""

    name: str
    status: str
    detail: str
    differs: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """All answers about one conversion. `verdict` is "fail" where any of them is."""

    model: str
    source: str | None
    checks: list[Check]

    @property
    def verdict(self) -> str:
        """Whether nothing differs: "pass", else "fail"."""
        return FAIL if any(check.status == FAIL for check in self.checks) else PASS


def verify_conversion(
    model: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str] | None = None,
    revision: str | None = None,
) -> Verification:
    """Return whether a conversion is what its conversion.json says, and what its source says.

    Args:
        model: a converted directory, or a repository: ORG/NAME on Hugging Face, `ms:ORG/NAME` on ModelScope.
        source: what it was converted from, as `convert` takes it. By default the path that a local conversion
            remembers, if it is still there; a path in a repository was somebody else's and is never followed.
        revision: of a repository.

    Raises:
        UsageError: MODEL is no conversion of ours, or the given source cannot be read as a source.
    """
    folder, fetched = _folder(os.fspath(model), revision)
    report = read_conversion(folder)
    checks = [_check_files(folder, report), _check_config(folder, report)]
    place = os.fspath(source) if source is not None else _remembered(report, fetched)
    which = {key: report.options[key] for key in ("checkpoint", "base") if report.options.get(key)}
    try:
        plan = None if place is None else make_plan(resolve(place, **which), report.config["dtype"])
        why = "not at hand; name it with --source SRC to compare with it"
    except MlxFunasrError as error:
        if source is not None:
            raise
        plan, why = None, f"{place} is no longer what was converted ({error}); name it with --source SRC"
    if plan is None:
        checks.append(Check(name="source", status=SKIPPED, detail=why))
    else:
        checks += _check_source(folder, report, plan)
    return Verification(model=os.fspath(model), source=None if plan is None else place, checks=checks)


def read_conversion(folder: Path) -> ConversionReport:
    """Return what a conversion says about itself.

    Raises:
        UsageError: it is no conversion, or its conversion.json is damaged.
    """
    if not os.path.isdir(folder):  # Path.is_dir raises for a name too long to be one
        raise UsageError(f"{folder} is no directory; expected a conversion that `mlx-funasr convert` wrote")
    if not output.is_conversion(folder):
        raise UsageError(f"{folder} is no conversion of ours (no {output.MARKER}); make one with `mlx-funasr convert`")
    try:
        report = schema.read(folder / output.MARKER)
    except ValueError as error:  # reports knows no other folder, so no exception of ours
        raise UsageError(str(error)) from error
    for name in report.output_sha256:
        if not name or name in (".", "..") or Path(name).name != name or "\\" in name or "\0" in name:
            raise UsageError(f"{folder / output.MARKER}: {name!r} is not the name of a file beside it")
    return report


def wrong_files(folder: Path, report: ConversionReport) -> list[str]:
    """Return what is not as it was written: files missing, changed, or beside them and loaded with them."""
    wrong = []
    for name, expected in report.output_sha256.items():
        path = folder / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif (found := file_sha256(path)) != expected:
            wrong.append(f"{name} has sha256 {found[:12]}..., written was {expected[:12]}...")
    known = report.output_sha256
    return wrong + [f"{path.name} was not there" for path in _weights(folder) if path.name not in known]


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _folder(model: str, revision: str | None) -> tuple[Path, bool]:
    """Return the directory of a conversion, fetched where it is a repository, and whether it was."""
    path = Path(os.path.expanduser(model))
    if os.path.lexists(path) or (revision is None and model.startswith((".", "/", "~"))):
        if revision is not None:
            raise UsageError(f"{model} is a local path; a revision ({revision!r}) belongs to a repository")
        return path, False
    reference = hub.parse(model if model.startswith(("hf:", "ms:")) else f"hf:{model}", revision)
    if reference is None:
        raise UsageError(f"{model}: no such directory, and not a repository (ORG/NAME on Hugging Face, ms:ORG/NAME)")
    first = hub.download_files(reference, (output.MARKER,))
    if not (first.directory / output.MARKER).is_file():
        raise UsageError(f"{model} is no conversion of ours: the repository holds no {output.MARKER}")
    names = read_conversion(first.directory).output_sha256
    return hub.download_files(first.reference, (output.MARKER, *names, "*.safetensors")).directory, True


def _remembered(report: ConversionReport, fetched: bool) -> str | None:
    at_hand = not fetched and report.source and os.path.exists(os.path.expanduser(report.source))
    return report.source if at_hand else None


def _check_files(folder: Path, report: ConversionReport) -> Check:
    name = "files of the conversion"
    if not report.output_sha256:
        return Check(name=name, status=SKIPPED, detail="conversion.json is of before their sha256 was kept")
    wrong = wrong_files(folder, report)
    count = len(report.output_sha256)
    return _judged(name, wrong, f"{count} files have the sha256 with which they were written")


def _check_config(folder: Path, report: ConversionReport) -> Check:
    """Whether the configuration that is loaded is the one that conversion.json says was written."""
    try:
        found = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return _judged("configuration", [f"config.json cannot be read: {error}"], "")
    keys = sorted(set(found) | set(report.config)) if isinstance(found, dict) else ["config.json"]
    wrong = [key for key in keys if not isinstance(found, dict) or found.get(key) != report.config.get(key)]
    return _judged("configuration", wrong, "config.json says what conversion.json says")


def _check_source(folder: Path, report: ConversionReport, plan: Plan) -> list[Check]:
    found = hashes(plan)
    other = [
        f"{name} is {'another file' if name in found else 'missing'}"
        for name, expected in report.sha256.items()
        if expected not in found.values()  # whatever it is called where the source lies now
    ]
    same = _judged("files of the source", other, f"{len(report.sha256)} files have the sha256 that was converted")
    try:
        wrong = list(_wrong_tensors(folder, report, plan))
    except (MlxFunasrError, OSError) as error:  # of the conversion: that the source can be read is known by now
        wrong = [str(error)]
    bits = "quantised ones within what rounding explains, all others bit for bit"
    how = bits if report.config.get("quantization") else "bit for bit, layout changes undone"
    return [same, _judged("tensors against the source", wrong, f"{len(plan.infos)} compared, {how}")]


def _wrong_tensors(folder: Path, report: ConversionReport, plan: Plan) -> Iterator[str]:
    settings = report.config.get("quantization")
    written = Written(_weights(folder))
    if settings is None:
        yield from differences(written, plan.assignments, plan.checkpoint, plan.cmvn)
    else:
        yield from inexact(written, Planned(plan), packings_of(settings))
    if plan.tokens is not None and _tokens(folder) != plan.tokens:
        yield "tokens.json is not the source's vocabulary"


def _tokens(folder: Path) -> Any:
    try:
        return json.loads((folder / "tokens.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


class Planned(Written):
    """The tensors that a plan would write, made from the source one by one: what `inexact` compares with."""

    def __init__(self, plan: Plan):
        self._plan = plan
        self._infos = {info.name: info for info in plan.infos}
        self._sources = {item.target: item for item in plan.assignments if item.target is not None}

    @property
    def names(self) -> set[str]:
        """Names of all tensors."""
        return set(self._infos)

    def dtype(self, name: str) -> str:
        """Return the precision in which a tensor would be stored."""
        return self._infos[name].dtype

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape in which a tensor would be stored."""
        return self._infos[name].shape

    def read(self, name: str) -> np.ndarray:
        """Return one tensor as it would be stored."""
        item = self._sources.get(name)
        if item is None:
            return self._plan.cmvn[name]
        checkpoint = self._plan.checkpoint
        array = cast(checkpoint.read(item.source), checkpoint.infos[item.source].dtype, self.dtype(name), item.source)
        made = np.array(item.op.apply(array))
        checkpoint.release(item.source)
        return made


def _judged(name: str, wrong: list[str], right: str) -> Check:
    if not wrong:
        return Check(name=name, status=PASS, detail=right)
    more = f", and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    return Check(name=name, status=FAIL, detail="; ".join(wrong[:SHOWN]) + more, differs=wrong)
