"""The streaming reader and writer. Oracle: the safetensors library itself, in both directions."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from convert.safetensors_file import SafetensorsReader, SafetensorsWriter, TensorInfo, shards
from mlx_model.errors import CheckpointError

TENSORS = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a.half": np.array([1.5, -2], dtype=np.float16),
    "empty": np.zeros((0, 4), dtype=np.float32),
    "scalar": np.array(7.0, dtype=np.float64),
    "packed": np.array([[2**32 - 1]], dtype=np.uint32),
}


def infos() -> list[TensorInfo]:
    return [TensorInfo(name=name, shape=array.shape, dtype=str(array.dtype)) for name, array in TENSORS.items()]


def test_the_library_reads_what_we_write(tmp_path):
    path = tmp_path / "x.safetensors"
    with SafetensorsWriter(path, infos(), {"format": "mlx"}) as writer:
        for info in writer.order:
            writer.write(info.name, TENSORS[info.name])
    found = load_file(path)
    assert set(found) == set(TENSORS)
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(found[name], array)
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
    with safe_open(path, framework="numpy") as stream:
        assert stream.metadata() == {"format": "mlx"}


def test_we_read_what_the_library_writes(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file(TENSORS, path)
    reader = SafetensorsReader(path)
    assert {name: (info.shape, info.dtype) for name, info in reader.infos.items()} == {
        name: (array.shape, str(array.dtype)) for name, array in TENSORS.items()
    }
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(reader.read(name), array)


def test_a_transposed_view_is_written_in_its_own_order(tmp_path):
    path, array = tmp_path / "x.safetensors", np.arange(6, dtype=np.float32).reshape(2, 3)
    with SafetensorsWriter(path, [TensorInfo(name="t", shape=(3, 2), dtype="float32")], {}) as writer:
        writer.write("t", array.T)
    np.testing.assert_array_equal(load_file(path)["t"], [[0, 3], [1, 4], [2, 5]])


def test_mlx_loads_bfloat16_that_we_wrote(tmp_path):
    mx = pytest.importorskip("mlx.core")
    path = tmp_path / "x.safetensors"
    with SafetensorsWriter(path, [TensorInfo(name="t", shape=(2,), dtype="bfloat16")], {}) as writer:
        writer.write("t", np.array([0x3FC0, 0xC000], dtype=np.uint16))
    loaded = mx.load(str(path))["t"]
    assert (loaded.dtype, loaded.tolist()) == (mx.bfloat16, [1.5, -2.0])


def entry(**changes) -> dict:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}


@pytest.mark.parametrize(
    ("header", "data", "reason"),
    [
        (b"[]", b"", "expected an object"),
        (b"\xff\xfe", b"", "not JSON"),
        ({"t": entry()}, b"1234567", "truncated"),
        ({"t": entry()}, b"123456789", "truncated or damaged"),
        ({"t": entry(shape=[3])}, b"12345678", "its shape needs 12"),
        ({"t": entry(dtype="F4")}, b"12345678", "unknown element type"),
        ({"t": entry(dtype=["F32"])}, b"12345678", "unknown element type"),
        ({"t": entry(shape=[-2])}, b"12345678", "malformed shape"),
        ({"t": entry(shape=[True, 2])}, b"12345678", "malformed shape"),
        ({"t": entry(data_offsets=[0])}, b"12345678", "malformed header entry"),
        ({"t": 3}, b"12345678", "malformed header entry"),
        ({"t": entry(), "u": entry()}, b"12345678", "overlap"),
        ({"t": entry(data_offsets=[8, 16])}, b"1234567812345678", "gap"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, header, data, reason):
    path = tmp_path / "x.safetensors"
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    with pytest.raises(CheckpointError) as caught:
        SafetensorsReader(path)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"\x01", b"\xff" * 8 + b"{}", b"PK\x03\x04 not this format"])
def test_something_else_is_refused(tmp_path, raw):
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        SafetensorsReader(path)


def test_shards_keep_their_order_and_their_limit():
    sizes = [4, 4, 12, 4, 4]
    items = [TensorInfo(name=str(index), shape=(size // 4,), dtype="float32") for index, size in enumerate(sizes)]
    assert [[info.name for info in group] for group in shards(items, 8)] == [["0", "1"], ["2"], ["3", "4"]]
    assert list(shards([], 8)) == []
