"""Makes BiCifParaformer directories with random weights, and asks FunASR what it hears. In a process of its own.

    python make_bicif.py REQUEST.json

REQUEST: {"folder", "configs": {name: config.yaml}, "recordings": [path]}. Writes folder/NAME, and folder/answers.json:
{name: [answer or {"error"} per recording]}.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

from make_checkpoints import build


def bent(directory: Path) -> None:
    """Let more frames weigh something in both heads, so that there are tokens and peaks."""
    import torch

    state = torch.load(directory / "model.pt", weights_only=True)
    state["predictor.cif_output.weight"] *= 8.0
    state["predictor.cif_output.bias"][:] = -1.0
    state["predictor.cif_output2.weight"] *= 12.0
    state["predictor.cif_output2.bias"][:] = -0.5
    state["decoder.output_layer.bias"] *= 0.1
    torch.save(state, directory / "model.pt")


def answers(directory: Path, recordings: list[str]) -> list[dict[str, Any]]:
    """Return {text, timestamp} of each recording, or {error}."""
    from funasr import AutoModel

    model = AutoModel(model=str(directory), device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR")
    found: list[dict[str, Any]] = []
    for path in recordings:
        try:
            rows = model.generate(input=path)
            found.append({"text": rows[0]["text"], "timestamp": rows[0].get("timestamp", [])})
        except IndexError:
            found.append({"error": "IndexError"})
    return found


if __name__ == "__main__":
    request = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    said = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for number, (name, config) in enumerate(request["configs"].items()):
            build(config, Path(request["folder"]) / name, number)
            bent(Path(request["folder"]) / name)
            said[name] = answers(Path(request["folder"]) / name, request["recordings"])
    (Path(request["folder"]) / "answers.json").write_text(json.dumps(said, ensure_ascii=False), "utf-8")
