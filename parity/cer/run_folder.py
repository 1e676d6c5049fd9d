"""The folder of a run: one writer at a time, and an earlier run in it is safe until the new one has an answer.

Must not import mlx, torch or funasr.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlx_model.errors import OutputError
from mlx_model.files.destination import StrPath, claimed
from mlx_model.files.journal import NAME as JOURNAL
from mlx_model.files.locking import FILE as LOCK
from mlx_model.files.scratch import scratch
from parity.cer.summary import HYPOTHESES, REFERENCES, ROWS

REPORT = "cer.json"
WRITTEN = (JOURNAL, REPORT, ROWS, HYPOTHESES, REFERENCES)
ASIDE = ".replaced"  # an earlier run that is being overwritten


@contextmanager
def run_folder(out: StrPath | None, overwrite: bool, sources: Sequence[StrPath]) -> Iterator[Path]:
    """Yield the folder to write to, see `claim`; one that is deleted again where none was asked for."""
    if out is None:
        with scratch("cer") as folder:
            yield folder
    else:
        with claim(Path(out), overwrite, sources):
            yield Path(out)


@contextmanager
def claim(folder: Path, overwrite: bool, sources: Sequence[StrPath] = ()) -> Iterator[None]:
    """Hold the folder to write to: a new or empty one, one with an unfinished run, or any with `overwrite`.

    Raises:
        OutputError: it holds a finished run or anything else, and is not to be overwritten; see also `claimed`.
    """
    with claimed(folder, WRITTEN, apart_from=sources):
        _put_back(folder)
        if not overwrite and (folder / REPORT).exists():
            raise OutputError(f"{folder} holds a finished run; choose another folder, or overwrite (--overwrite)")
        if not overwrite and {*os.listdir(folder)} - {LOCK} and not (folder / JOURNAL).exists():
            raise OutputError(f"{folder} is not empty; choose another folder, or overwrite (--overwrite)")
        yield


@contextmanager
def replaced(folder: Path, overwrite: bool) -> Iterator[None]:
    """With `overwrite`, an earlier run stands aside, and comes back where the new one ends before its first answer."""
    if overwrite:
        _move(folder, folder / ASIDE)
    try:
        yield
    except BaseException:
        _put_back(folder)
        raise
    shutil.rmtree(folder / ASIDE, ignore_errors=True)


def _put_back(folder: Path) -> None:
    """Drop a journal without answers; the run that stands aside takes its place, and goes where there are some."""
    if not _has_answers(folder):
        (folder / JOURNAL).unlink(missing_ok=True)
        if (folder / ASIDE).is_dir():
            _move(folder / ASIDE, folder)
    shutil.rmtree(folder / ASIDE, ignore_errors=True)


def _move(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for name in WRITTEN:
        if os.path.lexists(source / name):
            os.replace(source / name, target / name)


def _has_answers(folder: Path) -> bool:
    """Whether a run has recognised anything: its journal holds more than its first line."""
    try:
        with (folder / JOURNAL).open("rb") as file:
            return bool(file.readline() and file.readline())
    except OSError:
        return False
