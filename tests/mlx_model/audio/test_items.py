"""What a caller may give as audio. Oracle: by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlx_model.audio.items import checked, listed, path_of
from mlx_model.errors import AudioError


def test_one_item_or_many():
    waveform = np.zeros(3, np.float32)
    assert listed("a.wav") == ["a.wav"]
    assert listed(Path("a.wav")) == [Path("a.wav")]
    assert listed(waveform)[0] is waveform
    assert listed(("a.wav", Path("b"))) == ["a.wav", Path("b")]
    assert (path_of(Path("a/b.wav")), path_of("c"), path_of(waveform)) == (str(Path("a/b.wav")), "c", None)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros(3, np.int16), r"must be one-dimensional float in \[-1, 1\], not int16 \(3,\)"),
        (np.zeros((2, 3), np.float32), r"must be one-dimensional float in \[-1, 1\], not float32 \(2, 3\)"),
        (np.array([0, 1, np.nan, np.inf]), "NaN or infinite samples, the first at 2"),
    ],
)
def test_what_is_no_waveform(samples: np.ndarray, said: str):
    with pytest.raises(AudioError, match=said):
        checked(samples)


def test_a_waveform_is_not_copied_where_it_need_not_be():
    waveform = np.array([0.5, -1.0], np.float32)
    assert checked(waveform) is waveform
    wide = checked(waveform.astype(np.float64))
    assert wide.dtype == np.float32
    np.testing.assert_array_equal(wide, waveform)
