"""`mlx-funasr doctor`: what is installed here, what computes, and whether it computes what it should.

Each check returns findings; a finding that something is wrong was tried, not guessed, and says what to do. The bundled
speech goes through `load(...).transcribe(...)`, the very way of every user, and is held against what FunASR heard in
the bundled trace; then the trace is compared layer by layer. Nothing of convert is imported: what converts comes from
the command line.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlx_model.errors import DependencyError, MlxFunasrError, UsageError
from mlx_model.machine import bodies, compiler
from parity.demo import MODEL, TRACE
from reports.environment import DISTRIBUTION, describe, project_version, versions

OK, WARN, FAIL, NOTE = "ok", "warn", "fail", "note"
SCHEMA = "doctor/1"
FOLDERS = ("mlx_model", "convert", "parity", "reports")
EXTRAS = {
    "hub": ("huggingface_hub", "modelscope"),
    "bpe": ("sentencepiece",),
    "media": ("av",),
    "reference": ("torch", "funasr", "kaldi_native_fbank"),
    "cer": ("wetext", "whisper_normalizer"),
    "cluster": ("ray",),
    "bench": ("onnx", "onnxruntime", "sherpa_onnx", "funasr_mlx"),
}
MLX_SERIES = "0.32"  # as in pyproject.toml: layouts, kernels and traps were checked against it
TRY_S = 120.0
Converted = Callable[[str, Path | None], AbstractContextManager[Path]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at. `status`: "ok", "warn" (works, but not as it could), "fail", "note" (only said)."""

    name: str
    status: str
    found: str
    advice: str = ""


def examine(converted: Converted, models: Sequence[Path] = ()) -> dict[str, Any]:
    """Return the document of `doctor --json`; its verdict is "fail" where a finding is.

    Args:
        converted: gives a conversion of a FunASR directory, made for this run (`mlx_funasr.py`).
        models: converted directories to look at as well.

    Raises:
        UsageError: one of them is no directory.
    """
    for model in models:
        if not model.is_dir():
            raise UsageError(f"{model}: no such directory; MODEL is what `mlx-funasr convert SRC MODEL` wrote")
    findings = [*installation(), *compute(), *caches(), *extras(), *others()]
    demo, numerics = bundled(converted)
    findings += demo
    findings += map(opened, models)
    failed = any(finding.status == FAIL for finding in findings)
    return {
        "schema": SCHEMA,
        "verdict": "fail" if failed else "pass",
        "findings": [asdict(finding) for finding in findings],
        "numerics": numerics,
        "environment": describe(),
    }


def installation() -> Iterator[Finding]:
    """Look at this project, Python and MLX."""
    version, beside = project_version(), versions((DISTRIBUTION,)).get(DISTRIBUTION)
    yield Finding(name="mlx-funasr", status=OK, found=f"{version}, in {Path(__file__).resolve().parent.parent}")
    if beside not in (None, version):
        advice = f"an installed copy lies beside this checkout: pip uninstall {DISTRIBUTION}, or run from elsewhere"
        yield Finding(name="other version", status=WARN, found=f"{beside} is installed as well", advice=advice)
    yield from shadowed()
    yield Finding(name="Python", status=OK, found=f"{platform.python_version()}, {platform.platform()}")
    mlx = versions(("mlx",)).get("mlx", "")
    fits = mlx.startswith(f"{MLX_SERIES}.") or mlx == MLX_SERIES
    advice = "" if fits else f"this version was checked against {MLX_SERIES}: pip install 'mlx>={MLX_SERIES},<0.33'"
    yield Finding(name="MLX", status=OK if fits else WARN, found=mlx or "not installed as a package", advice=advice)


def shadowed() -> Iterator[Finding]:
    """Look whether another package of one of our names stands before ours."""
    here = Path(__file__).resolve().parent.parent
    for name in FOLDERS:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin is None or origin.parent.parent != here:
            advice = "another package has this name; install mlx-funasr by itself: uv tool install mlx-funasr"
            yield Finding(name=name, status=FAIL, found=f"comes from {origin}, expected {here / name}", advice=advice)


def compute() -> Iterator[Finding]:
    """Look at what computes: device, float32, BLAS, compiler, threads, caches."""
    from mlx_model.engines import cpu_bodies, cpu_engine
    from mlx_model.machine.blas import status
    from mlx_model.machine.device import cores, on_gpu
    from mlx_model.machine.numerics import blas_name, device, float32_mode, float32_warning

    yield Finding(name="device", status=OK, found=device())
    (mode, error), warning = float32_mode(), float32_warning()
    measured = f", relative error of a product {error:.1e}" if error is not None else ""
    yield Finding(name="float32", status=WARN if warning else OK, found=mode + measured, advice=warning or "")
    lacking = status().warning()
    yield Finding(name="BLAS", status=WARN if lacking else OK, found=blas_name(), advice=lacking or "")
    if on_gpu():
        return
    yield Finding(name="threads", status=OK, found=str(cores()))
    yield from _compiler()
    known = cpu_engine.available()
    lacks = f"not for {platform.machine()} as it is here: "
    found = f"{cpu_bodies.in_words()}, compiled" if known else lacks + _why_not()
    meant = any(body.is_for_this_machine for body in bodies.BODIES.values())
    status_ = OK if known else WARN if meant else NOTE
    yield Finding(name="CPU engine", status=status_, found=found, advice="" if known else "MLX computes; slower")


