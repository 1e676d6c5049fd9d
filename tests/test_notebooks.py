"""The notebooks run from top to bottom, in a process of its own (Jupyter warns as it pleases); no stored output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=300, resources={"metadata": {"path": sys.argv[2]}}).execute()
print(sum(bool(cell.get("outputs")) for cell in notebook.cells))
"""


@pytest.mark.reference
@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_notebook_runs(path: Path):
    pytest.importorskip("nbclient")
    done = subprocess.run([sys.executable, "-c", EXECUTE, str(path), str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) >= 3


def test_notebooks_hold_calls_only():
    """No function, class or loop; no stored output."""
    assert len(NOTEBOOKS) == 5
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                source = "".join(cell["source"])
                assert not cell["outputs"]
                assert not any(line.startswith(("def ", "class ", "for ", "while ")) for line in source.splitlines())
