"""FSMN-VAD's float16 scores stood 7.7 times FunASR's own error from the truth: MLX's softmax works in 16 bits.

torch takes exponentials and their sum in float32. So does every softmax of ours: each call says `precise=True`.
"""

from __future__ import annotations

import ast

import numpy as np
import pytest

from mlx_model.machine.blas import mx
from mlx_model.parts.fsmn import Softmax
from tests.conftest import ROOT


@pytest.mark.parametrize(("dtype", "unit"), [(mx.float16, 2.0**-11), (mx.bfloat16, 2.0**-8)])
def test_probabilities_are_the_true_ones_rounded_once(dtype: mx.Dtype, unit: float):
    """Oracle: float64 of the scores as they are stored; half a unit of a 16-bit number, and float32's own rounding."""
    scores = mx.array(np.random.default_rng(0).normal(0, 4, (1, 40, 248)).astype(np.float32)).astype(dtype)
    exact = np.exp(np.array(scores.astype(mx.float32), np.float64))
    exact /= exact.sum(-1, keepdims=True)
    found = np.array(Softmax()(scores).astype(mx.float32), np.float64)
    normal = exact > 2.0**-14  # below, float16 has fewer digits
    assert (np.abs(found - exact)[normal] <= exact[normal] * unit * 1.01).all()


def test_no_softmax_is_taken_in_the_precision_of_its_scores():
    calls = [
        (path.name, call.lineno, {word.arg: ast.unparse(word.value) for word in call.keywords}.get("precise"))
        for path in (ROOT / "mlx_model").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("mx.softmax", "nn.softmax")
    ]
    assert len(calls) >= 2
    assert [call for call in calls if call[2] != "True"] == []
