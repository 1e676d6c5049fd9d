"""A good BLAS for MLX on Linux CPUs, loaded before `mlx.core`; every module here gets `mx` and `nn` from this file.

MLX's Linux wheel carries the reference BLAS: float32 matmul at 4-8 GFLOP/s where OpenBLAS or MKL reach 100 and more.
Python binds an extension's symbols when it is imported, so a library loaded with RTLD_GLOBAL *before* `mlx.core` takes
the bundled one's place, and one loaded after it does nothing. Hence one import line everywhere:

    from mlx_model.machine.blas import mx, nn

MLX_FUNASR_BLAS overrides the choice: `mkl`, `openblas`, `none`, or the path of a library with the C interface (CBLAS).
Never on macOS, where MLX uses Accelerate. The choice is visible: `status()`.

The same moment is used to tell glibc to keep freed memory (`_keep_freed_memory`), and MLX that float32 means float32:
on CUDA and on Apple's M5 its products would round their inputs to 10 bits of mantissa (TF32) unless MLX_ENABLE_TF32=0
stands in the environment before `mlx.core` is loaded. Whoever sets it to something else gets that (`float32_setting`).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import glob
import importlib.util
import os
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from mlx_model.machine import openblas

THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
HOW_TO = (
    "MLX runs float32 matrix products 20 times slower than it could here: no OpenBLAS or MKL was found. "
    "Get one with: pip install 'mlx-funasr[cpu]'   (or Debian's libopenblas0-pthread), or name it in MLX_FUNASR_BLAS"
)


TF32 = "MLX_ENABLE_TF32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Float32Setting:
    """What was asked of MLX's float32 products: `value` stands in MLX_ENABLE_TF32, `ours` says who put it there.

    `late`: MLX was loaded before this module, and may have looked there before.
    """

    ours: bool
    value: str | None
    late: bool


def _ask_for_exact_float32() -> Float32Setting:
    """Set MLX_ENABLE_TF32=0 unless the user set it. It may come too late where MLX is loaded and has computed."""
    given, late = os.environ.get(TF32), "mlx.core" in sys.modules
    os.environ.setdefault(TF32, "0")
    return Float32Setting(ours=given is None, value=os.environ.get(TF32), late=late)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlasStatus:
    """Which BLAS MLX's CPU back end will use. `needed` is False where MLX brings a good one of its own."""

    needed: bool
    library: str | None
    reason: str

    def warning(self) -> str | None:
        """Return what to tell the user once, or None where all is well."""
        return f"{HOW_TO} ({self.reason})" if self.needed and self.library is None else None


def mkl_libraries() -> list[str]:
    """Return MKL's single-library interface as the PyPI package `mkl` installs it, newest first."""
    roots = {sysconfig.get_path("data"), sys.prefix, str(Path(sys.executable).parent.parent)}
    return sorted({path for root in roots for path in glob.glob(f"{root}/lib/libmkl_rt.so*")}, reverse=True)


def openblas_libraries() -> list[str]:
    """Return PyPI's OpenBLAS (extra `cpu`) and the system's, threaded builds first."""
    patterns = (
        "/usr/lib/*/openblas-pthread/libopenblas.so.0",
        "/usr/lib*/libopenblasp.so.0",
        "/usr/lib*/libopenblas.so.0",
    )
    found = [path for pattern in patterns for path in sorted(glob.glob(pattern))]
    named = [] if found else [ctypes.util.find_library("openblas")]
    return [path for path in (openblas.library(), *found, *named) if path]


def candidates() -> list[str]:
    """Return libraries to try, best for this processor first: MKL on Intel; on others OpenBLAS where there is one."""
    mkl, openblas = mkl_libraries(), openblas_libraries()
    return [*mkl, *openblas] if "GenuineIntel" in _cpu_vendor() else [*openblas, *mkl]


# OpenBLAS's threads wait for work by spinning, 2^26 clock ticks (27 ms) by default, on cores that the lanes and MLX's
# own thread need. 2^20 (0.4 ms) made short utterances 3 to 7 % faster and the self-test's small models twice as fast.
SPIN = "20"


def _cpu_vendor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next((line for line in lines if line.startswith("vendor_id")), "")
    except OSError:
        return ""


