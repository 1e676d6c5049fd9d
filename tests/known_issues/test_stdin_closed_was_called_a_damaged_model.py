"""`transcribe MODEL WAV <&-`: "not a whole safetensors file; convert the source again"."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT

REPORT = """
import os
from reports import streams
streams.fill()
print(os.open(os.devnull, os.O_RDONLY) > 2, [os.path.samestat(os.fstat(n), os.stat(os.devnull)) for n in (0, 2)])
"""


def test_no_file_is_opened_under_the_number_of_a_closed_stream():
    line = ["bash", "-c", '"$0" -c "$1" <&- 2>&-', sys.executable, REPORT]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True [True, True]\n"


def test_a_command_runs_without_stdin():
    line = f"{sys.executable} mlx_funasr.py parity check /nowhere /nowhere <&-"
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "no trace.json" in done.stderr
