"""A benchmark as tables for a README, against tables written by hand."""

from __future__ import annotations

from reports.bench_markdown import bench_table
from reports.schema import BenchReport, BenchRow, BenchSide


def report() -> BenchReport:
    """Two sides and one that is absent; one case that both ran, one that only this project ran."""
    rows = [
        BenchRow(case="cold start", side="mlx", median_s=0.5, ratio=None, stage="cold_start", peak_rss_mb=300.0),
        BenchRow(case="encoder, 10 s", side="mlx", median_s=0.25, ratio=None, speed=40.0, matmul_fraction=0.6),
        BenchRow(case="encoder, 10 s", side="funasr", median_s=1.25, ratio=0.2, peak_device_mb=900.0),
    ]
    sides = [
        BenchSide(name="mlx", what="", precision="float32", versions={"mlx": "0.32"}, disk_mb=880.4),
        BenchSide(name="funasr", what="", precision="float32", device="card", tokens_compared=50, tokens_different=2),
        BenchSide(name="sherpa", what="", precision="int8", absent="not installed"),
    ]
    return BenchReport(
        rows=rows, command="", machine="A CPU, 2 cores", matmul_gflops=120.0, sides=sides, notes=["as|is"]
    )


def test_the_table_is_the_one_written_by_hand() -> None:
    assert bench_table(report()).splitlines() == [
        "A CPU, 2 cores; float32 matrix products: 120 GFLOP/s. Medians; in brackets mlx's time over the side's, "
        "below 1 mlx is faster.",
        "",
        "|  | mlx | funasr | mlx, times real time | of the product rate |",
        "| --- | --- | --- | --- | --- |",
        "| cold start | 500.0 ms | – | – | – |",
        "| encoder, 10 s | 250.0 ms | 1.25 s (0.20) | 40.0 | 60% |",
        "",
        "| Side | Device | Versions | On disk | Peak memory, whole process | Peak on the device | Token ids |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| mlx, float32 | – | mlx 0.32 | 880 MB | 300 MB | – | – |",
        "| funasr, float32 | card |  | – | – | 900 MB | 2 of 50 differ |",
        "",
        "- as|is",
    ]


def test_nothing_measured_is_said() -> None:
    assert bench_table(BenchReport(rows=[], command="")) == "Nothing was measured.\n"
