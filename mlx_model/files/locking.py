"""Locks on directories, released by the kernel however their process ends. Stdlib only.

The directory itself is locked (flock), so that nothing is left behind. Where a file system cannot do that (NFS wants a
file that is open for writing), a hidden file inside is locked and removed again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path

FILE = ".mlx-funasr.lock"
CANNOT = {errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


class Locked:
    """A locked directory; `close` gives it back."""

    def __init__(self, directory: Path):
        """Lock it.

        Raises:
            BlockingIOError: somebody else has.
            OSError: it is none, or cannot be locked.
        """
        self._file: Path | None = None
        self._descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.key = _key(os.fstat(self._descriptor))
            self._lock(directory)
        except BaseException:
            os.close(self._descriptor)
            raise

    def _lock(self, directory: Path) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in CANNOT:
                raise
            file = os.open(directory / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            os.dup2(file, self._descriptor, inheritable=False)
            os.close(file)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file = directory / FILE

    def close(self) -> None:
        """Give it back."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.unlink()
        os.close(self._descriptor)

    def is_at(self, directory: Path) -> bool:
        """Whether that is still the directory's place: it may have been removed before it was locked."""
        try:
            return _key(os.stat(directory)) == self.key
        except OSError:
            return False


def key_of(directory: Path) -> tuple[int, int] | None:
    """Return what tells a directory from all others, None where there is none."""
    try:
        return _key(os.stat(directory))
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None


def holder(directory: Path) -> int | None:
    """Return the id of the process that has locked a directory, None where the system does not say."""
    inodes = set()
    for place in (directory, directory / FILE):
        with contextlib.suppress(OSError):
            inodes.add(os.stat(place).st_ino)
    try:  # "7: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF"
        rows = [line.split() for line in Path("/proc/locks").read_text("ascii", "replace").splitlines()]
    except OSError:
        return None
    found = [int(row[4]) for row in rows if row[1] == "FLOCK" and int(row[5].rpartition(":")[2]) in inodes]
    return next((pid for pid in found if pid > 0), None)


def _key(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
