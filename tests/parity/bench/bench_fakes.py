"""What the bench's tests share: sides whose times are known, and fixtures that put them in the place of processes.

The fixtures are known to all tests here through conftest.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from parity.bench import peers, rounds
from parity.bench.contest import Contest
from parity.bench.jobs import TRANSCRIBE
from parity.bench.sides import SideError

CONFIG: dict[str, Any] = {
    "model_type": "paraformer",
    "vocab_size": 11,
    "frontend": {"lfr_m": 7, "lfr_n": 6},
    "encoder": {"output_size": 8, "attention_heads": 2, "linear_units": 16, "num_blocks": 3, "kernel_size": 5},
    "decoder": {"attention_heads": 2, "linear_units": 32, "num_blocks": 3, "att_layer_num": 2, "kernel_size": 7},
    "predictor_class": "CifPredictorV2",
    "predictor": {"idim": 8, "l_order": 1, "r_order": 1},
    "tokenizer": {},
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A converted directory as far as the bench's parent looks at it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG), "utf-8")
    return folder


class Fake:
    """A live side whose times, ids and manners are given."""

    class Child:
        pid = 1

    child = Child()

    def __init__(self, times: dict[str, float], ids: list[int], fails: str = ""):
        self.times, self.token_ids, self.fails, self.count = times, ids, fails, 0
        self.gflops = 50.0 if times["encoder"] == 1.0 else None
        self.device = {"device": "cpu", "device_name": "CPU", "job": TRANSCRIBE}
        self.texts = ["word"]

    def ask(self, **request: Any) -> dict[str, Any]:
        if request["do"] == self.fails:
            raise SideError("funasr", "RuntimeError: out of luck")
        self.count += 1
        answer: dict[str, Any] = {"peak_mb": 100.0}
        if request["do"] == "check":
            run = "stages" if self.device["job"] == TRANSCRIBE else "files"
            answer |= {"ids": {run: [self.token_ids] * len(request["files"])}} if self.token_ids else {"ids": {}}
            answer |= {"stages": list(self.times) if run == "stages" else [], "texts": self.texts}
        elif request["do"] == "product":
            answer |= {"gflops": self.gflops, "empty_us": 2.5 if self.times == OURS else None}
        elif request["do"] == "stages":
            answer |= {"seconds": {name: value * (1 + self.count % 2 / 10) for name, value in self.times.items()}}
        elif request["do"] == "files":
            answer |= {"seconds": {"end_to_end": 2.0 * self.times["encoder"]}}
        return answer

    def close(self, *, at_once: bool = False) -> None:
        pass


OURS = {"frontend": 0.1, "encoder": 1.0, "predictor": 0.2, "decoder": 0.4}
THEIRS = {"frontend": 0.2, "encoder": 2.0, "predictor": 0.4, "decoder": 0.4}


@pytest.fixture
def stage_set(monkeypatch: pytest.MonkeyPatch) -> dict[str, Fake]:
    """Fakes by name, taken instead of child processes; no waiting."""
    fakes: dict[str, Fake] = {}

    def start(self: Contest, name: str) -> dict[str, Any]:
        if name not in fakes:
            raise SideError(name, "is not installed: pip install it")
        self.sides[name], self.paths[name] = fakes[name], Path("/nowhere")  # pyright: ignore[reportArgumentType]
        if name == peers.OURS:
            self.device, self.job = fakes[name].device["device"], fakes[name].device["job"]
        return {"library": "by hand", **fakes[name].device}

    monkeypatch.setattr(Contest, "_start", start)
    monkeypatch.setattr(rounds, "SETTLE_S", 0.0)
    monkeypatch.setattr(rounds, "wait_for_quiet", lambda: None)
    monkeypatch.setattr(rounds.Noise, "share", lambda self: 0.0)
    return fakes
