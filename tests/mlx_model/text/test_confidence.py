"""What several confidences are together. Oracle: by hand."""

from __future__ import annotations

import pytest

from mlx_model.text.confidence import of_characters, overall, together


def test_words_and_transcripts():
    assert together([0.5, 0.125]) == pytest.approx(0.25)
    assert overall([0.5, 0.25]) == pytest.approx(0.375)
    assert together([]) is None
    assert overall([]) is None
    assert together([0.0, 1.0]) == pytest.approx(0.0, abs=1e-20)


def test_characters_have_their_tokens():
    """Tags and <unk> print nothing, @@ and ▁ join."""
    tokens = ["<|zh|>", "你", "<unk>", "hel@@", "lo", "▁to", "▁"]
    assert of_characters(tokens, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]) == [0.2] + [0.4] * 3 + [0.5] * 2 + [0.6] * 2
