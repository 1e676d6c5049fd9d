"""Converts a full-size random Paraformer (220,084,533 parameters, 881 MB), each time in its own process: time, memory.

    python benchmarks/convert_full_size.py [--source DIR] [--dtype float32] [--rounds 5]

Two sides in turn: ours, with torch blocked, and the way before it (torch.load, memory-mapped, weights_only) in the
place of convert/checkpoint.py; the latter compares no checksums. full_size_checkpoint.py builds the checkpoint once
(needs torch and funasr); it is kept in --source. Exit code 1 where ours is slower than 1.0 times torch's median or its
peak memory (ru_maxrss of the whole process, imports included) exceeds 0.6 times model.pt.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from full_size_checkpoint import DEFAULT, PARAMETERS, ensure

ROOT = Path(__file__).resolve().parent.parent
TIME_LIMIT = 1.0  # times the torch side
MEMORY_LIMIT = 0.6  # times the size of model.pt

OURS = """
sys.modules["torch"] = None
"""

# The reader before this one, in the shape that convert/planning.py expects.
TORCH = """
import ctypes, mmap
from types import SimpleNamespace
from convert import planning
from convert.safetensors_file import TensorInfo

def open_with_torch(path, **options):
    import torch
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    def release(name):
        storage = state[name].untyped_storage()
        begin = -(-storage.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (storage.data_ptr() + storage.nbytes()) // mmap.PAGESIZE * mmap.PAGESIZE
        if end > begin:
            ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED)
    infos = {name: TensorInfo(name=name, shape=tuple(value.shape), dtype=str(value.dtype).removeprefix("torch."))
             for name, value in state.items()}
    return SimpleNamespace(infos=infos, notes=[], files=[path], release=release, check=lambda: None,
                           read=lambda name: state[name].detach().contiguous().numpy())
planning.open_checkpoint = open_with_torch
"""

CHILD = """
import json, resource, sys, time
start = time.perf_counter()
{side}
import convert
report = convert.convert(sys.argv[1], sys.argv[2], dtype=sys.argv[3])
wall_s = time.perf_counter() - start
unit = 1 if sys.platform == "darwin" else 1024
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
print(json.dumps({{"wall_s": wall_s, "peak_rss_mb": peak / 1e6, "parameters": report.parameters,
                  "torch": sys.modules.get("torch") is not None}}))
"""


def measure(side: str, source: Path, dtype: str, out: Path | None = None) -> dict:
    """Return wall time and peak memory of one conversion in a new process; it is kept where `out` says so."""
    scratch = Path(tempfile.mkdtemp(prefix="convert-full-size-"))
    try:
        found = subprocess.run(
            [sys.executable, "-c", CHILD.format(side=side), str(source), str(out or scratch / "out"), dtype], cwd=ROOT,
            check=True, stdout=subprocess.PIPE, text=True, timeout=600,
        )  # fmt: skip
    finally:
        shutil.rmtree(scratch)
    return json.loads(found.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=DEFAULT)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    size_mb = (ensure(options.source) / "model.pt").stat().st_size / 1e6
    runs: dict[str, list[dict]] = {"ours": [], "torch": []}
    for _ in range(options.rounds + 1):  # the first round warms the page cache and is not counted
        for name, side in (("ours", OURS), ("torch", TORCH)):
            runs[name].append(measure(side, options.source, options.dtype))
    median = {name: statistics.median(run["wall_s"] for run in found[1:]) for name, found in runs.items()}
    peak = {name: max(run["peak_rss_mb"] for run in found) for name, found in runs.items()}
    ratio, share = median["ours"] / median["torch"], peak["ours"] / size_mb
    assert not any(run["torch"] for run in runs["ours"]), "the side without torch loaded it"
    whole = all(run["parameters"] == PARAMETERS for found in runs.values() for run in found)
    passed = ratio <= TIME_LIMIT and share <= MEMORY_LIMIT and whole
    print(json.dumps({"passed": passed, "model_mb": size_mb, "median_s": median, "ratio": ratio, "peak_rss_mb": peak,
                      "peak_over_file": share, "runs": runs}, indent=1))  # fmt: skip
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