def _load(library: str) -> None:
    """Load the library so that MLX finds it; OSError or AttributeError where that is not possible."""
    if library == openblas.library():
        openblas.load(library)
    else:
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL).cblas_sgemm  # noqa: B018  looked up for its AttributeError


def _choices(override: str) -> list[str]:
    families = {"mkl": mkl_libraries, "openblas": openblas_libraries}
    if not override:
        return candidates()
    return families[override.lower()]() if override.lower() in families else [override]


def _prepare() -> BlasStatus:
    """Load the best BLAS with RTLD_GLOBAL; runs once, when this module is first imported."""
    if sys.platform != "linux" or importlib.util.find_spec("mlx") is None:
        return BlasStatus(needed=False, library=None, reason=f"{sys.platform}: MLX brings its own")
    override = os.environ.get("MLX_FUNASR_BLAS", "")
    if override.lower() == "none":
        return BlasStatus(needed=False, library=None, reason="MLX_FUNASR_BLAS=none: MLX's bundled BLAS, as asked")
    if "mlx.core" in sys.modules:
        return BlasStatus(
            needed=True, library=None, reason="mlx.core was imported before mlx_model: import mlx_model first"
        )
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", SPIN)
    failures = []
    for library in _choices(override):
        try:
            _load(library)
        except (OSError, AttributeError) as error:
            failures.append(f"{library}: {error}")
            continue
        return BlasStatus(
            needed=True, library=library, reason="override" if override else "best found for this processor"
        )
    return BlasStatus(
        needed=True, library=None, reason="; ".join(failures) or f"looked for {override or 'OpenBLAS, MKL'}"
    )


def _keep_freed_memory() -> None:
    """Tell glibc not to give large freed buffers back to the kernel.

    MLX's CPU back end allocates one for every operation; above glibc's threshold each would be mapped anew and faulted
    in page by page, which was measured to take as long as the arithmetic (a 500-frame encoder block: 80 ms -> 45 ms).
    What a process has once used stays with it until it ends; its peak does not grow.
    """
    libc = ctypes.CDLL(None)
    if sys.platform != "linux" or not hasattr(libc, "mallopt"):
        return  # macOS has another allocator, musl no such options
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8  # malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX
    libc.mallopt(trim_threshold, 2**31 - 1)
    libc.mallopt(mmap_threshold, 2**30)
    libc.mallopt(arena_max, 1)  # MLX computes on a thread of its own, and other arenas always map large buffers


def _ask_for_small_graphs() -> None:
    """Let MLX give an NVIDIA card its work in small pieces, unless the user has set their size.

    By default an H200 gets nothing before 100 operations are there, or arrays of 2^30 elements, and ten such pieces may
    wait with all of their arrays in memory: 12.7 GB for 64 recordings of 20 s, of which this leaves 2.6. It is faster,
    too (benchmarks/README.md). Too late where MLX is loaded; Apple's GPUs are left as they are.
    """
    if sys.platform == "linux":
        os.environ.setdefault("MLX_MAX_OPS_PER_BUFFER", "30")
        os.environ.setdefault("MLX_MAX_MB_PER_BUFFER", "100")


_float32 = _ask_for_exact_float32()
_ask_for_small_graphs()
_status = _prepare()
_keep_freed_memory()

import mlx.core as mx  # noqa: E402  after the BLAS, on purpose
import mlx.nn as nn  # noqa: E402
from mlx.utils import tree_flatten, tree_unflatten  # noqa: E402

__all__ = ["BlasStatus", "Float32Setting", "float32_setting", "mx", "nn", "status", "tree_flatten", "tree_unflatten"]


def float32_setting() -> Float32Setting:
    """Return what was asked of float32 products when this module was loaded; `numerics.float32_mode` says what is."""
    return _float32


def status() -> BlasStatus:
    """Return which BLAS is in use. On a GPU it serves only what is sent to the CPU stream."""
    gpu = mx.default_device().type == mx.DeviceType.gpu
    return BlasStatus(needed=False, library=_status.library, reason="GPU") if gpu else _status


def use_threads(count: int) -> None:
    """Let every matrix product run on so many threads from now on; nothing where no BLAS was loaded."""
    loaded = ctypes.CDLL(_status.library) if _status.library else None
    for name in ("openblas_set_num_threads", "scipy_openblas_set_num_threads", "MKL_Set_Num_Threads"):
        if hasattr(loaded, name):
            getattr(loaded, name)(count)
