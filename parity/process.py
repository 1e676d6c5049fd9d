"""Runs `python -m parity.reference` on a JSON request, in a process of its own, and passes on its progress and errors.

Why a process: a BLAS loaded with RTLD_GLOBAL for MLX would take over torch's matrix products too. Imports no torch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlx_model.errors import CheckpointError, DependencyError, MlxFunasrError, UsageError

PROGRESS = "mlx-funasr-progress "  # FunASR prints on stdout as it pleases; our lines carry this mark
FORESEEN = {error.__name__: error for error in (DependencyError, CheckpointError, UsageError)}
Progress = Callable[[float], None]


def ask_reference(request: dict[str, Any], progress: Progress | None) -> None:
    """Run one request in a child process; its error becomes ours.

    Raises:
        MlxFunasrError: what the child foresaw (its own class where it is in FORESEEN), or the last line of its log.
    """
    python = os.environ.get("MLX_FUNASR_REFERENCE_PYTHON", sys.executable)
    here = str(Path(__file__).resolve().parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))}
    environment.pop("LD_PRELOAD", None)
    with tempfile.TemporaryDirectory(prefix="mlx-funasr-") as folder:
        failure, log, path = (Path(folder) / name for name in ("failure.json", "log", "request.json"))
        path.write_text(json.dumps({**request, "failure": str(failure)}), "utf-8")
        command = [python, "-m", "parity.reference", str(path)]
        with (
            log.open("wb") as stderr,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment) as child,
        ):
            for line in child.stdout or ():
                if line.startswith(PROGRESS) and progress is not None:
                    progress(float(line.removeprefix(PROGRESS)))
        if failure.is_file():
            report = json.loads(failure.read_text("utf-8"))
            raise FORESEEN.get(report["kind"], MlxFunasrError)(report["message"])
        if child.returncode:
            last = (log.read_text("utf-8", "replace").strip().splitlines() or ["no output"])[-1]
            raise MlxFunasrError(f"FunASR failed on {request['src']}: {last}")
