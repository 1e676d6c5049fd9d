"""What several confidences are together. Oracle: by hand."""

from __future__ import annotations

import pytest

from mlx_model.text.confidence import overall, together


def test_words_and_transcripts():
    assert together([0.5, 0.125]) == pytest.approx(0.25)
    assert overall([0.5, 0.25]) == pytest.approx(0.375)
    assert together([]) is None
    assert overall([]) is None
    assert together([0.0, 1.0]) == pytest.approx(0.0, abs=1e-20)
