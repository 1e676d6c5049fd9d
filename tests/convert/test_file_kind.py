"""What a weight file is, by its content. Oracle: the first bytes of each format, by its own library or by hand."""

import gzip
import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from convert.checkpoint import open_checkpoint
from convert.file_kind import JSON, LEGACY_TORCH, SAFETENSORS, ZIP, file_kind
from mlx_model.errors import CheckpointError

MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=np.ones(2))
    return stream.getvalue()


def npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.ones(2))
    return stream.getvalue()


def tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("./model_config.yaml"), io.BytesIO(b""))
    return stream.getvalue()


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return stream.getvalue()


FOREIGN = {
    "empty": (b"", "is empty"),
    "zeros": (bytes(5000), "starts with zeros"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "Git LFS pointer.*git lfs pull"),
    "html": (b"\n <!DOCTYPE html><html>", "is a web page"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "is a web page"),
    "json": (json.dumps({"error": "not found"}).encode(), "JSON, but no index of weight files"),
    "text": (b"hello world, this is no checkpoint", "not a torch checkpoint"),
    "gzip": (gzip.compress(b"x"), "gzip archive"),
    "tar": (tar(), r"tar archive \(it begins with './model_config.yaml'\)"),
    "npy": (npy(), "numpy array"),
    "npz": (npz(), "numpy archive"),
    "onnx": (b"\x08\x07\x12\x07pytorch\x1a\x051.13:" + bytes(40), "ONNX model"),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(40), "GGUF"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5"),
    "docx": (zipped("[Content_Types].xml", "word/document.xml"), "office document"),
    "folder": (zipped("paraformer/config.yaml", "paraformer/model.pt"), "zip archive that holds 'paraformer/model.pt'"),
    "zip": (zipped("a.txt"), "zip archive of something else"),
    "pt2": (zipped("model/archive_format", "model/models/model.json"), "torch.export"),
    "script": (zipped("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl"), "TorchScript archive"),
    "no zip": (b"PK\x05\x06" + bytes(18), "empty ZIP archive"),
    "pickle": (b"\x80\x04\x95\x05\0\0\0\0\0\0\0}q\0.", "bare pickle"),
    "sound": (b"RIFF\x24\0\0\0WAVEfmt ", "sound file"),
}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".pb", ""])
@pytest.mark.parametrize("what", FOREIGN)
def test_another_format_is_named_whatever_the_file_is_called(tmp_path, what, suffix):
    raw, reason = FOREIGN[what]
    path = tmp_path / f"model{suffix}"
    path.write_bytes(raw)
    if suffix == ".safetensors" and what in ("empty", "zeros", "text"):
        reason = reason if what == "empty" else "not a safetensors file"
    with pytest.raises(CheckpointError, match=reason) as caught:
        open_checkpoint(path)
    assert str(caught.value).startswith(f"{path} ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"PK\x03\x04" + bytes(30), ZIP),
        (b"\x80\x02" + MAGIC, LEGACY_TORCH),
        (b"\x80\x04\x95\x0d\0\0\0\0\0\0\0" + MAGIC, LEGACY_TORCH),
        (b"\x10\0\0\0\0\0\0\0" + b'{"a":{}}        ', SAFETENSORS),
        (b' {"weight_map": {}}', JSON),
    ],
)
def test_what_is_read_is_told_by_its_first_bytes(tmp_path, raw, kind):
    path = tmp_path / "x.bin"
    path.write_bytes(raw)
    assert file_kind(path) == kind


def test_safetensors_and_its_index_are_read_under_any_name(tmp_path):
    save_file({"w": np.arange(3, dtype=np.float32)}, tmp_path / "model.pt")
    assert open_checkpoint(tmp_path / "model.pt").read("w").tolist() == [0, 1, 2]
    (tmp_path / "index.pt").write_text(json.dumps({"weight_map": {"w": "model.pt"}}), "utf-8")
    found = open_checkpoint(tmp_path / "index.pt")
    assert found.read("w").tolist() == [0, 1, 2]
    assert [path.name for path in found.files] == ["index.pt", "model.pt"]


def test_a_directory_and_a_missing_file_are_refused_in_one_line(tmp_path):
    with pytest.raises(CheckpointError, match="is a directory; expected a weight file"):
        open_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="is no file"):
        open_checkpoint(tmp_path / "none.pt")
