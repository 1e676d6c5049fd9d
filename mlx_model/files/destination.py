"""Where results go: claimed before any work begins, by one writer at a time, and nothing is left there half-written.

`claimed`: a folder that reports are written into. `staged`: a directory that appears whole, under its name, or not at
all. Both try what a write will need, and both are locked for as long as they are held. Stdlib only.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mlx_model.errors import OutputError
from mlx_model.files.locking import Locked, holder, key_of
from mlx_model.files.scratch import FULL

StrPath = str | os.PathLike[str]
LONGEST_NAME = 255  # bytes, on every file system in use
PROBE_BYTES = 4096

_held: dict[tuple[int, int] | None, int] = {}  # locked directories of this process -> the thread that holds them
_staging: set[Path] = set()  # stages that are being filled


@contextlib.contextmanager
def claimed(
    out: StrPath | None, writes: Sequence[str], *, overwrite: bool = True, apart_from: Iterable[StrPath] = ()
) -> Iterator[None]:
    """The folder `out` is this thread's alone until the block ends; what was made for it goes again if unused.

    A claim inside a claim of the same thread is let through, so that a command and the function it calls may both ask.

    Args:
        out: the folder, made with its parents where it is missing; None where nothing will be written.
        writes: names of the files that will be written.
        overwrite: False refuses a folder that holds one of them.
        apart_from: sources: directories that `out` must not be or lie in, files that must not be written over.

    Raises:
        OutputError: it is not to be written, or cannot be; also for what the file system refuses inside the block.
    """
    if out is None:
        yield
        return
    folder = Path(out)
    with _refusals(folder):
        _refuse_sources(folder, writes, apart_from)
        with _made(folder), _alone(folder, folder):
            for name in writes:
                _look_at(folder / name, overwrite)
            _try_to_write(folder)
            yield


@contextlib.contextmanager
def reserved(out: StrPath, *, apart_from: Iterable[StrPath] = ()) -> Iterator[None]:
    """Hold the name `out` for a `staged` of this thread that comes later, after work that takes long.

    Raises:
        OutputError: another process holds it, or its folder cannot be written.
    """
    place, stage = _places(out)
    outermost = _held.get(key_of(stage)) != threading.get_ident()
    with _refusals(place):
        _refuse_sources(place, [], apart_from)
    with _refusals(place), _made(place.parent), _alone(stage, place):
        try:
            _clean_stale(place, stage)
            _try_to_write(stage)
            yield
        finally:
            if outermost and key_of(stage) in _held:  # else it has become the result
                shutil.rmtree(stage, ignore_errors=True)


@contextlib.contextmanager
def staged(out: StrPath, *, overwrite: bool, apart_from: Iterable[StrPath] = ()) -> Iterator[Path]:
    """Yield a new empty directory that becomes `out` when the block ends well, and vanishes when it does not.

    A killed run leaves only `.NAME.partial-stage`, which the next one of the same target removes.

    Raises:
        OutputError: whatever the file system refuses, disk full included; another process writes it.
    """
    place, stage = _places(out)
    _may_become(place, overwrite)
    with reserved(out, apart_from=apart_from):
        if stage in _staging:
            raise OutputError(f"{out} is being written by this very process; choose another name")
        _staging.add(stage)
        try:
            yield stage
            _sync(stage)
            _install(stage, place, overwrite=overwrite)
        except BaseException:
            _empty(stage)
            raise
        finally:
            _staging.discard(stage)


def sync_file(path: Path) -> None:
    """Force a file's data to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---- what is refused


def _refuse_sources(folder: Path, writes: Sequence[str], sources: Iterable[StrPath]) -> None:
    real = Path(os.path.realpath(folder))
    for source in sources:
        found = Path(os.path.realpath(source))
        if os.path.isdir(found) and real.is_relative_to(found):
            raise OutputError(f"{folder} is or lies in the source {os.fspath(source)}; choose another folder")
        if found in {real / name for name in writes}:
            raise OutputError(f"{folder}: {os.fspath(source)} would be written over; choose another folder")


def _look_at(path: Path, overwrite: bool) -> None:
    if os.path.isdir(path):
        raise OutputError(f"{path} is a folder; expected nothing, or a file, where a file will be written")
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{path} exists; choose another --out, or add --overwrite")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{path}.partial")  # of a killed run


def _may_become(place: Path, overwrite: bool) -> None:
    if os.path.lexists(place) and not overwrite:
        raise OutputError(f"{place} exists; choose another place")
    if os.path.islink(place):
        raise OutputError(f"{place} is a symbolic link; expected a folder, or nothing")
    if os.path.lexists(place) and not os.path.isdir(place):
        raise OutputError(f"{place} is {_kind(place)}; expected a folder, or nothing")


