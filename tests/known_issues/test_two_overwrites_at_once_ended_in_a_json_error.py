"""Two `cer ... --out X --overwrite` at once: one ended in JSONDecodeError, after both had deleted the other's files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_model.errors import OutputError
from parity import cer
from parity.cer.datasets import Dataset, Utterance
from parity.cer.run_folder import ASIDE
from tests.conftest import ROOT


def score(tmp_path: Path) -> list[str]:
    for name in ("ref", "hyp"):
        (tmp_path / name).write_text("".join(f"utt{n} 一二三四五\n" for n in range(20000)), "utf-8")
    words = ["cer", "score", str(tmp_path / "ref"), str(tmp_path / "hyp"), "--out", str(tmp_path / "x"), "--overwrite"]
    return [sys.executable, str(ROOT / "mlx_funasr.py"), *words]


def test_one_wins_and_the_other_is_told_who(tmp_path: Path):
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    both = [subprocess.Popen(score(tmp_path), text=True, **pipes) for _ in range(2)]
    said = [child.communicate()[1] for child in both]
    codes = [child.returncode for child in both]
    if codes == [0, 0]:
        pytest.skip("this machine ran them one after the other")
    assert sorted(codes) == [0, 2], said
    loser = said[codes.index(2)]
    assert re.fullmatch(r"error: .*x is being written by (process \d+|another process); wait for it, .*\n", loser)
    assert json.loads((tmp_path / "x" / "cer.json").read_text("utf-8"))["utterances"] == 20000


def test_an_earlier_run_comes_back_where_the_new_one_recognised_nothing(tmp_path: Path):
    """--overwrite deleted the earlier report before it was known whether the model could be loaded."""
    data = Dataset(name="made", kind="list", utterances=(Utterance(utt_id="a", text="好", path=tmp_path / "a.wav"),))
    (tmp_path / "a.wav").touch()

    def heard(batches):
        for batch in batches:
            yield [{"path": str(path), "text": "好", "duration_s": 1.0, "error": None} for path in batch]

    def broken(batches):
        raise OutputError("the model cannot be loaded")
        yield batches

    out = tmp_path / "out"
    first = cer.evaluate("m", data, recognizer=heard, out=out)
    kept = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(OutputError, match="cannot be loaded"):
        cer.evaluate("m", data, recognizer=broken, out=out, overwrite=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == kept
    assert cer.evaluate("m", data, recognizer=heard, out=out, overwrite=True).cer == first.cer == 0.0
    assert not (out / ASIDE).exists()
