"""PyPI's OpenBLAS (`scipy-openblas32`) under the names that MLX looks for.

Stdlib only. The package is what NumPy and SciPy build against; it prefixes every symbol with `scipy_`, so that it can
live beside another BLAS, and MLX therefore does not see it. Three C functions of one line each pass its matrix products
on. They are compiled once, by the compiler that MLX's own `mx.compile` calls on Linux, and kept in the user's cache.
Only `cblas_?gemm` is exported: torch, which looks for `sgemm_`, keeps its own products, whichever is imported first.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

COMPILERS = ("g++", "gcc", "cc", "clang")
_ARGUMENTS = "order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc"
_SOURCE = f"""
#define GEMM(name, scalar, element)                                                                    \\
    extern void scipy_##name(int, int, int, int, int, int, scalar, const element*, int, const element*, \\
                             int, scalar, element*, int);                                              \\
    void name(int order, int ta, int tb, int m, int n, int k, scalar alpha, const element* a, int lda, \\
              const element* b, int ldb, scalar beta, element* c, int ldc) {{                           \\
        scipy_##name({_ARGUMENTS});                                                                    \\
    }}
GEMM(cblas_sgemm, float, float)
GEMM(cblas_dgemm, double, double)
GEMM(cblas_cgemm, const void*, void)
"""


def library() -> str | None:
    """Return the path of the package's shared library, None where the package is not installed."""
    package = importlib.util.find_spec("scipy_openblas32")
    roots = package.submodule_search_locations or [] if package else []
    found = [path for root in roots for path in sorted(Path(root, "lib").glob("libscipy_openblas*.so"))]
    return str(found[0]) if found else None


def load(path: str) -> ctypes.CDLL:
    """Load the library at `path` and the functions that give it MLX's names; return the latter.

    Raises:
        OSError: it cannot be loaded, or there is no compiler for the three functions.
    """
    ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(_compiled()), mode=ctypes.RTLD_GLOBAL)


def _compiled() -> Path:
    """Return the three functions as a shared library, from the cache or newly compiled."""
    name = f"gemm-{hashlib.sha256(_SOURCE.encode()).hexdigest()[:16]}-{os.uname().machine}.so"
    kept = _cache() / name
    if not kept.is_file():
        compiler = next((found for found in map(shutil.which, COMPILERS) if found), None)
        if compiler is None:
            raise OSError(f"needs a C compiler once, and there is none of {', '.join(COMPILERS)}")
        _compile(compiler, kept)
    return kept


def _cache() -> Path:
    """Return a folder that only this user can write: what lies in it is loaded as code."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "mlx-funasr"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise OSError(f"{folder} can be written by others; expected a folder of your own (chmod go-w)")
    return folder


def _compile(compiler: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        built = Path(folder) / target.name
        command = [compiler, "-x", "c", "-O1", "-shared", "-fPIC", "-", "-o", str(built)]
        done = subprocess.run(command, input=_SOURCE, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"{compiler} failed: {done.stderr.strip().splitlines()[-1:]}")
        os.replace(built, target)  # whole or not at all: another process may be starting too
