"""The proof that travels with a conversion: its reports, checked to be about it, and what the model card says of them.

A parity report belongs to a conversion if it carries the sha256 of that directory, a `cer` run likewise. Reads and
renders reports; sends nothing (upload.py does). Imports neither MLX nor a hub's client.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convert import markup
from convert.card import front_matter, parts
from mlx_model.errors import UsageError
from mlx_model.files.scratch import scratch
from reports import schema, views
from reports.environment import PROOF, directory_sha256
from reports.render import render
from reports.schema import CerReport, ParityReport

HEADING = "## Proof"
BEFORE = "## Licence and attribution"  # the section that the proof is put in front of
METRICS = {"char": ("cer", "CER (%)"), "word": ("wer", "WER (%)"), "mixed": ("mer", "MER (%)")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The reports attached to a conversion, and the files they lie in."""

    parity: ParityReport | None = None
    cer: CerReport | None = None
    files: Mapping[str, Path]

    @property
    def reports(self) -> list[tuple[str, ParityReport | CerReport]]:
        """What there is, by the name of its file."""
        found: list[tuple[str, ParityReport | CerReport | None]] = [("parity", self.parity), ("cer", self.cer)]
        return [(name, report) for name, report in found if report is not None]


Place = str | os.PathLike[str]


def read_proof(model: Path, parity: Place | None, cer: Place | None) -> Proof:
    """Return the reports at the given places, each checked to be about the conversion `model` and good news.

    Args:
        model: a conversion.
        parity: the --out of `parity run | check`, or its parity.json.
        cer: the --out of `cer`, or its cer.json.

    Raises:
        UsageError: there is no such report, it is of another model, it failed, or it measured FunASR.
    """
    if parity is None and cer is None:
        return Proof(files={})
    digest = directory_sha256(model)
    files: dict[str, Path] = {}
    layers = rate = None
    if parity is not None:
        files["parity"], layers = _read(Path(parity), "parity.json", ParityReport)
        if layers.verdict != "pass":
            raise UsageError(
                f"{files['parity']}: the verdict is {layers.verdict!r} ({layers.sentence or layers.first_failure}); "
                "only a conversion that passed is published with its proof"
            )
        _check_belongs(model, digest, files["parity"], layers.model_sha256, "mlx-funasr parity run")
    if cer is not None:
        files["cer"], rate = _read(Path(cer), "cer.json", CerReport)
        if rate.engine != "mlx":
            raise UsageError(f"{files['cer']} measured {rate.engine}, not the conversion; give a run of --engine mlx")
        if not isinstance(rate.cer, (int, float)) or not math.isfinite(rate.cer):
            raise UsageError(f"{files['cer']} holds no rate; look at its failures and run it again")
        _check_belongs(model, digest, files["cer"], rate.model_sha256, "mlx-funasr cer")
    return Proof(parity=layers, cer=rate, files=files)


def _read(place: Path, name: str, kind: type[Any]) -> tuple[Path, Any]:
    path = place / name if os.path.isdir(place) else place
    try:
        report = schema.read(path)
    except FileNotFoundError as error:
        raise UsageError(f"{place} holds no {name}; give the folder that --out named") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # reports knows no other folder, so no exception of ours
        raise UsageError(str(error)) from error
    if not isinstance(report, kind):
        raise UsageError(f"{path} is a {type(report).SCHEMA} document, expected {kind.SCHEMA} (a {name})")
    return path, report


def _check_belongs(model: Path, found: str, path: Path, stated: str | None, command: str) -> None:
    if stated is None:
        raise UsageError(f"{path} does not say which files it was measured on; run `{command}` again")
    if stated != found:
        raise UsageError(
            f"{path} is of another model: it was measured on files with sha256 {stated[:12]}..., {model} has "
            f"{found[:12]}...; run `{command}` on {model}"
        )


def attached(card: str, proof: Proof, *, name: str, task: str) -> str:
    """Return a model card with its proof linked and its results in the hub's form, in place of earlier ones."""
    fields, body = parts(card)
    fields.pop("model-index", None)
    if proof.cer is not None:
        fields["model-index"] = [{"name": markup.plain(name), "results": [_result(proof.cer, task)]}]
    body = re.sub(rf"(?ms)^{HEADING}\n.*?(?=^## |\Z)", "", body)
    if proof.reports:
        section = f"{HEADING}\n\n" + "\n\n".join(_said(name, report) for name, report in proof.reports) + "\n\n"
        before, found, after = body.partition(BEFORE)
        body = before + section + found + after if found else f"{body.rstrip()}\n\n{section}"
    return front_matter(fields) + body if fields else body


def _result(report: CerReport, task: str) -> dict[str, Any]:
    """Return one result as Hugging Face's model-index has it; rates in per cent, as its leaderboards show them."""
    metric, label = METRICS.get(report.unit, METRICS["char"])
    dataset = markup.plain(report.dataset) or "unnamed"
    return {
        "task": {"type": task},
        "dataset": {"type": markup.repository_part(dataset).lower(), "name": dataset},
        "metrics": [{"type": metric, "value": round(100 * report.cer, 3), "name": label}],
    }


def _said(name: str, report: ParityReport | CerReport) -> str:
    links = f"[report]({PROOF}/{name}.html), [data]({PROOF}/{name}.json)"
    if isinstance(report, ParityReport):
        versions = report.environment.get("reference", {})
        against = versions.get("versions", {}).get("funasr") if isinstance(versions, dict) else None
        what = f"Compared with FunASR {markup.text(against or '')}".rstrip() + ", layer by layer"
        return f"{what}: {markup.text(views.headline(report))} ({links})."
    low, high = (f"{100 * bound:.2f}" for bound in report.ci95)
    rate = METRICS.get(report.unit, METRICS["char"])[0].upper()
    return (
        f"{rate} {100 * report.cer:.2f} % (95 %: {low} to {high}) on "
        f"{markup.text(report.dataset)}, {report.utterances} utterances, normaliser "
        f"{markup.text(report.normalizer)} ({links})."
    )


def proof_files(proof: Proof) -> dict[str, bytes]:
    """Return what is attached, by its path in the repository: every report as data and as a page.

    Recordings that a `cer` report carries for its reader's ears stay here: voices are not ours to publish.
    """
    files: dict[str, bytes] = {}
    with scratch("proof") as folder:
        for name, report in proof.reports:
            if isinstance(report, CerReport):
                report = replace(report, worst=[replace(row, audio=None) for row in report.worst])
            data = schema.write(report, folder / f"{name}.json")
            files |= {f"{PROOF}/{path.name}": path.read_bytes() for path in (data, render(data))}
    return files
