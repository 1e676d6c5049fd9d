"""Compiles this package's C files, each once per machine and user, with the compiler that `mx.compile` calls on Linux.

Stdlib only. What is built lies in the user's cache, under a name that changes with source, options and machine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from mlx_model.errors import OutputError
from mlx_model.files.scratch import scratch
from mlx_model.machine import children

COMPILERS = ("g++", "gcc", "cc", "clang")


def compiled(source: Path, *options: str) -> Path:
    """Return a C file of this package as a shared library, from the cache or newly compiled.

    Raises:
        OSError: there is no compiler, it failed, or the cache can be written by others.
    """
    digest = hashlib.sha256(source.read_bytes() + " ".join(options).encode()).hexdigest()[:16]
    kept = cache_folder() / f"{source.stem}-{digest}-{os.uname().machine}.so"
    if not kept.is_file():
        compiler = next((found for found in map(shutil.which, COMPILERS) if found), None)
        if compiler is None:
            raise OSError(f"needs a C compiler once, and there is none of {', '.join(COMPILERS)}")
        try:
            _compile(compiler, source, options, kept)
        except OutputError as error:  # a full or read-only cache
            raise OSError(str(error)) from error
    return kept


def cache_folder() -> Path:
    """Return a folder that only this user can write: what lies in it is loaded as code."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "mlx-funasr"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise OSError(f"{folder} can be written by others; expected a folder of your own (chmod go-w)")
    return folder


def _compile(compiler: str, source: Path, options: tuple[str, ...], target: Path) -> None:
    with scratch("compile", target.parent) as folder:
        built = folder / target.name
        command = [compiler, "-x", "c", *options, "-shared", "-fPIC", str(source), "-o", str(built)]
        code, _, errors = children.run(command)
        if code:
            raise OSError(f"{compiler} failed: {errors.strip().splitlines()[-1:]}")
        os.replace(built, target)  # whole or not at all: another process may be starting too
