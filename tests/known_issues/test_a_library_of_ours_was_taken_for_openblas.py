"""Telling speakers apart ended in `cannot unpack non-iterable NoneType object`, out of threadpoolctl, beside our BLAS.

scikit-learn looks for BLAS libraries by the names of the files that a process has loaded; the three functions that
hand MLX its OpenBLAS were compiled into a file that began with `openblas`, which is none. Oracle: threadpoolctl, which
scikit-learn calls.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

CODE = "from mlx_model.machine import blas; import threadpoolctl; print(len(threadpoolctl.threadpool_info()))"


def test_threadpoolctl_reads_the_libraries_of_a_process_of_ours():
    pytest.importorskip("threadpoolctl")
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 0
