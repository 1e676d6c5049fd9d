"""Where the paths of a list lead: how they may be spelt, which folders they may start at. An empty file is audio."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlx_model.errors import DatasetError
from parity.cer.datasets import read_dataset
from parity.cer.readers.places import audio_path
from tests.parity.cer.test_datasets import jsonl, put

LIST = {"data/test/wav.scp": "u1 data/wav/u1.wav\nu2 data/wav/u2.wav\n", "data/test/text": "u1 你好\nu2 再见\n"}
AUDIO = {"data/wav/u1.wav": "", "data/wav/u2.wav": ""}


@pytest.mark.parametrize("where", [".", "data", "/"])
def test_paths_that_start_at_the_recipes_folder_are_found_from_anywhere(tmp_path, monkeypatch, where):
    put(tmp_path, LIST | AUDIO)
    monkeypatch.chdir(tmp_path / where)
    dataset = read_dataset(tmp_path / "data/test")
    assert [item.path for item in dataset.utterances] == [tmp_path / name for name in AUDIO]
    assert dataset.notes == (f"paths of 2 audio files start at {tmp_path}, not at the list's own folder",)


def test_paths_that_start_at_the_current_folder_are_found(tmp_path, monkeypatch):
    put(tmp_path / "lists", {"set.jsonl": jsonl({"key": "u1", "source": "wav/u1.wav", "target": "你好"})})
    put(tmp_path / "elsewhere", {"wav/u1.wav": ""})
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert read_dataset(tmp_path / "lists/set.jsonl").utterances[0].path == tmp_path / "elsewhere/wav/u1.wav"


def test_the_lists_own_folder_comes_first(tmp_path, monkeypatch):
    put(tmp_path, LIST | AUDIO | {"data/test/data/wav/u1.wav": "", "data/test/data/wav/u2.wav": ""})
    monkeypatch.chdir(tmp_path)
    dataset = read_dataset("data/test")
    assert dataset.utterances[0].path == tmp_path / "data/test/data/wav/u1.wav"
    assert dataset.notes == ()


def test_where_nothing_is_found_the_folders_are_named(tmp_path, monkeypatch):
    put(tmp_path, LIST)
    monkeypatch.chdir(tmp_path)
    note = read_dataset("data/test").notes[-1]
    assert note.startswith(
        f"2 of 2 listed audio files do not exist and count as failed (first: u1, looked for at "
        f"{tmp_path}/data/test/data/wav/u1.wav; its path was also tried from {tmp_path}, {tmp_path}/data, "
    )
    put(tmp_path, {"data/wav/u1.wav": ""})
    assert "also tried" not in read_dataset("data/test").notes[-1]  # it is not the folder that is wrong


@pytest.mark.parametrize("shards", ["data/shards/0.tar"])
def test_shards_are_looked_for_in_the_same_places(tmp_path, shards):
    put(tmp_path, {"data/list/data.list": f"{shards}\n"})
    with pytest.raises(DatasetError, match=r"1 of 1 shards do not exist"):
        read_dataset(tmp_path / "data/list/data.list")
    (tmp_path / "data/shards").mkdir()
    (tmp_path / shards).write_bytes(b"")
    with pytest.raises(DatasetError, match=r"0\.tar: "):  # found, and no archive
        read_dataset(tmp_path / "data/list/data.list")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("a b.wav ", "a b.wav"),
        ("'a b.wav'", "a b.wav"),
        ("wav\\u1.wav", "wav/u1.wav"),
        ("file:///data/a%20b.wav", "/data/a b.wav"),
        ("~/u1.wav", "HOME/u1.wav"),
    ],
)
def test_spellings_of_a_path(tmp_path, monkeypatch, value, found):
    monkeypatch.setenv("HOME", str(tmp_path / "HOME"))
    assert audio_path(value, tmp_path, "x:1") == tmp_path / found


def test_a_file_that_is_called_so_is_meant(tmp_path):
    for name in ("wav\\u1.wav", "'a'", "b "):
        (tmp_path / name).touch()
        assert audio_path(name, tmp_path, "x:1") == tmp_path / name


@pytest.mark.parametrize("url", ["https://example.com/a.wav", "s3://bucket/a.wav", "file://host/a.wav"])
def test_urls_are_refused_as_nothing_is_downloaded(tmp_path, url):
    line = json.dumps({"key": "u1", "source": url, "target": "你好"})
    with pytest.raises(DatasetError, match=r"list_url\.jsonl:1: .* is a URL, and nothing is downloaded here"):
        read_dataset(put(tmp_path, {"list_url.jsonl": line + "\n"}) / "list_url.jsonl")


def test_a_downloaded_list_stays_in_its_folder(tmp_path):
    for value in ("~/a.wav", "file:///etc/a.wav", "/etc/a.wav"):
        folder = Path(tmp_path)
        if value.startswith("~"):
            assert audio_path(value, folder, "x:1", trusted=False) == folder / value
        else:
            with pytest.raises(DatasetError, match="is absolute; a downloaded list"):
                audio_path(value, folder, "x:1", trusted=False)
