"""What follows from a front end's settings. Oracles: kaldi-native-fbank's own frames, numbers by hand."""

from __future__ import annotations

import pytest

from mlx_model.config.parts import WavFrontendConfig
from mlx_model.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "size", "shift"),
    [
        ({}, 400, 160),  # 25 ms and 10 ms at 16 kHz
        ({"fs": 8000}, 200, 80),
        ({"frame_length": 32.0}, 512, 160),
        ({"frame_shift": 12.5}, 400, 200),
        ({"fs": 44100}, 1102, 441),  # 1102.5: Python's round goes to the even one
        ({"fs": 11025, "frame_shift": 7.5}, 276, 83),  # 275.625 and 82.6875
    ],
)
def test_milliseconds_become_samples(settings: dict[str, float], size: int, shift: int):
    config = WavFrontendConfig.from_dict(settings)
    assert (config.frame_samples, config.shift_samples) == (size, shift)


@pytest.mark.reference
@pytest.mark.parametrize("settings", [{}, {"fs": 8000}, {"frame_length": 32.0}, {"frame_shift": 12.5}])
def test_kaldi_frames_the_same_samples(settings: dict[str, float]):
    """Oracle: how many frames kaldi-native-fbank makes of just enough, and of one sample less."""
    knf = pytest.importorskip("kaldi_native_fbank")
    config = WavFrontendConfig.from_dict(settings)
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = config.fs
    options.frame_opts.frame_length_ms = config.frame_length
    options.frame_opts.frame_shift_ms = config.frame_shift
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = 20

    def frames(samples: int) -> int:
        fbank = knf.OnlineFbank(options)
        fbank.accept_waveform(config.fs, [0.0] * samples)
        return fbank.num_frames_ready

    enough = config.frame_samples + 2 * config.shift_samples
    assert (frames(enough), frames(enough - 1)) == (3, 2)
    assert (frames(config.frame_samples), frames(config.frame_samples - 1)) == (1, 0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"frame_length": 0.1, "fs": 8000}, "frame_length = 0.1 ms at fs = 8000 is 1 samples; expected 2 to 65536"),
        ({"frame_shift": 0.1, "fs": 1000}, "frame_shift = 0.1 ms at fs = 1000 is below one sample"),
        ({"n_mels": 300}, "n_mels = 300, but frames of 400 samples have only 256 frequencies"),
    ],
)
def test_frames_that_cannot_be_are_refused(settings: dict[str, float], said: str):
    with pytest.raises(ConfigError, match=said):
        WavFrontendConfig.from_dict(settings).check()
