"""kill or kill -9 of `parity run`, `record`, `cer --engine funasr`: FunASR ran on, temporary folders stayed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

# A child of process.py that answers nothing and never ends, in place of FunASR.
PARENT = """
import sys
from mlx_model.files.scratch import scratch
from parity.sides import child as process
with scratch("trace"):
    process.ask_reference({"task": "wait", "src": "made"}, None)
"""
CHILD = "#!/bin/sh\necho $$ > {mark}\nexec sleep 60\n"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_child_ends_and_the_next_run_sweeps(tmp_path: Path, how: signal.Signals):
    python, mark, temporary = tmp_path / "python", tmp_path / "mark", tmp_path / "tmp"
    python.write_text(CHILD.format(mark=mark), "utf-8")
    python.chmod(0o755)
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary), "MLX_FUNASR_REFERENCE_PYTHON": str(python)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, env=environment)
    while not (mark.exists() and mark.read_text()):
        assert parent.poll() is None
        time.sleep(0.02)
    child = int(mark.read_text())
    parent.send_signal(how)
    parent.wait()
    end = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and time.monotonic() < end:
        time.sleep(0.02)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert len(list(temporary.iterdir())) == 2  # the trace's and the request's
    subprocess.run([sys.executable, "mlx_funasr.py", "--version"], cwd=ROOT, env=environment, check=True)
    assert list(temporary.iterdir()) == []
