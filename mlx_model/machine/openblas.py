"""PyPI's OpenBLAS (`scipy-openblas32`) under the names that MLX looks for.

Stdlib only. The package is what NumPy and SciPy build against; it prefixes every symbol with `scipy_`, so that it can
live beside another BLAS, and MLX therefore does not see it. Three C functions of one line each (`blas_names.c`) pass
its matrix products on. Only `cblas_?gemm` is exported: torch, which looks for `sgemm_`, keeps its own products,
whichever is imported first. What is compiled is not called openblas: scikit-learn would take a library of that name for
a whole OpenBLAS, look for its threads, and fail.
"""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

from mlx_model.machine.bodies import PLAIN
from mlx_model.machine.compiler import compiled


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
    return ctypes.CDLL(str(compiled(Path(__file__).with_name("blas_names.c"), *PLAIN.options)), mode=ctypes.RTLD_GLOBAL)