def _kind(path: Path) -> str:
    """Return what stands there instead of a folder, in words."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return "a symbolic link that leads nowhere"
    kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFREG: "a file"}
    return kinds.get(stat.S_IFMT(mode), "a device")


@contextlib.contextmanager
def _refusals(out: Path) -> Iterator[None]:
    """Errors of the file system about `out` are ours, one line each; those about other files pass."""
    try:
        yield
    except OSError as error:
        if not _is_about(error, out):
            raise
        full = error.errno in FULL - {errno.EROFS}
        advice = "make room there, or choose another place" if full else "choose another place"
        raise OutputError(f"{out} cannot be written: {error.strerror or error}; {advice}") from error
    except ValueError as error:
        if "null" not in str(error):
            raise
        raise OutputError(f"{str(out)!r} cannot be written: {error}") from error


def _is_about(error: OSError, out: Path) -> bool:
    if not isinstance(error.filename, (str, bytes)):
        return error.errno in FULL
    name, place = os.path.abspath(os.fsdecode(error.filename)), os.path.abspath(out)
    return name.startswith((place, os.path.join(os.path.dirname(place), "."))) or Path(name) in Path(place).parents


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """The folder is there; what had to be made for it goes again where the block fails and leaves it empty."""
    absolute = folder.absolute()
    places = [absolute, *absolute.parents]
    nearest = next(place for place in places if os.path.lexists(place))
    if not os.path.isdir(nearest):
        before = "" if nearest == absolute else f"{folder} cannot be written: "
        raise OutputError(f"{before}{folder if not before else nearest} is {_kind(nearest)}; expected a folder")
    created = places[: places.index(nearest)]
    try:
        absolute.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for place in created:
            with contextlib.suppress(OSError):  # somebody has put something there
                place.rmdir()
        raise


@contextlib.contextmanager
def _alone(directory: Path, out: Path) -> Iterator[None]:
    """The directory is locked, made where it is missing. One that this thread holds already is let through."""
    me = threading.get_ident()
    if _held.get(key_of(directory)) == me:
        yield
        return
    lock = _lock(directory, out)
    _held[lock.key] = me
    try:
        yield
    finally:
        del _held[lock.key]
        lock.close()


def _lock(directory: Path, out: Path) -> Locked:
    while True:
        directory.mkdir(exist_ok=True)
        try:
            lock = Locked(directory)
        except FileNotFoundError:  # its last writer has just removed it
            continue
        except BlockingIOError:
            pid = holder(directory)
            who = "this very process" if pid == os.getpid() else f"process {pid}" if pid else "another process"
            raise OutputError(f"{out} is being written by {who}; wait for it, or choose another place") from None
        if lock.is_at(directory):
            return lock
        lock.close()


def _try_to_write(folder: Path) -> None:
    """Write a little, under no name where the system can do that."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(folder)) from error


# ---- stages


def _places(out: StrPath) -> tuple[Path, Path]:
    """Return where a result goes, and where it is built: beside it, under a name of its own."""
    place = Path(os.path.abspath(out))
    if not place.name:
        raise OutputError(f"{os.fspath(out)} is not a name for a new directory")
    return place, place.with_name(_beside(place.name, "partial-stage"))


def _beside(name: str, what: str) -> str:
    hidden = f".{name}.{what}"
    if len(os.fsencode(hidden)) <= LONGEST_NAME or len(os.fsencode(name)) > LONGEST_NAME:
        return hidden
    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.{what}"


def _install(stage: Path, out: Path, *, overwrite: bool) -> None:
    """Rename the finished directory into place; an earlier one steps aside first and comes back on failure."""
    aside = out.with_name(_beside(out.name, "replaced"))
    if os.path.lexists(out):
        if not overwrite:
            raise OutputError(f"{out} appeared while the work ran; it was left alone")
        os.rename(out, aside)
    try:
        os.rename(stage, out)
    except OSError:
        if aside.exists():
            os.rename(aside, out)
        raise
    _sync_directory(out.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _clean_stale(out: Path, stage: Path) -> None:
    """Remove what killed runs of this target left; bring back an earlier result that one had moved aside."""
    if stage in _staging:
        return
    aside = out.with_name(_beside(out.name, "replaced"))
    if aside.is_dir():
        if os.path.lexists(out):
            shutil.rmtree(aside, ignore_errors=True)
        else:
            os.rename(aside, out)
    _empty(stage)


def _empty(stage: Path) -> None:
    """Remove what lies in a stage; the stage itself is the lock."""
    with contextlib.suppress(OSError), os.scandir(stage) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)


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
