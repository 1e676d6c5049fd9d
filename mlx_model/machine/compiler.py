"""This package's C files as libraries: the one that came with the wheel, or compiled once per machine and user.

Stdlib only. A library's name changes with source, options and machine, so none is ever loaded that was made of another
source. What is compiled lies in the user's cache; the compiler is `CC`, or the one that `mx.compile` calls on Linux.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
from pathlib import Path

from mlx_model.errors import OutputError
from mlx_model.files.scratch import scratch
from mlx_model.machine import children

COMPILERS = ("g++", "gcc", "cc", "clang")
BUILT = "built"  # the folder beside a source that holds what came with the wheel


def compiled(source: Path, *options: str) -> Path:
    """Return a C file of this package as a shared library: the wheel's own, from the cache, or newly compiled.

    Raises:
        OSError: there is no compiler, it failed, or the cache can be written by others.
    """
    brought = shipped(source, *options)
    if brought.is_file():
        return brought
    kept = cache_folder() / brought.name
    if not kept.is_file():
        try:
            compile_to(kept, source, *options)
        except OutputError as error:  # a full or read-only cache
            raise OSError(str(error)) from error
    return kept


def shipped(source: Path, *options: str) -> Path:
    """Return where a wheel of this platform has the library; nothing is there in a checkout, or for another source."""
    return source.parent / BUILT / library_name(source, *options)


def library_name(source: Path, *options: str) -> str:
    """Return the file name of what exactly this source and these options make on this kind of machine."""
    digest = hashlib.sha256(source.read_bytes() + " ".join(options).encode()).hexdigest()[:16]
    return f"{source.stem}-{digest}-{platform.machine()}.so"


def compiler() -> list[str] | None:
    """Return the command of the C compiler: what `CC` says, else the first that is found; None where there is none."""
    wanted = shlex.split(os.environ.get("CC", ""))
    found = [path for path in map(shutil.which, wanted[:1] or COMPILERS) if path]
    return [found[0], *wanted[1:]] if found else None


def compile_to(target: Path, source: Path, *options: str) -> None:
    """Write a library, whole or not at all.

    Raises:
        OSError: there is no compiler, or it failed.
        OutputError: the folder cannot be written.
    """
    program = compiler()
    if program is None:
        named = os.environ.get("CC", "")
        wanted = f"CC={named} is none" if named else f"there is none of {', '.join(COMPILERS)}"
        raise OSError(f"needs a C compiler once, and {wanted}")
    with scratch("compile", target.parent) as folder:
        built = folder / target.name
        command = [*program, "-x", "c", *options, "-shared", "-fPIC", str(source), "-o", str(built)]
        code, _, errors = children.run(command)
        if code:
            raise OSError(f"{program[0]} failed: {errors.strip().splitlines()[-1:]}")
        os.replace(built, target)  # another process may be starting too


def cache_folder() -> Path:
    """Return a folder that only this user can write: what lies in it is loaded as code."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "mlx-funasr"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise OSError(f"{folder} can be written by others; expected a folder of your own (chmod go-w)")
    return folder
