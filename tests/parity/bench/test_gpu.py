"""The bench on a GPU, without one: fakes that say they have it, and the sides' own steps of a GPU on the CPU."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from parity.bench import bench, peers
from parity.bench.findings import differing
from parity.bench.sides import Side, SideError, child_environment
from parity.bench.speech import Speech
from parity.demo import MODEL
from reports.bench_markdown import bench_table
from tests import forked
from tests.parity.bench.bench_fakes import CONFIG, OURS, Fake

GPU_PEERS = ["funasr-float16", "funasr-bfloat16", "funasr-compiled"]
PARTS = ["frontend", "encoder", "predictor", "decoder"]
# A side as on a GPU, computing on the CPU: its steps are those of a GPU, nothing waits for CUDA.
AS_ON_A_GPU = """
import sys
from parity.bench.peers import PEERS
from parity.bench.serve import Answers
from parity.bench.sides import serve
def make():
    if sys.argv[1] == "mlx":
        from mlx_model.machine import device
        device.on_gpu = lambda: True
    peer = PEERS[sys.argv[1]](sys.argv[2], 2, [0, 1, 2], dtype=sys.argv[3])  # blank, sos, eos
    peer.device = "gpu"
    return Answers(peer)
sys.exit(serve(make))
"""


def test_a_gpu_and_its_precisions(model: Path, stage_set: dict[str, Fake]):
    """Rates are those of a side's device and precision; half precision is counted, and float32 still judged."""
    (model / "config.json").write_text(json.dumps({**CONFIG, "dtype": "float16"}), "utf-8")
    whole = {**OURS, "network": 1.5}  # measured in one go
    card = {"device": "gpu", "device_name": "the card", "job": "transcribe"}
    given = {"mlx": ([5, 6], 100.0), "funasr": ([5, 7], 40.0), "funasr-float16": ([5, 6], 200.0)}
    stage_set |= {name: Fake(whole, ids) for name, (ids, _) in given.items()}
    stage_set |= {"funasr-compiled": Fake(whole, [5]), "onnxruntime-int8": Fake(whole, [5, 6])}
    for name, fake in stage_set.items():
        fake.gflops = given[name][1] if name in given else None
        fake.device = card if name != "onnxruntime-int8" else fake.device
    asked = [name for name in stage_set if name != "mlx"]
    report = bench(model, against=asked, seconds=[10], batch=[1], rounds=1, stages=["network"])
    side = {side.name: side for side in report.sides}
    assert {name: item.precision for name, item in side.items()} == {
        "mlx": "float16", "funasr": "float32", "funasr-float16": "float16", "funasr-compiled": "float16",
        "onnxruntime-int8": "int8",
    }  # fmt: skip
    assert (side["mlx"].device, side["onnxruntime-int8"].device) == ("the card", "CPU")
    assert report.machine.endswith("; the card")
    row = {row.side: row for row in report.rows}
    rates = {"mlx": 200.0, "funasr": 40.0, "funasr-float16": 200.0, "funasr-compiled": 200.0}
    for name, rate in rates.items():
        assert row[name].matmul_fraction == pytest.approx((row[name].gflop or 0) / row[name].median_s / rate)
    assert row["onnxruntime-int8"].matmul_fraction is None
    assert row["mlx"].median_s in (pytest.approx(1.5), pytest.approx(1.65))  # not the sum of its parts
    assert (report.verdict, report.matmul_gflops) == ("", 200.0)
    assert "funasr (float32): 1 of 2 token ids differ, which the verdict does not ask" in report.notes
    assert "funasr-float16 (float16): 0 of 2 token ids differ, which the verdict does not ask" in report.notes
    assert any("left out for onnxruntime-int8 (int8)" in note for note in report.notes)
    assert any("every step ends when the device is done" in note for note in report.notes)
    assert "float16 matrix products: 200 GFLOP/s" in bench_table(report)
    assert "| mlx, float16 | the card |" in bench_table(report)


@pytest.mark.slow
@pytest.mark.reference
def test_what_is_for_a_gpu_only_is_named_absent_on_a_cpu(converted: Path):
    report = bench(
        converted, against=GPU_PEERS, source=str(MODEL), seconds=[1], batch=[1], rounds=1, stages=["encoder"]
    )
    assert {side.name: side.absent for side in report.sides[1:]} == dict.fromkeys(GPU_PEERS, peers.GPU_ONLY)
    assert f"funasr-compiled is absent: {peers.GPU_ONLY}" in report.notes
    assert report.verdict == ""


@pytest.mark.slow
@pytest.mark.reference
def test_beside_a_gpu_that_torch_does_not_see(tmp_path: Path):
    environment = {**child_environment(2), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "parity.bench.serve", "funasr-float16", str(MODEL), "2", "gpu", "float16"]
    with (
        Side("funasr-float16", command, environment, tmp_path / "log") as side,
        pytest.raises(SideError, match="finds no CUDA device: install torch's build for CUDA"),
    ):
        side.ask(do="facts")


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two recordings of 1.5 s."""
    return Speech().cut(1.5, 2, tmp_path_factory.mktemp("speech"))


def check(name: str, path: Path, dtype: str, speech: list[str], folder: Path) -> dict[str, Any]:
    """Return a side's answer to `check`, after one timed run of everything."""
    python = forked.python("command" if name == "mlx" else "funasr")
    command = [python, "-c", AS_ON_A_GPU, name, str(path), dtype]
    with Side(name, command, child_environment(2), folder / "log") as side:
        answer = side.ask(do="check", files=speech)
        assert list(side.ask(do="stages")["seconds"]) == [*PARTS, "network"] == answer["stages"]
        assert side.ask(do="files", files=speech)["seconds"]["end_to_end"] > 0
    return answer["ids"]


@pytest.fixture(scope="module")
def truth(speech: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[list[int]]:
    """FunASR's ids in float32."""
    return check("funasr", MODEL, "float32", speech, tmp_path_factory.mktemp("truth"))["stages"]


@pytest.mark.slow
@pytest.mark.reference
def test_our_steps_on_a_gpu(converted: Path, truth: list[list[int]], speech: list[str], tmp_path: Path):
    ids = check("mlx", converted, "float32", speech, tmp_path)
    assert ids == {"stages": truth, "files": truth}
    assert min(map(len, truth)) > 3


@pytest.mark.slow
@pytest.mark.reference
@pytest.mark.parametrize(
    ("name", "dtype"),
    [("funasr-float16", "float16"), ("funasr-bfloat16", "bfloat16"), ("funasr-compiled", "float32")],
)
def test_funasr_in_half_precision_and_compiled(
    name: str, dtype: str, truth: list[list[int]], speech: list[str], tmp_path: Path
):
    """Oracle: the same model in float32, eager. A trained model's choices mostly survive half precision, not all."""
    if name == "funasr-compiled" and shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler on a CPU")
    found = check(name, MODEL, dtype, speech, tmp_path)["stages"]
    different = sum(differing(ours, theirs) for ours, theirs in zip(truth, found, strict=True))
    assert different <= (0 if dtype == "float32" else sum(map(len, truth)) // 4)