def _why_not() -> str:
    from mlx_model.engines import cpu_engine

    try:
        cpu_engine.kernels()
    except OSError as error:
        return str(error)
    return "nothing is wrong with it"


def _compiler() -> Iterator[Finding]:
    program = compiler.compiler()
    found = program[0] if program else None
    if found is None and all(compiler.shipped(source, *body.options).is_file() for source, body in bodies.builds()):
        found = "none, and none is needed: the wheel brought what is compiled"
    install = "xcode-select --install" if sys.platform == "darwin" else "apt install gcc (or your system's C compiler)"
    advice = "" if found else f"without one MLX's own operations run, slower: {install}"
    yield Finding(name="C compiler", status=OK if found else WARN, found=found or "none", advice=advice)
    try:
        yield Finding(name="cache of compiled code", status=OK, found=str(compiler.cache_folder()))
    except OSError as error:
        yield Finding(name="cache of compiled code", status=WARN, found=str(error), advice="MLX computes until then")


def extras() -> Iterator[Finding]:
    """Look which optional parts are here."""
    for extra, modules in EXTRAS.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        found = "installed" if not missing else f"without {', '.join(missing)}"
        advice = f"pip install '{DISTRIBUTION}[{extra}]'" if missing else ""
        yield Finding(name=f"extra {extra}", status=NOTE if missing else OK, found=found, advice=advice)


def others() -> Iterator[Finding]:
    """Look at packages that are known to break another; each is tried, in a process of its own."""
    if all(map(importlib.util.find_spec, ("funasr", "torchaudio"))):
        error = _import_error("torchaudio")
        advice = "FunASR imports it where it is there: pip uninstall torchaudio" if error else ""
        yield Finding(name="torchaudio", status=WARN if error else OK, found=error or "can be imported", advice=advice)


def _import_error(module: str) -> str:
    """Return the last line of what importing a module says, "" where it can be imported."""
    command = [sys.executable, "-W", "ignore", "-c", f"import {module}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TRY_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"importing it did not end: {error}"
    said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    return said[0][:200] if done.returncode else ""


def bundled(converted: Converted) -> tuple[list[Finding], dict[str, Any]]:
    """Run the bundled example as users run theirs, and return findings and the numerics in force."""
    try:
        with converted(str(MODEL), None) as folder:
            return _bundled(folder)
    except DependencyError as error:
        return [Finding(name="bundled speech", status=NOTE, found="not run", advice=str(error))], _plain_numerics()
    except MlxFunasrError as error:
        return [Finding(name="bundled speech", status=FAIL, found=str(error))], _plain_numerics()


def _bundled(folder: Path) -> tuple[list[Finding], dict[str, Any]]:
    from mlx_model.loading import load
    from mlx_model.machine.numerics import numerics
    from parity.layers.run import check
    from parity.taps.trace import Trace

    trace, model = Trace.open(TRACE), load(folder)  # what `mlx_funasr.load` is
    found = dict(numerics(model))
    findings = [Finding(name="engine", status=OK, found=f"{found['engine']}, {found['precision']}")]
    heard = model.transcribe([trace.waveform(row) for row in trace.utterances])
    wrong = [
        f"heard {ours.text!r}, FunASR {theirs.text!r}"
        for ours, theirs in zip(heard, trace.utterances, strict=True)
        if (ours.text, ours.token_ids) != (theirs.text, theirs.token_ids)
    ]
    said = "; ".join(wrong) or f"{len(heard)} as FunASR heard it: {heard[0].text}"
    advice = "please report this with `mlx-funasr doctor --json`" if wrong else ""
    findings.append(Finding(name="bundled speech", status=FAIL if wrong else OK, found=said, advice=advice))
    report = check(folder, TRACE)
    passed = report.verdict == "pass"
    findings.append(Finding(name="parity check", status=OK if passed else FAIL, found=report.sentence, advice=advice))
    return findings, found


def _plain_numerics() -> dict[str, Any]:
    from mlx_model.machine.numerics import numerics

    return dict(numerics())


def opened(path: Path) -> Finding:
    """Return what a converted directory is computed with, or why it cannot be opened."""
    from mlx_model.loading import load
    from mlx_model.machine.numerics import numerics

    try:
        found = numerics(load(path))
    except MlxFunasrError as error:
        return Finding(name=str(path), status=FAIL, found=str(error))
    return Finding(name=str(path), status=OK, found=f"{found['engine']}, {found['precision']}")


def caches() -> Iterator[Finding]:
    """Look where downloads are kept."""
    homes = {
        "Hugging Face": os.environ.get("HF_HOME") or Path.home() / ".cache/huggingface",
        "ModelScope": os.environ.get("MODELSCOPE_CACHE") or Path.home() / ".cache/modelscope",
    }
    for name, folder in homes.items():
        if Path(folder).is_dir():
            yield Finding(name=f"cache of {name}", status=OK, found=str(folder))
