"""Files older than torch 1.6, which torch reads. Oracle: torch.save with the zip format off, torch's values."""

import numpy as np
import pytest

from convert.checkpoint import open_checkpoint
from convert.legacy_file import read_legacy
from convert.torch_tensors import OddTensor
from mlx_model.errors import CheckpointError

torch = pytest.importorskip("torch")


def save(tmp_path, value):
    torch.save(value, tmp_path / "model.pb", _use_new_zipfile_serialization=False)
    return tmp_path / "model.pb"


def test_every_type_and_look_is_read_as_torch_reads_it(tmp_path):
    value = {
        "half": torch.randn(3).half(), "brain": torch.tensor([1.5, -2.25], dtype=torch.bfloat16),
        "turned": torch.arange(6.0).reshape(2, 3).T, "scalar": torch.tensor(3), "empty": torch.ones(0, 4),
    }  # fmt: skip
    found = open_checkpoint(save(tmp_path, {"net": {f"_orig_mod.{name}": tensor for name, tensor in value.items()}}))
    assert found.read("brain").tolist() == [0x3FC0, 0xC010]
    for name in ("half", "turned", "scalar", "empty"):
        np.testing.assert_array_equal(found.read(name), value[name].numpy())
        found.release(name)
    found.check()
    assert found.notes[0] == "model.pb is in the format of torch before 1.6, which has no checksums"
    assert found.notes[1].startswith("weights taken from 'net'")


def test_tensors_that_are_no_plain_numbers_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="tensor 'w' is a sparse tensor"):
        open_checkpoint(save(tmp_path, {"w": torch.eye(2).to_sparse()}))
    assert isinstance(read_legacy(save(tmp_path, {"w": torch.ones(1, device="meta")})).content["w"], OddTensor)


def test_a_dict_that_occurs_twice_is_read_once(tmp_path):
    shared = {"w": torch.ones(2)}
    content = read_legacy(save(tmp_path, {"a": shared, "b": shared})).content
    assert content["a"] is content["b"]
