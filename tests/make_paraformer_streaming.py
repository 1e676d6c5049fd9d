"""Makes ParaformerStreaming directories with random weights, and asks FunASR what it hears, call by call.

    python make_paraformer_streaming.py REQUEST.json

In a process of its own. REQUEST: {"folder", "configs": {name: config.yaml}, "ready": {name: directory}, "calls": [{
"model", "recording" (.npy), "cuts": [samples, ...], "case": {chunk_size, ...}}]}. Writes folder/NAME for each of
configs, and folder/answers.json: for each of calls {"texts": [of each call], "ids": [[of each window that spoke] of each
call]}. The last cut is the final call.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from make_checkpoints import build


def bent(directory: Path) -> None:
    """Let more frames weigh something, so that there are tokens, and neighbouring ones differ."""
    import torch

    state = torch.load(directory / "model.pt", weights_only=True)
    state["predictor.cif_output.weight"] *= 8.0
    state["predictor.cif_output.bias"][:] = -1.0
    state["decoder.output_layer.bias"] *= 0.1
    torch.save(state, directory / "model.pt")


def watch(seen: list[list[int]]) -> None:
    """Let the ids of every window that spoke be appended to a list."""
    from funasr.tokenizer.char_tokenizer import CharTokenizer

    whole = CharTokenizer.ids2tokens

    def watched(self: Any, ids: list[int]) -> list[str]:
        seen.append([int(one) for one in ids])
        return whole(self, ids)

    CharTokenizer.ids2tokens = watched


def loaded(directory: Path) -> Any:
    """Return FunASR's model, without noise."""
    from funasr import AutoModel

    model = AutoModel(model=str(directory), device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR")
    model.kwargs["frontend"].dither = 0.0
    return model


def answer(model: Any, seen: list[list[int]], call: dict[str, Any]) -> dict[str, Any]:
    """Return texts and ids of one recording that is fed as the call says."""
    samples, cache, at = np.load(call["recording"]), {}, 0
    texts, ids = [], []
    for number, cut in enumerate(call["cuts"]):
        seen.clear()
        final = number == len(call["cuts"]) - 1
        given = samples[at : at + cut]
        at += cut
        (row,) = model.generate(input=given, cache=cache, is_final=final, **call["case"])
        texts.append(row["text"])
        ids.append(list(seen))
    return {"texts": texts, "ids": ids}


if __name__ == "__main__":
    request = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    folder, said, models, spoken = Path(request["folder"]), [], {}, []
    watch(spoken)
    with contextlib.redirect_stdout(io.StringIO()):
        for number, (name, config) in enumerate(request["configs"].items()):
            build(config, folder / name, number)
            bent(folder / name)
        for each in request["calls"]:
            name = each["model"]
            if name not in models:
                models[name] = loaded(Path(request.get("ready", {}).get(name, folder / name)))
            said.append(answer(models[name], spoken, each))
    (folder / "answers.json").write_text(json.dumps(said, ensure_ascii=False), "utf-8")
