"""WeNet's shards: what is read out of a tar, and what a damaged or hostile one is told. Expectations are by hand."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from mlx_model.errors import DatasetError
from parity.cer.datasets import Utterance, read_dataset
from tests.parity.cer.test_datasets import put


def shard(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_wenet_shards(tmp_path):
    first = shard(
        tmp_path / "shards/0.tar",
        {"a.txt": "你好\n".encode(), "a.wav": b"RIFF", "b.flac": b"fLaC", "b.txt": "\ufeff再见".encode()},
    )
    second = shard(tmp_path / "1.tar", {"c.txt": b"c", "d.wav": b"", "./e.wav": b"", "e.txt": b"e", "e.json": b"{}"})
    path = put(tmp_path, {"data.list": f"shards/0.tar\n{second}\nshards/0.tar\n"}) / "data.list"
    dataset = read_dataset(path)
    assert dataset.kind == "wenet"
    assert dataset.utterances == (
        Utterance(utt_id="a", path=first, text="你好", member="a.wav"),
        Utterance(utt_id="b", path=first, text="再见", member="b.flac"),
        Utterance(utt_id="e", path=second, text="e", member="./e.wav"),
    )
    assert dataset.notes == (
        "1.tar: members that are neither .txt nor audio: 1 .json; left out",
        "1.tar: 1 of 2 recordings have no transcript: left out (first: d)",
        "1.tar: 1 of 2 transcripts have no audio here: left out (first: c)",
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"../a.wav": b""}, r"0\.tar: member '\.\./a\.wav' is absolute, climbs or is no plain text; refused"),
        ({"x/../../a.wav": b""}, r"0\.tar: member 'x/\.\./\.\./a\.wav' is absolute, climbs"),
        ({"a\u202eb.wav": b""}, r"0\.tar: member 'a\\u202eb\.wav' is absolute, climbs or is no plain text"),
        ({"a b.wav": b"", "a b.txt": b""}, r"0\.tar: member 'a b\.wav': its key is 'a b'; expected an id"),
        ({"a.wav": b"", "a.txt": b"\xff"}, r"0\.tar: member 'a\.txt': not UTF-8 \(byte 0xff\)"),
        ({"a.wav": b"", "a.flac": b""}, r"member 'a\.flac': key 'a' stands before"),
        ({}, r"0\.tar: not an uncompressed tar \(empty"),
    ],
)
def test_a_shard_that_cannot_be_used(tmp_path, files, message):
    if files:
        shard(tmp_path / "0.tar", files)
    else:
        (tmp_path / "0.tar").write_bytes(b"")
    with pytest.raises(DatasetError, match=message):
        read_dataset(put(tmp_path, {"data.list": "0.tar\n"}))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("0.tar\ngone.tar\n", r"data\.list: 1 of 2 shards do not exist \(first: 'gone\.tar'\)"),
        ("0.tar\n../1.tar\n", r"data\.list:2: '\.\./1\.tar' climbs out of"),
        ("0.tar\nhttp://x/1.tar\n", r"data\.list:2: 'http://x/1\.tar'; expected the path of a tar"),
        ("0.tar\ncat 1.tar |\n", r"data\.list:2: 'cat 1\.tar \|'; expected the path of a tar"),
        ('0.tar\n{"key": 1}\n', r"data\.list:2: '\{\"key\": 1\}'; expected the path of a tar"),
        ("0.tar\n0.txt\n", r"0\.txt: not an uncompressed tar"),
    ],
)
def test_a_list_of_shards_that_cannot_be_used(tmp_path, lines, message):
    shard(tmp_path / "0.tar", {"a.wav": b"", "a.txt": b"a"})
    with pytest.raises(DatasetError, match=message):
        read_dataset(put(tmp_path, {"data.list": lines, "0.txt": "no tar"}))


def test_a_shard_that_lost_its_end_or_its_middle_is_refused_not_shortened(tmp_path):
    # tarfile itself stops at damage without a word, and the utterances behind it would be missing.
    whole = shard(tmp_path / "0.tar", {f"{name}.{kind}": b"x" * 700 for name in "abc" for kind in ("wav", "txt")})
    put(tmp_path, {"data.list": "0.tar\n"})
    content = whole.read_bytes()
    assert len(read_dataset(tmp_path).utterances) == 3
    block = 512 + 1024  # a member's header and its content
    for damaged, message in (
        (content[: 3 * block], "ends without its end mark: it was cut short"),
        (content[: 3 * block + 600], "cut short|unexpected end of data"),
        (content[: 3 * block] + b"?" * 512 + content[3 * block + 512 :], r"is damaged \(byte 4608\)"),
    ):
        whole.write_bytes(damaged)
        with pytest.raises(DatasetError, match=message):
            read_dataset(tmp_path)


def test_a_tar_header_of_negative_size_does_not_go_round_for_ever(tmp_path):
    # CVE-2025-8194: the member after the first one says -1024 bytes, which leads back to the first one.
    path = shard(tmp_path / "0.tar", {"a.wav": b"", "a.txt": b""})
    content = bytearray(path.read_bytes())
    header = content[512:1024]
    header[124:136] = b"\xff" * 10 + (-1024 & 0xFFFF).to_bytes(2, "big")
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    content[512:1024] = header
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"0\.tar: damaged at byte 512"):
        read_dataset(put(tmp_path, {"data.list": "0.tar\n"}))


def test_a_compressed_shard_is_refused_with_the_way_out(tmp_path):
    with tarfile.open(tmp_path / "0.tar.gz", "w:gz"):
        pass
    with pytest.raises(DatasetError, match=r"0\.tar\.gz: not an uncompressed tar .*gunzip"):
        read_dataset(put(tmp_path, {"data.list": "0.tar.gz\n"}))
