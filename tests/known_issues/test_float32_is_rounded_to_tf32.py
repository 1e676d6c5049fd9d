"""On CUDA and on Apple's M5 float32 results were those of TF32, and nothing said so: only `parity` switched it off.

MLX looks for MLX_ENABLE_TF32 in the environment. Here no GPU is needed: what counts is that it stands there before MLX
is loaded by whatever of ours a script imports first, that a user's own setting is kept, and that results say which.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

CODE = """
import os, sys
os.environ.pop("MLX_ENABLE_TF32", None)
os.environ.update({given})
class Look:
    def find_spec(self, name, path=None, target=None):
        if name == "mlx.core":
            print(os.environ.get("MLX_ENABLE_TF32"))
sys.meta_path.insert(0, Look())
import {first}
"""


@pytest.mark.parametrize(
    ("first", "given", "expected"),
    [
        ("mlx_model.loading", {}, "0"),
        ("mlx_model.pipelines.transcribe", {}, "0"),
        ("mlx_model.machine.numerics", {}, "0"),
        ("parity.sides.candidate", {}, "0"),
        ("mlx_model.loading", {"MLX_ENABLE_TF32": "1"}, "1"),
    ],
)
def test_mlx_finds_the_setting_when_it_is_loaded(first: str, given: dict[str, str], expected: str):
    command = [sys.executable, "-c", CODE.format(given=given, first=first)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, env=os.environ)
    assert done.stdout.split() == [expected]


def test_results_say_which():
    from mlx_model.machine.numerics import numerics
    from mlx_model.text.formats import FORMATS

    document = json.loads(FORMATS["json"]([], numerics=numerics()))
    assert document["numerics"]["float32"] == "exact"
