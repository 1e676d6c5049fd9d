"""Temporary folders: locked while their process lives, and swept by the next run where it was killed. Stdlib only."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mlx_model.errors import OutputError
from mlx_model.files.locking import Locked

OURS = re.compile(r"mlx(-funasr)?-\d+-[a-z]+-\w+")  # mlx-funasr-PID-WHAT-RANDOM, or shorter: mlx-PID-WHAT-RANDOM
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
_swept: set[str] = set()


@contextlib.contextmanager
def scratch(what: str, base: Path | None = None, *, short: bool = False) -> Iterator[Path]:
    """Yield a new folder that vanishes when the block ends; a killed process's is removed by the next call.

    Args:
        what: a word for its name, for people who look into the folder of temporary files.
        base: where it is made; the system's place for temporary files where None.
        short: a name as short as can be, for a folder that sockets will lie in.

    Raises:
        OutputError: it cannot be made, or its disk is full.
    """
    try:
        place = base or Path(tempfile.gettempdir())
    except OSError as error:
        raise OutputError("no place for temporary files; set TMPDIR to a folder that can be written") from error
    if os.fspath(place) not in _swept:
        sweep(place)
    folder: Path | None = None
    lock: Locked | None = None
    try:
        folder, lock = _locked(place, f"{'mlx' if short else 'mlx-funasr'}-{os.getpid()}-{what}-")
        yield folder
    except OSError as error:
        if not _is_about(error, folder or place):
            raise
        raise OutputError(f"{place}: {error.strerror or error}; set TMPDIR to another disk with room") from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            lock.close()


def sweep(base: Path | None = None) -> None:
    """Remove what killed processes of this user left in a folder (see `scratch`); never a living one's."""
    with contextlib.suppress(OSError):
        place = os.fspath(base or tempfile.gettempdir())
        _swept.add(place)
        with os.scandir(place) as entries:
            found = [entry for entry in entries if OURS.fullmatch(entry.name)]
        for entry in found:
            with contextlib.suppress(OSError):  # locked, somebody else's, or gone
                _sweep(Path(entry.path))


def _sweep(folder: Path) -> None:
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        return
    lock = Locked(folder)
    shutil.rmtree(folder, ignore_errors=True)
    lock.close()


def _locked(place: Path, prefix: str) -> tuple[Path, Locked | None]:
    """Return a new folder, locked; where a sweeper was quicker, another one."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
        try:
            lock = Locked(folder)
        except (BlockingIOError, FileNotFoundError):
            continue
        except OSError:  # a file system without locks: it is not swept either
            return folder, None
        if lock.is_at(folder):
            return folder, lock
        lock.close()


def _is_about(error: OSError, folder: Path) -> bool:
    if isinstance(error.filename, (str, bytes)):
        return os.fsdecode(error.filename).startswith(os.fspath(folder))
    return error.errno in FULL
