"""`convert` said "no tensor is called ..." of weights that torch.compile, DeepSpeed, Lightning or LoRA had touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convert
from mlx_model.errors import CheckpointError
from tests.conftest import ROOT

torch = pytest.importorskip("torch")

CHECKPOINT = ROOT / "parity/demo/model"


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    return torch.load(CHECKPOINT / "model.pt", weights_only=True)


@pytest.fixture
def source(tmp_path: Path) -> Callable[[Any], Path]:
    def make(content: Any) -> Path:
        (tmp_path / "src").mkdir()
        for name in ("config.yaml", "tokens.json", "am.mvn", "configuration.json"):
            (tmp_path / "src" / name).write_bytes((CHECKPOINT / name).read_bytes())
        torch.save(content, tmp_path / "src/model.pt")
        return tmp_path / "src"

    return make


def averaged(state: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in state.items()}


WRAPPERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "torch.compile": lambda s: {"state_dict": {f"_orig_mod.{name}": value for name, value in s.items()}},
    "compiled DDP": lambda s: {"model": {f"module._orig_mod.{name}": value for name, value in s.items()}},
    "DDP of compiled": lambda s: {f"_orig_mod.module.{name}": value for name, value in s.items()},
    "a compiled encoder": lambda s: {name.replace("encoder.", "encoder._orig_mod.", 1): v for name, v in s.items()},
    "DeepSpeed": lambda s: {"module": s, "ds_version": "0.14", "global_steps": 10, "optimizer": None},
    "net": lambda s: {"net": s, "epoch": 3},
    "Lightning": lambda s: {
        "pytorch-lightning_version": "2.2.0", "global_step": 9,
        "state_dict": {f"model.{name}": value for name, value in s.items()},
    },
    "EMA beside": lambda s: {"model": s, "model_ema": averaged(s)},
    "EMA among them": lambda s: {**s, **{f"ema.{name}": value for name, value in averaged(s).items()}},
}  # fmt: skip


@pytest.mark.parametrize("tool", WRAPPERS)
def test_the_weights_are_found_and_said(state, source, tool):
    report = convert.inspect(source(WRAPPERS[tool](state)))
    assert [row.source for row in report.tensors] == list(state)
    words = ("taken off the tensors' names", "weights taken from", "average of the weights")
    assert any(word in note for note in report.notes for word in words)


def test_lora_of_unknown_alpha_is_called_lora(state, source, tmp_path):
    name = next(name for name in state if name.endswith("self_attn.linear_q_k_v.weight"))
    rows, columns = state[name].shape
    matrices = {name.replace("weight", "lora_A"): torch.zeros(16, columns)}
    matrices |= {name.replace("weight", "lora_B"): torch.zeros(rows, 16)}
    with pytest.raises(CheckpointError, match=r"LoRA matrices beside the weights .* lora_B @ lora_A \* alpha / rank"):
        convert.convert(source({**state, **matrices}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_lora_that_the_configuration_describes_is_merged(state, source, tmp_path):
    name = next(name for name in state if name.endswith("self_attn.linear_q_k_v.weight"))
    rows, columns = state[name].shape
    a, b = torch.randn(4, columns), torch.randn(rows, 4)
    directory = source({**state, name.replace("weight", "lora_A"): a, name.replace("weight", "lora_B"): b})
    text = (directory / "config.yaml").read_text("utf-8")
    assert "encoder_conf:\n" in text
    described = text.replace("encoder_conf:\n", "encoder_conf:\n  lora_rank: 4\n  lora_alpha: 8\n")
    (directory / "config.yaml").write_text(described, "utf-8")
    convert.convert(directory, tmp_path / "out")
    from safetensors.numpy import load_file

    expected = (state[name].double() + b.double() @ a.double() * 2).float().numpy()
    np.testing.assert_array_equal(load_file(tmp_path / "out/model.safetensors")[name], expected)


@pytest.mark.filterwarnings("ignore")  # torch deprecates TorchScript; old exports exist all the same
def test_a_scripted_model_is_called_torchscript(state, source):
    directory = source(state)
    torch.jit.save(torch.jit.script(torch.nn.Linear(3, 3)), directory / "model.pt")
    with pytest.raises(CheckpointError, match="is a TorchScript archive"):
        convert.inspect(directory)
