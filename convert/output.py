"""The output directory: built beside its final place under a temporary name, and renamed when it is whole.

A killed run leaves only `.NAME.partial-*`, which nothing loads (config.json comes last) and the next run of the same
target removes. Stdlib only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mlx_model.errors import OutputError

MARKER = "conversion.json"  # together with its schema: a directory that this program wrote
SPARE_BYTES = 64 << 20  # beyond the weights: vocabulary, reports, the file system's own needs


def check_target(out: Path, source: Path, *, overwrite: bool) -> None:
    """Raise OutputError where `out` may not be written: it exists, is no conversion of ours, or holds the source."""
    out_real, source_real = out.resolve(), source.resolve()
    if out_real == source_real or source_real.is_relative_to(out_real):
        raise OutputError(f"{out} is or contains the source {source}; choose another output directory")
    if not os.path.lexists(out):
        return
    if not overwrite:
        raise OutputError(f"{out} exists; choose another name, or replace an earlier conversion with --overwrite")
    if out.is_symlink() or not out.is_dir():
        raise OutputError(f"{out} is not a directory; --overwrite replaces earlier conversions only")
    if any(out.iterdir()) and not is_conversion(out):
        raise OutputError(
            f"{out} holds files that mlx-funasr did not write (no {MARKER} of a conversion); --overwrite replaces "
            "earlier conversions only"
        )


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


@contextlib.contextmanager
def staged(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a new empty directory that becomes `out` when the block ends well, and vanishes when it does not.

    Raises:
        OutputError: whatever the file system refuses, disk full included.
    """
    created = _missing_ancestors(out)
    stage: Path | None = None
    lock = -1
    done = False
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _clean_stale(out)
        stage = Path(tempfile.mkdtemp(prefix=_prefix(out), dir=out.parent))
        stage.chmod(0o777 & ~_umask())
        lock = _lock(stage)
        yield stage
        _sync(stage)
        _install(stage, out, overwrite=overwrite)
        done = True
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        if lock >= 0:
            os.close(lock)
        if not done:
            if stage is not None:
                shutil.rmtree(stage, ignore_errors=True)
            for directory in created:
                with contextlib.suppress(OSError):  # somebody else put something there meanwhile
                    directory.rmdir()


def sync_file(path: Path) -> None:
    """Force a file's data to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prefix(out: Path) -> str:
    return f".{out.name}.partial-"


def _replaced(out: Path) -> Path:
    return out.with_name(f".{out.name}.replaced")


def _install(stage: Path, out: Path, *, overwrite: bool) -> None:
    """Rename the finished directory into place; an earlier conversion steps aside first and comes back on failure."""
    aside = _replaced(out)
    if os.path.lexists(out):
        if not overwrite:
            raise OutputError(f"{out} appeared while the conversion ran; it was left alone")
        os.rename(out, aside)
    try:
        os.rename(stage, out)
    except OSError:
        if aside.exists():
            os.rename(aside, out)
        raise
    _sync_directory(out.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _clean_stale(out: Path) -> None:
    """Remove what killed runs of this target left; bring back an earlier conversion that one had moved aside."""
    aside = _replaced(out)
    if aside.is_dir():
        if os.path.lexists(out):
            shutil.rmtree(aside, ignore_errors=True)
        else:
            os.rename(aside, out)
    for stale in out.parent.glob(f"{_glob_escape(_prefix(out))}*"):
        try:
            lock = _lock(stale)
        except OSError:  # its run is alive
            continue
        os.close(lock)
        shutil.rmtree(stale, ignore_errors=True)


def _glob_escape(text: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in text)


def _lock(directory: Path) -> int:
    """Lock a directory for as long as this process lives; the kernel releases it however the process ends."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _sync(stage: Path) -> None:
    for path in stage.iterdir():
        sync_file(path)
    _sync_directory(stage)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _existing_ancestor(path: Path) -> Path:
    return next(parent for parent in (path, *path.absolute().parents) if parent.is_dir())


def _missing_ancestors(out: Path) -> list[Path]:
    """Return the parents of `out` that do not exist yet, deepest first."""
    return [parent for parent in out.absolute().parents if not parent.exists()]
