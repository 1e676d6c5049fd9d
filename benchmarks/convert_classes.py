"""Conversion of every class of the Paraformer family at full size: peak memory over the file, bit for bit by torch.

    python benchmarks/convert_classes.py [FAMILY ...] [--folder DIR]

The classes' own random weights under seed 0 (those of cpu_networks.py and hotword_speed.py). A class at a time: built
and saved, converted in a process of its own without torch, whose peak memory (ru_maxrss, imports included) is printed
over the size of model.pt, and the tensors written held against torch.load's in another process, all bits, conversions'
transposes undone by shape. Exit code 1 above 1.3 times the file, or where a bit differs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from convert_full_size import OURS, measure

FAMILIES = ("paraformer", "bicif_paraformer", "seaco_paraformer", "contextual_paraformer", "monotonic_aligner")
LIMIT = 1.3  # times model.pt
BUILD = """
import sys
from pathlib import Path
import cpu_networks, full_size_checkpoint, hotword_speed
family, folder = sys.argv[1], Path(sys.argv[2])
if family == "seaco_paraformer":
    hotword_speed.build(folder)
else:
    full_size_checkpoint.build(folder, cpu_networks.CONVERTED.get(family, full_size_checkpoint.CONFIG))
"""
HELD = """
import json, sys
from pathlib import Path
import torch
from safetensors import safe_open
state = torch.load(sys.argv[1], map_location="cpu", weights_only=True, mmap=True)
written, differ = {}, []
for path in Path(sys.argv[2]).glob("*.safetensors"):
    with safe_open(path, "pt") as file:
        for name in file.keys():
            value, theirs = file.get_tensor(name), state.get(name)
            if theirs is None:
                continue
            turned = [theirs.permute(order) for order in ((0, 2, 1), (1, 2, 0), (0, 1, 2))] if theirs.ndim == 3 else []
            turned += [theirs, theirs.reshape(value.shape)] if theirs.numel() == value.numel() else []
            same = any(t.shape == value.shape and torch.equal(t.contiguous().view(torch.int32), value.view(torch.int32))
                       for t in turned)
            written[name] = value.numel()
            differ += [] if same else [name]
print(json.dumps({"tensors": len(written), "of": len(state), "elements": sum(written.values()), "differ": differ}))
"""


def child(code: str, *arguments: object) -> str:
    """Return what a process of its own prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent).stdout


def judged(family: str, folder: Path) -> dict[str, Any]:
    """Return peak memory, the file's size and what differs of one class; its files are gone afterwards."""
    source, target = folder / f"{family}-source", folder / f"{family}-mlx"
    child(BUILD, family, source)
    found = measure(OURS, source, "float32", target)
    held = json.loads(child(HELD, source / "model.pt", target).splitlines()[-1])
    size = (source / "model.pt").stat().st_size / 1e6
    shutil.rmtree(source)
    shutil.rmtree(target)
    return {"size_mb": size, "peak_mb": found["peak_rss_mb"], **held}


def main() -> int:
    """Judge every class, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", nargs="*", default=FAMILIES)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for family in given.family:
            found = judged(family, Path(folder))
            share = found["peak_mb"] / found["size_mb"]
            failed += share > LIMIT or bool(found["differ"])
            print(
                f"| {family} | {found['size_mb']:.0f} MB | peak {found['peak_mb']:.0f} MB, {share:.2f} of the file | "
                f"{found['tensors']} of {found['of']} tensors written, {len(found['differ'])} differ |", flush=True,
            )  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
