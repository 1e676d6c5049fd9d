"""Text to pieces. Oracle: sentencepiece itself, on the released model's vocabulary."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlx_model.errors import AssetError, DependencyError
from mlx_model.text.pieces import SentencePieces


@pytest.mark.shared
def test_pieces_and_ids(shared: Path):
    pieces = SentencePieces(shared / "sidecars/sense_voice_small/chn_jpn_yue_eng_ko_spectok.bpe.model")
    found = pieces.cut("<|zh|><|NEUTRAL|>its 天气")
    assert found == ["<|zh|>", "<|NEUTRAL|>", "it", "s", "▁", "天", "气"]
    assert pieces.ids(found) == [[24884], [25004], [237], [4], [], [11543], [13911]]  # a space alone is nothing


def test_a_missing_or_broken_model(tmp_path: Path):
    with pytest.raises(AssetError, match="missing"):
        SentencePieces(tmp_path / "bpe.model").cut("a")
    (tmp_path / "bpe.model").write_bytes(b"no model")
    with pytest.raises(AssetError, match="not a SentencePiece model"):
        SentencePieces(tmp_path / "bpe.model").cut("a")


def test_without_sentencepiece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(DependencyError, match=r"mlx-funasr\[bpe\]"):
        SentencePieces(tmp_path / "bpe.model").cut("a")
