"""Where the weights stand in a checkpoint. Oracle: FunASR's order (load_pretrained_model.py), dicts made by hand."""

from pathlib import Path

import numpy as np
import pytest

from convert.torch_tensors import OddTensor
from convert.unwrap import unwrap
from mlx_model.errors import CheckpointError


class Weight:
    """A tensor as unwrap sees it."""

    dtype = "float32"

    def __init__(self, *shape: int):
        self.shape = shape

    def read(self):
        return np.zeros(self.shape, np.float32)

    def release(self):
        pass


STATE = {"encoder.weight": Weight(2, 3), "encoder.bias": Weight(2)}
OTHER = {"encoder.weight": Weight(2, 3), "encoder.bias": Weight(2)}
ADAM = {"state": {0: {"exp_avg": Weight(2, 3), "step": Weight()}}, "param_groups": [{"lr": 0.1}]}
FUNASR = (
    "FunASR 1.4.16 looks for 'state_dict', 'model_state_dict' and 'model' only, and would leave every weight random"
)


def opened(content) -> tuple[object, list[str]]:
    notes: list[str] = []
    return unwrap(Path("model.pt"), content, notes), notes


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"state_dict": STATE},
        {"model_state_dict": STATE, "epoch": 3, "optimizer": ADAM},
        {"model": STATE, "optimizer": ADAM},
        {"state_dict": {"model_state_dict": {"model": STATE}}},
        {"state_dict": STATE, "model": OTHER},  # FunASR looks for state_dict first
        {"model": STATE, "net": OTHER},
        {"state_dict": STATE, "pytorch-lightning_version": "2.2", "optimizer_states": [ADAM], "callbacks": {}},
        {"epoch": 1, "state_dict": STATE, "optimizer": ADAM, "scheduler": {"last_epoch": 3}, "scaler_state": {}},
    ],
)  # fmt: skip
def test_what_funasr_finds_is_found_without_a_word_about_funasr(content):
    state, notes = opened(content)
    assert state is STATE
    assert not any("FunASR" in note for note in notes)


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ({"module": STATE, "ds_version": "0.14", "optimizer": ADAM, "param_shapes": [{"a": (2, 3)}]}, "'module'"),
        ({"net": STATE}, "'net'"),
        ({"network": STATE, "step": Weight()}, "'network'"),
        ({"model": {"net": STATE, "best": 0.5}}, "'model' / 'net'"),
        ({"net": {"weights": STATE}}, "'net' / 'weights'"),
        ({"generator": STATE, "optim_g": ADAM}, "'generator'"),
        ({"module": STATE, "frozen_param_fragments": {"a": Weight(9)}}, "'module'"),
        ({"params": STATE, "params_ema": OTHER}, "'params'"),
        ({"ema": STATE, "epoch": 3}, "'ema'"),
    ],
)
def test_what_funasr_does_not_find_is_found_and_said(content, where):
    state, notes = opened(content)
    assert state is STATE
    assert ("these weights are an average (EMA): the checkpoint holds no others" in notes) == ("'ema'" in where)
    assert notes[-1] == f"weights taken from {where}; {FUNASR}"


@pytest.mark.parametrize("name", ["ema", "model_ema", "ema_state_dict", "state_dict_ema", "EMA", "swa_model", "shadow"])
@pytest.mark.parametrize("key", ["model", "state_dict", "net"])
def test_an_average_beside_is_not_read_and_said(key, name):
    state, notes = opened({key: STATE, name: OTHER})
    assert state is STATE
    assert f"beside {key!r} in the checkpoint, not read: {name}" in notes
    assert any(note.startswith(f"{name} is an average of the weights (EMA): not read") for note in notes)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"generator": STATE, "decoder_net": OTHER}, ["'generator'", "'decoder_net'"]),
        ({"net": STATE, "module": OTHER}, ["'net'", "'module'"]),
        ({"net": STATE, "encoder.weight": Weight(2, 3)}, ["'net'", "'encoder.weight'"]),
    ],
)
def test_two_sets_of_weights_are_refused_and_both_named(content, named):
    with pytest.raises(CheckpointError) as caught:
        opened(content)
    assert "several things that could be the weights" in str(caught.value)
    assert all(name in str(caught.value) for name in named)


def test_the_weights_with_a_dict_of_other_things_among_them_are_the_weights():
    content = {**STATE, "optimizer": ADAM, "ema": OTHER}
    assert opened(content)[0] is content


@pytest.mark.parametrize(
    ("content", "kind"),
    [([STATE], "list"), (Weight(2), "single tensor"), (OddTensor("sparse"), "single tensor"), (3, "int")],
)  # fmt: skip
def test_what_is_no_dict_is_refused(content, kind):
    with pytest.raises(CheckpointError, match=f"model.pt holds a {kind}, expected a state dict"):
        opened(content)


def test_dicts_that_hold_each_other_end():
    ring: dict = {"a": 1}
    ring["b"] = ring
    wide = {f"k{i}": {} for i in range(300)}
    for value in wide.values():
        value.update(wide)  # 300 ** depth paths
    assert opened(ring)[0] is ring
    assert opened(wide)[0] is wide
