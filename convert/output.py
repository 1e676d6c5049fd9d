"""What a conversion may be written to; how it is written is mlx_model/files/destination.py's. Stdlib only."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from mlx_model.errors import OutputError

MARKER = "conversion.json"  # together with its schema: a directory that this program wrote
SPARE_BYTES = 64 << 20  # beyond the weights: vocabulary, reports, the file system's own needs


def check_target(out: Path, source: Path | None, *, overwrite: bool) -> None:
    """Raise OutputError where `out` may not be written: it exists, is no conversion of ours, or holds the source.

    `source`: None where it is not known yet.
    """
    if source is not None:
        check_apart(out, source)
    if not os.path.lexists(out):
        return
    if not overwrite:
        raise OutputError(f"{out} exists; choose another name, or replace an earlier conversion with --overwrite")
    if out.is_symlink() or not out.is_dir() or os.path.ismount(out):
        raise OutputError(f"{out} is not a directory; --overwrite replaces earlier conversions only")
    if any(out.iterdir()) and not is_conversion(out):
        raise OutputError(
            f"{out} holds files that mlx-funasr did not write (no {MARKER} of a conversion); --overwrite replaces "
            "earlier conversions only"
        )


def check_apart(out: Path, source: Path) -> None:
    """Raise OutputError where `out` is, holds, or lies in the source."""
    out_real, source_real = Path(os.path.realpath(out)), Path(os.path.realpath(source))
    if source_real.is_relative_to(out_real):
        raise OutputError(f"{out} is or contains the source {source}; choose another output directory")
    if out_real.is_relative_to(source_real) and source_real.is_dir():
        raise OutputError(f"{out} lies in the source {source}; choose another output directory")


def is_conversion(directory: Path) -> bool:
    """Return whether `directory` is a conversion that this program wrote."""
    try:
        document = json.loads((directory / MARKER).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        return False
    return isinstance(document, dict) and str(document.get("schema", "")).startswith("conversion/")


def check_space(out: Path, needed: int) -> None:
    """Raise OutputError where the file system of `out` has fewer than `needed` bytes free."""
    place = _existing_ancestor(out)
    free = shutil.disk_usage(place).free
    if free < needed + SPARE_BYTES:
        raise OutputError(
            f"{place} has {free / 1e9:.2f} GB free, the conversion needs {(needed + SPARE_BYTES) / 1e9:.2f} GB; "
            "free some space or choose another disk"
        )


def _existing_ancestor(path: Path) -> Path:
    return next(parent for parent in (path, *path.absolute().parents) if parent.is_dir())
