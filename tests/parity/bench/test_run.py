"""The bench for real, on the demo checkpoint: child processes, FunASR's export, ids compared. Times are not judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mlx_funasr
from parity.bench import bench, peers, rounds
from parity.bench.cases import CASES
from parity.demo import MODEL
from reports import schema
from reports.bench_markdown import bench_table

pytestmark = [pytest.mark.slow, pytest.mark.reference]

STAGES = set(CASES)


@pytest.fixture(autouse=True)
def no_waiting_for_a_quiet_machine(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rounds, "wait_for_quiet", lambda: None)


def test_the_command_against_funasr(converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    options = f"--source {MODEL} --against funasr --seconds 3 --batch 2 --rounds 1 --out {tmp_path} --json"
    assert mlx_funasr.app(["bench", str(converted), *options.split()], standalone_mode=False) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "bench/1"
    assert document["verdict"] == "pass"
    report = schema.read(tmp_path / "bench.json")
    assert {(row.stage, row.side) for row in report.rows} == {(s, side) for s in STAGES for side in ("mlx", "funasr")}
    assert len(report.rows) == 2 * (6 + 1)
    assert all(row.median_s > 0 and row.peak_rss_mb for row in report.rows)
    assert all((row.ratio is None) == (row.side == "mlx") for row in report.rows)
    sides = {side.name: side for side in report.sides}
    assert (sides["funasr"].tokens_different, sides["funasr"].absent) == (0, None)
    assert sides["funasr"].tokens_compared > 10
    assert (sides["mlx"].judged, sides["funasr"].judged) == (True, True)
    assert report.empty_us is not None
    assert report.empty_us > 0
    assert sides["funasr"].disk_mb == pytest.approx(7.8, abs=0.1)  # model.pt and what lies beside it
    assert report.matmul_gflops is not None
    assert report.environment["threads"] >= 1
    assert (tmp_path / "bench.html").is_file()
    assert (tmp_path / "bench.md").read_text("utf-8") == bench_table(report)
    assert not any("another text" in note for note in report.notes)
    assert (sides["mlx"].device[:6], sides["funasr"].device) == ("Device", "CPU")


@pytest.mark.parametrize("name", [name for name, peer in peers.PEERS.items() if peer.folder is not None])
def test_peers_that_are_installed_recognise_the_same(
    name: str, converted: Path, tmp_path_factory: pytest.TempPathFactory
):
    if reason := peers.missing(peers.PEERS[name], "cpu"):
        pytest.skip(reason)
    kept = tmp_path_factory.getbasetemp() / "exports"  # made once for all peers
    asked: dict[str, Any] = {"seconds": [3], "batch": [2], "rounds": 1, "stages": ["network", "end_to_end"]}
    report = bench(converted, against=[name], source=str(MODEL), exports=kept, **asked)
    side = report.sides[1]
    assert (side.name, side.absent) == (name, None)
    assert side.tokens_compared > 10
    assert report.verdict == ""  # another than FunASR itself decides nothing
    if side.precision == "float32":
        assert side.tokens_different == 0
    assert side.disk_mb is not None
    assert side.disk_mb > 1
