"""The front end of a stream: chunks of samples in, stacked features out, with the samples each feature frame covers.

Mirrors funasr/frontends/wav_frontend.py::WavFrontendOnline. Frame by frame the features are those of frontend.py,
however the samples are cut into chunks; they come (lfr_m - 1) // 2 frames late, because stacking looks ahead. The last
chunk repeats the last frame in place of what would have followed.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float32

from mlx_model.config.parts import WavFrontendConfig
from mlx_model.machine.blas import mx
from mlx_model.parts.frontend import WavFrontend


@dataclass(slots=True)
class FrontendCache:
    """What a stream still needs: samples from the first frame that was not given out, and its mel frames.

    `waveform` (S,) starts at that frame, `waiting` counts its frames whose mel energies are in `logmel` already;
    `logmel` is (1, F, M) with the stacking's left context, None before the first frame.
    """

    waveform: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    waiting: int = 0
    logmel: mx.array | None = None


class WavFrontendOnline(WavFrontend):
    """Chunks -> features. `cmvn_shift`, `cmvn_scale`: (m*M,), always float32.

    FunASR's class ignores `upsacle_samples` (it always scales to 16 bits) and `snip_edges`; so does this one.
    """

    def __init__(self, config: WavFrontendConfig):
        super().__init__(dataclasses.replace(config, upsacle_samples=True))
        self.shift = config.shift_samples
        self.context = (config.lfr_m - 1) // 2

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]  chunks with a cache, not a padded batch
        self, samples: Float32[np.ndarray, " S"], cache: FrontendCache, *, is_final: bool = False
    ) -> tuple[Float[mx.array, "1 T MM"], Float32[np.ndarray, " N"]]:
        """Return the feature frames that are complete now, (1, T, m*M), T may be 0, and the samples they cover.

        Frame t covers N's samples [t * shift, t * shift + frame length). `cache` is updated in place.

        Args:
            samples: the next chunk, [-1, 1] at the model's rate; any number, also none.
            cache: a new `FrontendCache()` for a new stream.
            is_final: whether this is the last chunk.
        """
        cache.waveform = np.concatenate([cache.waveform, samples])
        self._add_mel_frames(cache)
        logmel = cache.logmel
        if logmel is None:
            return self._nothing()
        if is_final:
            logmel = mx.concatenate([logmel, *[logmel[:, -1:]] * self.context], axis=1)
        count = logmel.shape[1] - 2 * self.context
        if count <= 0:
            return self._nothing()
        cache.logmel = logmel[:, count:]
        covered = cache.waveform[: (count - 1) * self.shift + self.min_samples]
        cache.waveform = cache.waveform[count * self.shift :].copy()
        cache.waiting -= count
        return self.apply_cmvn(self._stacked(logmel, count)), covered

    def _add_mel_frames(self, cache: FrontendCache) -> None:
        """Compute the frames that have become whole since the last chunk; the first is its own left context."""
        fresh = cache.waveform[cache.waiting * self.shift :]
        count = 1 + (len(fresh) - self.min_samples) // self.shift
        if len(fresh) < self.min_samples:
            return
        used = fresh[: (count - 1) * self.shift + self.min_samples]
        logmel = self.fbank(mx.array(used[None]))  # (1, F, M)
        before = [logmel[:, :1]] * self.context if cache.logmel is None else [cache.logmel]
        cache.logmel = mx.concatenate([*before, logmel], axis=1)
        cache.waiting += count

    def _stacked(self, logmel: mx.array, count: int) -> mx.array:
        """(1, F, M) -> (1, count, m*M): frame t is F's frames t .. t + m - 1 side by side, a view."""
        mels, m = logmel.shape[2], self.config.lfr_m
        return mx.as_strided(mx.contiguous(logmel), (1, count, m * mels), (logmel.size, mels, 1))

    def _nothing(self) -> tuple[mx.array, np.ndarray]:
        return mx.zeros((1, 0, self.config.output_size)), np.empty(0, np.float32)
