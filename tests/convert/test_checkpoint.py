"""Weight files of every nesting and damage. Oracles: torch.save writes them, torch's own values, hand-made garbage."""

import json
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from convert.checkpoint import open_checkpoint
from mlx_model.errors import CheckpointError

torch = pytest.importorskip("torch")


def state(dtype=torch.float32):
    return OrderedDict(a=torch.tensor([[1.5, -2.25]], dtype=dtype), b=torch.arange(3).to(dtype))


def save(tmp_path: Path, value, **options) -> Path:
    path = tmp_path / "model.pt"
    torch.save(value, path, **options)
    return path


def values(path: Path) -> dict[str, list]:
    found = open_checkpoint(path)
    return {name: found.read(name).tolist() for name in found.infos}


EXPECTED = {"a": [[1.5, -2.25]], "b": [0, 1, 2]}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s},
        lambda s: {"model_state_dict": s, "epoch": 3},
        lambda s: {"model": s, "optimizer": {"lr": 1e-3}},
        lambda s: {"state_dict": {"model": s}},
        lambda s: {f"module.{name}": value for name, value in s.items()},
        lambda s: {"model": {f"module.{name}": value for name, value in s.items()}},
    ],
)
@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_every_nesting_of_both_formats_gives_the_same_tensors(tmp_path, wrap, options):
    assert values(save(tmp_path, wrap(state()), **options)) == EXPECTED


def test_what_stands_beside_the_weights_is_noted(tmp_path):
    found = open_checkpoint(
        save(tmp_path, {"state_dict": state(), "epoch": 7, "optimizer": {}, "loss": np.float64(0.5)})
    )
    assert found.notes == ["beside 'state_dict' in the checkpoint, not read: epoch, loss, optimizer"]


def test_an_entry_that_is_no_tensor_is_noted(tmp_path):
    found = open_checkpoint(save(tmp_path, {**state(), "steps": 12}))
    assert list(found.infos) == ["a", "b"]
    assert found.notes == ["entry 'steps' of the checkpoint is a int, not a tensor: ignored"]


@pytest.mark.parametrize(("dtype", "name"), [(torch.float16, "float16"), (torch.float64, "float64")])
def test_float_types_keep_their_values(tmp_path, dtype, name):
    path = save(tmp_path, state(dtype))
    assert open_checkpoint(path).infos["a"].dtype == name
    assert values(path) == EXPECTED


def test_bfloat16_is_carried_as_its_bits(tmp_path):
    found = open_checkpoint(save(tmp_path, state(torch.bfloat16)))
    assert found.infos["a"].dtype == "bfloat16"
    assert found.read("a").tolist() == [[0x3FC0, 0xC010]]


def test_views_and_shared_storage_are_read_as_they_look(tmp_path):
    base = torch.arange(6.0).reshape(2, 3)
    path = save(tmp_path, {"t": base.T, "row": base[1], "base": base})
    assert values(path) == {"t": [[0, 3], [1, 4], [2, 5]], "row": [3, 4, 5], "base": [[0, 1, 2], [3, 4, 5]]}


def test_released_memory_reads_back_the_same(tmp_path):
    expected = torch.randn(300, 300)
    found = open_checkpoint(save(tmp_path, {"w": expected, "v": torch.ones(5)}))
    first = found.read("w").copy()
    found.release("w")
    np.testing.assert_array_equal(found.read("w"), first)
    np.testing.assert_array_equal(first, expected.numpy())


class Hostile:
    def __reduce__(self):
        return (open, ("/tmp/mlx_funasr_was_here", "w"))


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path, options):
    with pytest.raises(CheckpointError, match=r"pickle asks for .*open.*, which could run code"):
        open_checkpoint(save(tmp_path, {"state_dict": state(), "x": Hostile()}, **options))
    assert not Path("/tmp/mlx_funasr_was_here").exists()


def test_a_bare_pickle_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(CheckpointError, match=r"model\.pt"):
        open_checkpoint(path)
    assert not Path("/tmp/mlx_funasr_was_here").exists()


def test_every_truncation_is_refused_in_one_line(tmp_path):
    whole = save(tmp_path, {"w": torch.randn(2000), "v": torch.randn(3)}).read_bytes()
    for keep in [1, 3, 4, 100, 600, len(whole) // 2, len(whole) - 200, len(whole) - 1]:
        path = tmp_path / "cut.pt"
        path.write_bytes(whole[:keep])
        with pytest.raises(CheckpointError) as caught:
            open_checkpoint(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_legacy_file_that_is_cut_is_refused(tmp_path):
    whole = save(tmp_path, {"w": torch.randn(2000)}, _use_new_zipfile_serialization=False).read_bytes()
    path = tmp_path / "cut.pt"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"cut\.pt"):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"),
        (b"\x00" * 100, "not a torch checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"PK\x03\x04" + b"\x00" * 60, "truncated or damaged"),
        (b"\x80\x02garbage", "truncated or damaged"),
    ],
)
def test_what_is_no_checkpoint_is_refused_with_the_likely_reason(tmp_path, raw, reason):
    path = tmp_path / "model.pt"
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match=reason):
        open_checkpoint(path)


def test_a_zip_without_a_checkpoint_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "hello")
    with pytest.raises(CheckpointError, match=r"model\.pt is a zip archive of something else \(it holds 'a\.txt'\)"):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([1, 2], "holds a list"),
        ({"epoch": 3}, "holds no tensors"),
        ({"module": {"a": torch.ones(0), "b": torch.ones(0)}, "ds_version": "0.14"}, "ZeRO stage 3.*zero_to_fp32"),
        ({}, "holds no tensors"),
        ({0: torch.ones(1)}, "name is 0"),
        ({"w": torch.ones(2).to_sparse()}, "sparse"),
        ({"w": torch.ones(2, dtype=torch.complex64)}, "complex64"),
        ({"a": torch.ones(1), "module.a": torch.ones(1)}, "'a' twice"),
    ],
)
def test_contents_that_are_no_state_dict_are_refused(tmp_path, value, reason):
    with pytest.raises(CheckpointError, match=reason):
        open_checkpoint(save(tmp_path, value))


def test_a_torchscript_archive_is_refused(tmp_path):
    import warnings

    path = tmp_path / "model.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates TorchScript, old exports exist all the same
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    with pytest.raises(CheckpointError, match=r"model\.pt"):
        open_checkpoint(path)


def test_shards_of_torch_files_are_read_through_their_index(tmp_path):
    torch.save({"module.a": torch.ones(2)}, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save({"module.b": torch.zeros(1)}, tmp_path / "pytorch_model-00002-of-00002.bin")
    names = {"module.a": "pytorch_model-00001-of-00002.bin", "module.b": "pytorch_model-00002-of-00002.bin"}
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": names}), "utf-8")
    assert values(index) == {"a": [1, 1], "b": [0]}
    torch.save({"module.a": torch.ones(2)}, tmp_path / "pytorch_model-00002-of-00002.bin")
    with pytest.raises(CheckpointError, match=r"00002\.bin holds tensor 'module\.a', which stands in another file"):
        open_checkpoint(index)
