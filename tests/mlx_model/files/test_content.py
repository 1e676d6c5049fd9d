"""Formats told by content. Oracle: files of those formats, made by the libraries that own them where there is one."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mlx_model.audio.files import duration_s, load_audio
from mlx_model.errors import AudioError


def archive(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, data in members.items():
            file.writestr(name.replace("__", "/"), data)
    return content.getvalue()


def tar() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as file:
        entry = tarfile.TarInfo("a.wav")
        entry.size = 5
        file.addfile(entry, io.BytesIO(b"hello"))
    return content.getvalue()


def npy() -> bytes:
    content = io.BytesIO()
    np.save(content, np.zeros(500, np.float32))
    return content.getvalue()


HEADER = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
CASES: dict[str, tuple[bytes, str]] = {
    "lfs": (LFS, "Git LFS pointer, not the file itself; fetch that with `git lfs pull`"),
    "html": (b"<!DOCTYPE html>\n<html><title>404</title></html>", "is a web page, not audio; a download"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is an XML document"),
    "json": (b'{"error": "Repository not found"}', "is a JSON document"),
    "zip": (archive(a=b"hello"), "is a ZIP archive, not audio; unpack it first"),
    "torch": (archive(archive__data__pkl=b"", model__data_pkl=b""), "is a ZIP archive"),
    "pt": (archive(**{"model/data.pkl": b"\x80\x02}."}), "is a torch checkpoint"),
    "gzip": (gzip.compress(b"hello" * 99), "is a gzip archive"),
    "tar": (tar(), "is a tar archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(99), "is a 7z archive"),
    "rar": (b"Rar!\x1a\x07\x01\x00" + bytes(99), "is a RAR archive"),
    "pdf": (b"%PDF-1.7\n" + bytes(99), "is a PDF document"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(99), "is a PNG picture"),
    "jpeg": (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(99), "is a JPEG picture"),
    "safetensors": (len(HEADER).to_bytes(8, "little") + HEADER + bytes(4), "is a safetensors file"),
    "npy": (npy(), "is a NumPy array (npy)"),
    "pickle": (b"\x80\x04}.", "is a pickle"),
    "ark": (b"utt1 \x00BFM " + bytes(99), "is a Kaldi archive (ark)"),
    "scp": (b"utt1 /data/a.wav\nutt2 /data/b.wav\n", "is a list of recordings"),
    "m3u": (b"#EXTM3U\n#EXTINF:9,\na.ts\n", "is a playlist"),
    "text": ("今天天气很好\n".encode() * 20, "is text, not audio"),
    "gbk": ("今天天气很好\n".encode("gbk") * 20, "is text, not audio"),
    "utf16": ("hello there".encode("utf-16"), "is text, not audio"),
    "zeros": (bytes(3_000_000), "is 3,000,000 zero bytes"),
    "appledouble": (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X" + bytes(99), "side file"),
    "midi": (b"MThd\x00\x00\x00\x06" + bytes(99), "is a MIDI file"),
    "empty": (b"", "empty, 0 bytes"),
}


@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".m4a", ".au", ".raw"])
@pytest.mark.parametrize("case", CASES)
def test_what_is_no_recording_is_named_whatever_it_is_called(tmp_path: Path, case: str, suffix: str):
    content, says = CASES[case]
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    for read in (load_audio, duration_s):
        with pytest.raises(AudioError) as caught:
            read(path)
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)


def test_noise_is_no_text(tmp_path: Path):
    """Headerless samples are mostly invalid in every encoding, and what is not is no language."""
    for seed in range(20):
        noise = np.random.default_rng(seed).integers(-3000, 3000, 4000).astype("<i2")
        (tmp_path / "x.bin").write_bytes(noise.tobytes())
        with pytest.raises(AudioError, match=r"x.bin: (not readable as audio|too short|empty audio|absurd)"):
            load_audio(tmp_path / "x.bin")
