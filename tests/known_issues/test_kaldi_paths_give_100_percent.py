"""`cd recipe; mlx-funasr cer MODEL data/test` gave CER 100 % and no hint: paths of a wav.scp start at the recipe."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mlx_model.errors import DatasetError
from parity.cer import evaluate, read_dataset


def put(folder: Path) -> Path:
    for name, content in {
        "data/test/wav.scp": "u1 data/wav/u1.wav\n",
        "data/test/text": "u1 你好\n",
        "data/wav/u1.wav": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, "utf-8")
    return folder


def hear(text: str | None, error: str | None) -> Any:
    def recognize(batches: Iterable[Sequence[Path]]) -> Iterator[list[dict[str, Any]]]:
        for batch in batches:
            yield [{"path": str(path), "text": text, "duration_s": 1.0, "error": error} for path in batch]

    return recognize


def test_the_recordings_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(put(tmp_path))
    report = evaluate("m", "data/test", recognizer=hear("你好", None))
    assert (report.cer, report.failed) == (0.0, 0)
    assert report.dataset_notes == [f"paths of 1 audio files start at {tmp_path}, not at the list's own folder"]


def test_where_no_recording_exists_there_is_no_rate(tmp_path, monkeypatch):
    monkeypatch.chdir(put(tmp_path))
    (tmp_path / "data/wav/u1.wav").unlink()
    with pytest.raises(DatasetError, match=r"no recording can be read, so there is no error rate: .*also tried from"):
        evaluate("m", "data/test", recognizer=hear("你好", None), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_where_every_recording_failed_there_is_no_rate(tmp_path, monkeypatch):
    monkeypatch.chdir(put(tmp_path))
    with pytest.raises(DatasetError, match=r"none of 1 recordings could be read, .*no error rate \(first: u1: broken"):
        evaluate("m", "data/test", recognizer=hear(None, "broken"), out=tmp_path / "run")
    assert not list((tmp_path / "run").glob("*.json*"))
    assert evaluate("m", "data/test", recognizer=hear("你好", None), out=tmp_path / "run").cer == 0.0  # and tried again


def test_what_failed_is_said_first(tmp_path, monkeypatch):
    monkeypatch.chdir(put(tmp_path))
    with (tmp_path / "data/test/wav.scp").open("a") as scp, (tmp_path / "data/test/text").open("a") as text:
        scp.write("u2 data/wav/u2.wav\n")
        text.write("u2 再见\n")
    report = evaluate("m", "data/test", recognizer=hear("你好", None))
    assert (report.cer, report.failed) == (0.5, 1)
    assert report.notes[0].startswith("1 of 2 recordings failed and count as deletions (first: u2: no such file")


def test_a_list_of_urls_is_refused(tmp_path):
    line = {"key": "u1", "source": "https://example.com/a.wav", "source_len": 100, "target": "你好", "target_len": 2}
    (tmp_path / "list_url.jsonl").write_text(json.dumps(line) + "\n", "utf-8")
    with pytest.raises(DatasetError, match=r"list_url\.jsonl:1: 'https:.*' is a URL, and nothing is downloaded here"):
        read_dataset(tmp_path / "list_url.jsonl")
