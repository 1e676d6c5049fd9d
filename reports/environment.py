"""What a report says about where it was made: versions, machine, MLX settings, commit, checksums.

Stdlib only. It must import neither mlx, torch nor funasr: asking for a version must not load a BLAS into the process
that is about to be measured (see "Parity" in the design), so versions come from the installed metadata and the MLX
device is named only where MLX is already loaded.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

DISTRIBUTION = "mlx-funasr"
# The packages whose version can change a number in a report; absent ones are left out of `versions`.
PACKAGES = (
    "mlx", "mlx-cpu", "mlx-metal", "mlx-cuda-13", "mlx-cuda-12", "mkl", "numpy", "torch", "funasr",
    "kaldi-native-fbank", "soundfile", "soxr", "av", "safetensors", "sentencepiece", "rapidfuzz", "scipy-openblas32",
)  # fmt: skip
ROOT = Path(__file__).resolve().parent.parent
WITHOUT_EFFECT = (".md", ".html")  # files of a model directory that no result depends on
# What decides how fast a processor multiplies, as Linux names it, and as people do; the former stand in /proc/cpuinfo.
INSTRUCTIONS = {
    "avx": "AVX", "avx2": "AVX2", "fma": "FMA", "f16c": "F16C", "avx_vnni": "AVX-VNNI", "avx512f": "AVX-512F",
    "avx512bw": "AVX-512BW", "avx512_vnni": "AVX-512 VNNI", "avx512_bf16": "AVX-512 BF16",
    "avx512_fp16": "AVX-512 FP16", "amx_int8": "AMX int8", "amx_bf16": "AMX bfloat16",
    "asimd": "NEON", "asimdhp": "NEON float16", "asimddp": "dot product", "i8mm": "I8MM", "bf16": "BF16", "sve": "SVE",
    "sve2": "SVE2",
}  # fmt: skip
PROOF = "proof"  # the folder of a conversion's repository that holds its reports


def describe(**extra: Any) -> dict[str, Any]:
    """Return where and with what a report was made, as plain JSON values.

    Args:
        extra: further entries of the caller (a checkpoint's sha256, the BLAS in use, ...); they stand last and win over
            the entries collected here where a name is the same.

    Returns:
        project_version, git_commit (with "+changes" where the checkout has uncommitted ones; None outside a checkout),
        python, platform, processor, cores, versions, mlx_device (None where MLX is not loaded), mlx_enable_tf32 (None
        where unset) and time_utc.
    """
    return {
        "project_version": project_version(),
        "git_commit": git_commit(ROOT),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "versions": versions(PACKAGES),
        "mlx_device": mlx_device(),
        "mlx_enable_tf32": os.environ.get("MLX_ENABLE_TF32"),
        "time_utc": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **extra,
    }


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the sha256 of a file's bytes in hex, read in pieces so that a checkpoint need not fit in memory."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def directory_sha256(folder: Path) -> str:
    """Return a sha256 of everything a model directory's results may depend on: names and contents of its files.

    Not the card and pages, not what a hub's client keeps in hidden files, and not the proof that `upload` attached: so
    it stays the same when a conversion is moved, uploaded and fetched again.
    """
    digest = hashlib.sha256()
    for file in sorted(item for item in folder.rglob("*") if item.is_file() and _has_effect(item.relative_to(folder))):
        digest.update(f"{file.relative_to(folder)} {file_sha256(file)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _has_effect(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and path.parts[0] != PROOF and path.suffix not in WITHOUT_EFFECT


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Return {package: version} of those that are installed, without importing any of them."""
    found: dict[str, str] = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def project_version() -> str | None:
    """Return this project's version: the checkout's pyproject.toml where there is one, else the installed metadata.

    The checkout wins because an older installed copy may lie beside it.
    """
    pyproject = ROOT / "pyproject.toml"
    if pyproject.is_file():
        project = tomllib.loads(pyproject.read_text("utf-8")).get("project", {})
        if project.get("name") == DISTRIBUTION:
            return project.get("version")
    return versions((DISTRIBUTION,)).get(DISTRIBUTION)


def git_commit(root: Path) -> str | None:
    """Return the commit checked out at `root` (None without one), "+changes" appended where tracked files differ.

    `root` itself must be the checkout: an installed copy inside somebody else's repository must not report theirs.
    """
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    if commit is None:
        return None
    return f"{commit}+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else commit


def processor_name() -> str:
    """Return the processor's marketing name where the system tells it, else its architecture."""
    if sys.platform == "darwin":
        return _output(["sysctl", "-n", "machdep.cpu.brand_string"]) or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text("utf-8", "replace").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def instruction_set() -> str:
    """Return the processor's architecture and what of `INSTRUCTIONS` it has: "x86_64: AVX, AVX2, FMA, F16C".

    Times of hosts with different ones say nothing of each other. "" beside the architecture where the system does not
    tell; every 64-bit ARM processor has NEON.
    """
    machine, cpuinfo = platform.machine(), Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8", "replace").splitlines() if cpuinfo.is_file() else []
    flags = next((set(line.split()) for line in lines if line.startswith(("flags", "Features"))), set())
    if machine in ("arm64", "aarch64"):
        flags.add("asimd")
    names = ", ".join(name for flag, name in INSTRUCTIONS.items() if flag in flags)
    return f"{machine}: {names}" if names else machine


def mlx_device() -> str | None:
    """Return MLX's default device and what it is, or None where MLX is not loaded in this process."""
    core = sys.modules.get("mlx.core")
    if core is None:
        return None
    name = core.device_info().get("device_name", "") if hasattr(core, "device_info") else ""
    return f"{core.default_device()}, {name}".rstrip(", ")


def _git(root: Path, *arguments: str) -> str | None:
    return _output(["git", "-C", str(root), *arguments])


def _output(command: list[str]) -> str | None:
    """Return what a command printed, or None where it is absent, fails or hangs: a report must not fail over it."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
