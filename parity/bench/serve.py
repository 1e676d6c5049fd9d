"""The child's end: `python -m parity.bench.serve NAME PATH THREADS DEVICE DTYPE DROPPED...` loads one peer and answers.

Must not import mlx or torch before the peer does.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

from parity.bench.cases import EMPTY_RUNS, PRODUCT, PRODUCT_RUNS
from parity.bench.peer import Peer
from parity.bench.peers import PEERS
from parity.bench.sides import serve, timed


class Answers:
    """One peer's answers: `check` puts recordings in place, warms up and tells the results; then one run a request."""

    def __init__(self, peer: Peer):
        self.peer = peer

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to one request, with the peak memory while it was worked on."""
        known = reset_peak()
        self.peer.reset_device_peak()
        answer = getattr(self, f"do_{request['do']}")(request)
        return {**answer, "peak_mb": peak_mb() if known else None, "device_peak_mb": self.peer.device_peak_mb()}

    def do_facts(self, _: dict[str, Any]) -> dict[str, Any]:
        """What computes, and on which kind of device."""
        peer = self.peer
        named = {"library": peer.library, "device": peer.device, "device_name": peer.device_name}
        return {**named, "numerics": peer.numerics, "job": peer.job}

    def do_product(self, _: dict[str, Any]) -> dict[str, Any]:
        """GFLOP/s of the fastest square product, and the microseconds of what is empty; None where a side has none."""
        empty = self.peer.empty()
        waits = [] if empty is None else [1e6 * timed(empty) for _ in range(EMPTY_RUNS)]
        found = {"empty_us": statistics.median(waits) if waits else None}
        rows = PRODUCT.get((self.peer.device, self.peer.dtype))
        product = None if rows is None else self.peer.product(rows)
        if rows is None or product is None:
            return {**found, "gflops": None}
        product()
        return {**found, "gflops": 2e-9 * rows**3 / min(timed(product) for _ in range(PRODUCT_RUNS))}

    def do_check(self, request: dict[str, Any]) -> dict[str, Any]:
        """Token ids, or ms, of one batch by `stages` and by `transcribe`, and its texts; the runs are the warm-up."""
        peer, ids = self.peer, {}
        peer.put(request["files"])
        peer.ids = []
        texts = peer.transcribe(request["files"])
        ids["files"], peer.ids = peer.ids, []
        list(peer.stages())
        names = list(peer.stages())
        ids["stages"] = peer.ids
        return {"ids": {run: rows for run, rows in ids.items() if rows}, "stages": names, "texts": texts}

    def do_stages(self, _: dict[str, Any]) -> dict[str, Any]:
        """Seconds of every stage, one after the other."""
        found, start = {}, time.perf_counter()
        for stage in self.peer.stages():
            found[stage], start = time.perf_counter() - start, time.perf_counter()
        return {"seconds": found}

    def do_files(self, request: dict[str, Any]) -> dict[str, Any]:
        """Seconds from files to text."""
        return {"seconds": {"end_to_end": timed(lambda: self.peer.transcribe(request["files"]))}}


def reset_peak() -> bool:
    """Let the peak of this process's resident size begin at its present size; False where the system cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_mb() -> float:
    """Return the largest resident size of this process since `reset_peak`, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6


def main(name: str, path: str, threads: str, beside: str, dtype: str, *dropped: str) -> int:
    """Be the side of that name; `beside` and `dtype` are those of `Peer`."""
    return serve(lambda: Answers(PEERS[name](path, int(threads), [*map(int, dropped)], beside=beside, dtype=dtype)))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
