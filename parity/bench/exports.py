"""What the peers load, made from the same checkpoint: FunASR's ONNX export, its int8 form, funasr-mlx's own format.

`Exports` runs each step once, in a process of its own (`python -m parity.bench.exports STEP SOURCE FOLDER`), where
torch and funasr are. A step's result is written beside its place and renamed when whole.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlx_model.machine import children
from parity.bench.peer import Peer
from parity.bench.sides import LONGEST_REASON, SideError, child_environment, ended

ASSETS = ("config.yaml", "am.mvn", "tokens.json")
MADE = {"onnx": "onnx/model.onnx", "int8": "onnx/model_quant.onnx", "funasr-mlx": "funasr-mlx/config.json"}


class Exports:
    """The folder of one checkpoint's exports; `path(peer)` makes what is missing."""

    def __init__(self, source: str | None, folder: Path, log: Path):
        self.source, self.folder, self.log = source, folder, log
        self.failed: dict[str, str] = {}

    def path(self, peer: type[Peer]) -> Path | str:
        """Return what the peer loads.

        Raises:
            SideError: there is no source, or a step failed (now or for an earlier peer).
        """
        if self.source is None:
            raise SideError(peer.name, "needs the FunASR checkpoint the model was converted from: --source SRC")
        for step in peer.exports:
            if step not in self.failed and not (self.folder / MADE[step]).exists():
                self._run(step, self.source)
            if step in self.failed:
                raise SideError(peer.name, f"{step} export failed: {self.failed[step]}")
        return self.source if peer.folder is None else self.folder / peer.folder

    def _run(self, step: str, source: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "parity.bench.exports", step, source, str(self.folder)]
        with self.log.open("ab") as log:
            log.write(f"\n==== {step}\n".encode())
            log.flush()
            environment = child_environment(os.cpu_count() or 1)
            with children.started(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as child:
                code = child.wait()
        if code:
            lines = self.log.read_text("utf-8", "replace").strip().splitlines()
            self.failed[step] = ended(code) if code < 0 else lines[-1][:LONGEST_REASON]


# ---- the child's side: everything below runs beside torch and funasr


def export_onnx(auto: Any, folder: Path) -> None:
    """Write onnx/: FunASR's export by torch's TorchScript exporter, sherpa-onnx's metadata added, and the assets.

    Mirrors nothing: it is `AutoModel.export` itself. torch's newer exporter (dynamo) cannot trace FunASR's CIF.
    """
    import torch

    made = folder / "onnx.partial"
    shutil.rmtree(made, ignore_errors=True)
    torch.onnx.export = functools.partial(torch.onnx.export, dynamo=False)
    auto.export(type="onnx", quantize=False, output_dir=str(made), device="cpu")
    _copy_assets(auto, made)
    tokens = json.loads((made / "tokens.json").read_text("utf-8"))
    _add_metadata(made / "model.onnx", auto, len(tokens))
    lines = [f"{token} {number}\n" for number, token in enumerate(tokens)]
    (made / "tokens.txt").write_text("".join(lines), "utf-8")
    os.replace(made, folder / "onnx")


def _add_metadata(path: Path, auto: Any, vocab_size: int) -> None:
    """Add what sherpa-onnx reads. Mirrors its scripts/paraformer/add-model-metadata.py."""
    import onnx  # pyright: ignore[reportMissingImports]

    frontend = auto.kwargs["frontend"]
    shift, scale = (",".join(map(str, row)) for row in frontend.cmvn.tolist())
    facts = {
        "model_type": "paraformer", "version": "1", "model_author": "FunASR", "vocab_size": str(vocab_size),
        "lfr_window_size": str(frontend.lfr_m), "lfr_window_shift": str(frontend.lfr_n),
        "neg_mean": shift, "inv_stddev": scale,
    }  # fmt: skip
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, facts)
    onnx.save(model, str(path))


def quantize(auto: Any, folder: Path) -> None:
    """Write onnx/model_quant.onnx. Mirrors funasr/utils/export_utils.py::_onnx, its `quantize` part."""
    import onnx  # pyright: ignore[reportMissingImports]
    from onnxruntime.quantization import QuantType, quantize_dynamic  # pyright: ignore[reportMissingImports]

    source, made = folder / "onnx" / "model.onnx", folder / "onnx" / "model_quant.partial"
    names = [node.name for node in onnx.load(str(source)).graph.node]
    excluded = [name for name in names if any(part in name for part in ("output", "bias_encoder", "bias_decoder"))]
    quantize_dynamic(
        model_input=source, model_output=made, op_types_to_quantize=["MatMul"], per_channel=True, reduce_range=False,
        weight_type=QuantType.QUInt8, nodes_to_exclude=excluded,
    )  # fmt: skip
    os.replace(made, folder / MADE["int8"])


def convert_funasr_mlx(auto: Any, folder: Path) -> None:
    """Write funasr-mlx/ by its own converter, float32.

    Its configuration wants two things said that FunASR finds out by itself: the vocabulary's size, the CMVN's file.
    """
    import yaml
    from funasr_mlx.checkpoints import convert_checkpoint  # pyright: ignore[reportMissingImports]

    made, weights = folder / "funasr-mlx.partial", Path(auto.kwargs["init_param"])
    shutil.rmtree(made, ignore_errors=True)
    config = yaml.safe_load((weights.parent / "config.yaml").read_text("utf-8"))
    config["model_conf"] = {**config.get("model_conf", {}), "vocab_size": len(auto.kwargs["token_list"])}
    config["frontend_conf"] = {**config["frontend_conf"], "cmvn_file": "am.mvn", "dither": 0.0}
    convert_checkpoint(weights, made, model="paraformer", dtype="float32", config=config)
    _copy_assets(auto, made)
    os.replace(made, folder / "funasr-mlx")


def _copy_assets(auto: Any, made: Path) -> None:
    directory = Path(auto.kwargs["init_param"]).parent
    for name in ASSETS:
        shutil.copy(directory / name, made / name)


STEPS: dict[str, Callable[[Any, Path], None]] = {
    "onnx": export_onnx,
    "int8": quantize,
    "funasr-mlx": convert_funasr_mlx,
}


def main(step: str, source: str, folder: str) -> int:
    """Do one step."""
    from parity.sides.reference import load

    STEPS[step](load(source) if step != "int8" else None, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
