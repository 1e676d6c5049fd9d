"""The front end of a stream: the features of the whole recording, to the bit, however it is cut."""

from __future__ import annotations

import numpy as np
import pytest

from mlx_model.config.parts import WavFrontendStackedConfig
from mlx_model.errors import ConfigError
from mlx_model.machine.blas import mx
from mlx_model.parts.frontend_stacked import WavFrontendStacked
from tests.conftest import speech_like

CONFIG = WavFrontendStackedConfig(lfr_m=7, lfr_n=6, cmvn=False)


def in_pieces(frontend: WavFrontendStacked, samples: np.ndarray, size: int) -> list[np.ndarray]:
    cache, found = frontend.new_cache(), []
    for start in range(0, len(samples) + 1, size):
        feats, cache = frontend.chunk(
            samples[start : start + size], cache, is_final=start + size > len(samples)
        )  # fmt: skip
        found.append(np.array(feats))
    return found


@pytest.mark.parametrize("size", [160, 1000, 7680, 9600, 40_000])
@pytest.mark.parametrize("count", [400, 959, 9600, 19_599, 30_000])
def test_features_are_those_of_the_whole(size: int, count: int):
    """Oracle: the offline front end, which is held to kaldi's; with no difference at all."""
    frontend, samples = WavFrontendStacked(CONFIG), speech_like(3.0)[:count]
    whole, _ = frontend(mx.array(samples[None]), mx.array([count]))
    pieces = np.concatenate(in_pieces(frontend, samples, size))
    assert pieces.shape == whole.shape[1:]
    np.testing.assert_array_equal(pieces, np.array(whole)[0])


@pytest.mark.parametrize("stride", [1, 6, 8, 10, 12])
def test_a_chunk_of_so_many_frames_gives_as_many(stride: int):
    """Oracle: FunASR's (1.2 of the facts): every full chunk of stride * 960 samples yields exactly stride features."""
    frontend = WavFrontendStacked(CONFIG)
    counts = [len(part) for part in in_pieces(frontend, speech_like(2.0), stride * 960)]
    assert set(counts[:-1]) == {stride}


def test_no_sample_and_less_than_a_frame_give_nothing():
    frontend = WavFrontendStacked(CONFIG)
    feats, cache = frontend.chunk(np.zeros(399, np.float32), frontend.new_cache(), is_final=True)
    assert feats.shape == (0, 560)
    assert (len(cache.samples), cache.logmel) == (399, None)


def test_streams_side_by_side_are_each_their_own():
    frontend = WavFrontendStacked(CONFIG)
    given = [speech_like(0.7, seed)[: 9600 + 500 * (seed % 2)] for seed in range(4)]
    caches = [frontend.new_cache() for _ in given]
    together = frontend.chunks(given, caches, [False, False, True, False])
    for samples, final, (feats, cache) in zip(given, [False, False, True, False], together, strict=True):
        alone, after = frontend.chunk(samples, frontend.new_cache(), is_final=final)
        np.testing.assert_array_equal(np.array(feats), np.array(alone))
        np.testing.assert_array_equal(cache.samples, after.samples)


@pytest.mark.parametrize("settings", [{"lfr_m": 6}, {"lfr_n": 1}, {"lfr_n": 7}, {"fs": 8000}])
def test_stackings_that_funasr_does_not_stream_are_refused(settings: dict[str, int]):
    config = WavFrontendStackedConfig(**({"lfr_m": 7, "lfr_n": 6} | settings))
    with pytest.raises(ConfigError, match="frontend_conf"):
        config.check()
