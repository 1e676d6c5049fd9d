"""The streaming front end. Oracle: the offline one (test_frontend.py holds that against kaldi-native-fbank)."""

from __future__ import annotations

import numpy as np
import pytest

from mlx_model.config.parts import WavFrontendOnlineConfig
from mlx_model.machine.blas import mx
from mlx_model.parts.frontend import WavFrontend
from mlx_model.parts.frontend_online import FrontendCache, WavFrontendOnline
from tests.conftest import speech_like


def online(config: WavFrontendOnlineConfig, waveform: np.ndarray, cuts: list[int]) -> tuple[list[int], np.ndarray]:
    """Return how many frames each chunk gave, and all frames; checks the samples they cover on the way."""
    frontend, cache = WavFrontendOnline(config), FrontendCache()
    parts, counts = [], []
    chunks = np.split(waveform, cuts)
    for number, chunk in enumerate(chunks):
        feats, covered = frontend(chunk, cache, is_final=number == len(chunks) - 1)
        first, count = sum(counts), feats.shape[1]
        if count:
            np.testing.assert_array_equal(covered, waveform[160 * first : 160 * (first + count - 1) + 400])
        counts.append(count)
        parts.append(np.array(feats)[0])
    return counts, np.concatenate(parts)


@pytest.mark.parametrize("m", [5, 3, 7])
@pytest.mark.parametrize("cut", [1600, 160, 77, 4001, 16000])
def test_frames_do_not_depend_on_the_chunks(m: int, cut: int):
    config = WavFrontendOnlineConfig(lfr_m=m, dither=0.0, cmvn=False)
    waveform = speech_like(0.93, seed=m)
    whole, lengths = WavFrontend(config)(mx.array(waveform[None]), mx.array([len(waveform)]))
    counts, feats = online(config, waveform, list(range(cut, len(waveform), cut)))
    assert sum(counts) == int(lengths[0]) == 1 + (len(waveform) - 400) // 160
    np.testing.assert_array_equal(feats, np.array(whole)[0])


def test_frames_come_two_late_and_the_last_chunk_brings_them():
    config = WavFrontendOnlineConfig(lfr_m=5, dither=0.0, cmvn=False)
    waveform = speech_like(0.1)  # 1600 samples: 8 frames
    counts, _ = online(config, waveform, [400, 560, 720, 720, 1041])
    assert counts == [0, 0, 1, 0, 2, 5]


@pytest.mark.parametrize("samples", [0, 1, 399])
def test_less_than_a_frame_gives_nothing(samples: int):
    config = WavFrontendOnlineConfig(lfr_m=5, dither=0.0, cmvn=False)
    counts, feats = online(config, speech_like(0.1)[:samples], [])
    assert (counts, feats.shape) == ([0], (0, 400))


def test_one_frame_is_its_own_context():
    config = WavFrontendOnlineConfig(lfr_m=5, dither=0.0, cmvn=False)
    _, feats = online(config, speech_like(0.1)[:400], [])
    np.testing.assert_array_equal(feats, np.tile(feats[:, :80], 5))


def test_the_cache_does_not_grow():
    frontend = WavFrontendOnline(WavFrontendOnlineConfig(lfr_m=5, dither=0.0, cmvn=False))
    cache = FrontendCache()
    for _ in range(50):
        frontend(speech_like(0.1), cache)
        assert cache.logmel is not None
        assert (cache.waiting, cache.logmel.shape) == (2, (1, 4, 80))
        assert len(cache.waveform) < 2 * 160 + 400  # two frames held back, and less than a third
