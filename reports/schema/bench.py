"""What a benchmark writes down: sides, and the timings of every case. Stdlib only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """One side of one case. `ratio` = this project's median over the peer's in the same run (below 1: it is faster).

    The ratio stands on the peers' rows where there are several peers (`bench`), on this project's row where there
    is one (benchmarks/). `spread_s` holds the samples, or [low, high]. The fields after `peak_rss_mb` (of the
    side's process while the case ran) are those of `bench`: which stage, for how long a recording and how many at
    once, the median over the audio's duration and its inverse, the operations of one run in 1e9 (counted from the
    configuration), the share of the machine's rate of matrix products they amount to (on the side's kind of device, in
    its precision; None where that is not known), the share of the cores that other processes used, and the most memory
    in use on the side's GPU.
    """

    case: str
    side: str
    median_s: float
    ratio: float | None
    spread_s: list[float] = field(default_factory=list)
    peak_rss_mb: float | None = None
    stage: str = ""
    seconds: float | None = None
    batch: int | None = None
    rtf: float | None = None
    speed: float | None = None
    gflop: float | None = None
    matmul_fraction: float | None = None
    noise: float | None = None
    peak_device_mb: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSide:
    """What was measured, or why not: `absent` is None, or the reason.

    `tokens_compared` with this project's own, of which `tokens_different` were others; `judged` where these decide the
    verdict: FunASR's own in float32, and this project's files against its stages. `disk_mb`: the files it loads.
    `device`: what it computed on.
    """

    name: str
    what: str
    precision: str
    versions: dict[str, str] = field(default_factory=dict)
    library: str = ""
    disk_mb: float | None = None
    absent: str | None = None
    tokens_compared: int = 0
    tokens_different: int = 0
    device: str = ""
    judged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """Timings of all sides, interleaved in one run on one machine.

    `verdict`: "fail" where token ids of a judged side differ, "pass" where FunASR's were compared, else "".
    `matmul_gflops`: the fastest matrix product of any side on this project's kind of device, in its precision.
    `instructions`: what the processor has, and `empty_us`: what waking this project's threads for nothing takes, on a
    GPU one kernel that computes nothing to speak of; by these hosts can be compared.
    """

    SCHEMA: ClassVar[str] = "bench/1"
    rows: list[BenchRow]
    command: str
    verdict: str = ""
    machine: str = ""
    matmul_gflops: float | None = None
    instructions: str = ""
    empty_us: float | None = None
    sides: list[BenchSide] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    numerics: dict[str, Any] = field(default_factory=dict)
