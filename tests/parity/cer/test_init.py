"""The face of parity.cer: names that are loaded at their first use."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT


def test_importing_the_package_loads_no_engine():
    code = (
        "import sys, parity.cer\n"
        "assert callable(parity.cer.evaluate) and callable(parity.cer.score)\n"
        "import parity.cer.evaluate, parity.cer.score\n"
        "assert callable(parity.cer.evaluate) and callable(parity.cer.score)\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'mlx', 'torch', 'funasr', 'ray'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
