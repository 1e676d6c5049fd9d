"""The front end of a recogniser's stream: chunks of samples in, low-frame-rate features out, those of the whole file.

Mirrors funasr/frontends/wav_frontend.py::WavFrontendOnline where frames are stacked (lfr_n > 1). However samples are
cut into chunks, the features are the ones that frontend.py makes of all of them; they come as soon as the frames that
they are stacked of are there. With the last chunk the last frame is repeated in place of what would have followed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from mlx_model.config.parts import WavFrontendConfig
from mlx_model.machine.blas import mx
from mlx_model.parts.frontend import WavFrontend

NO_SAMPLES = np.empty(0, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackedCache:
    """What a stream's features still need of it: samples from the first frame that was not computed, and mel frames.

    `logmel` (F, M) begins with the left context of the next feature; None before the first frame. A value.
    """

    samples: np.ndarray = dataclasses.field(default_factory=lambda: NO_SAMPLES)
    logmel: mx.array | None = None


class WavFrontendStacked(WavFrontend):
    """Chunks -> features. `cmvn_shift`, `cmvn_scale`: (m*M,), always float32. Called as a whole: WavFrontend.

    FunASR's class ignores `upsacle_samples` (it always scales to 16 bits) and `snip_edges`; so does this one.
    """

    def __init__(self, config: WavFrontendConfig):
        super().__init__(dataclasses.replace(config, upsacle_samples=True))
        self.context = (config.lfr_m - 1) // 2

    def new_cache(self) -> StackedCache:
        """Return what a stream begins with."""
        return StackedCache()

    def saved(self, cache: StackedCache) -> dict[str, np.ndarray]:
        """Return a cache as arrays; `restored` takes them."""
        return {"samples": cache.samples} | ({} if cache.logmel is None else {"logmel": np.array(cache.logmel)})

    def restored(self, arrays: Mapping[str, np.ndarray]) -> StackedCache:
        """Return the cache that was saved."""
        logmel = arrays.get("logmel")
        samples = np.asarray(arrays["samples"], np.float32)
        return StackedCache(samples=samples, logmel=None if logmel is None else mx.array(logmel))

    def chunk(
        self, samples: Float32[np.ndarray, " S"], cache: StackedCache, *, is_final: bool = False
    ) -> tuple[Float[mx.array, "T MM"], StackedCache]:
        """Return the features that are complete now, (T, m*M), T may be 0, and the cache for the next chunk.

        Args:
            samples: the next ones, [-1, 1] at the model's rate; any number, also none.
            cache: `new_cache()` for a new stream.
            is_final: whether these are the last ones.
        """
        ((feats, after),) = self.chunks([samples], [cache], [is_final])
        return feats, after

    def chunks(
        self, samples: Sequence[np.ndarray], caches: Sequence[StackedCache], final: Sequence[bool]
    ) -> list[tuple[Float[mx.array, "T MM"], StackedCache]]:
        """Return the same of many streams; those that are alike in length are computed as one batch."""
        waveforms = [np.concatenate([cache.samples, new]) for new, cache in zip(samples, caches, strict=True)]
        groups: dict[tuple[int, int, bool], list[int]] = {}
        for index, (waveform, cache) in enumerate(zip(waveforms, caches, strict=True)):
            known = -1 if cache.logmel is None else len(cache.logmel)
            groups.setdefault((len(waveform), known, final[index]), []).append(index)
        found: dict[int, tuple[mx.array, StackedCache]] = {}
        for (_, _, is_final), indices in groups.items():
            made = self._alike([waveforms[i] for i in indices], [caches[i].logmel for i in indices], is_final)
            found |= zip(indices, made, strict=True)
        return [found[index] for index in range(len(waveforms))]

    def _alike(
        self, waveforms: Sequence[np.ndarray], known: Sequence[mx.array | None], is_final: bool
    ) -> list[tuple[mx.array, StackedCache]]:
        """The same of streams that have as many samples, and as many mel frames, as one another."""
        config = self.config
        shift, size, samples = config.shift_samples, config.frame_samples, len(waveforms[0])
        frames = 1 + (samples - size) // shift if samples >= size else 0
        logmel = self._mel_frames(np.stack(waveforms)[:, : (frames - 1) * shift + size], known, frames)
        rests = [waveform[frames * shift :].copy() for waveform in waveforms]
        if logmel is None:
            return [(self._nothing(), StackedCache(samples=rest)) for rest in rests]
        count, kept = self.counts(logmel.shape[1], is_final)
        if count == 0:
            parts = list(logmel)
            return [
                (self._nothing(), StackedCache(samples=rest, logmel=part))
                for rest, part in zip(rests, parts, strict=True)
            ]
        feats = self.apply_cmvn(self._stacked(logmel, count))
        left = mx.contiguous(logmel[:, kept:])
        mx.eval(feats, left)
        return [
            (feats[row], StackedCache(samples=rest, logmel=left[row])) for row, rest in enumerate(rests)
        ]  # fmt: skip

    def counts(self, frames: int, is_final: bool) -> tuple[int, int]:
        """Return how many features so many mel frames give, left context counted, and the first frame still needed."""
        m, n = self.config.lfr_m, self.config.lfr_n
        count = -(-(frames - self.context) // n) if is_final else (frames - m) // n + 1
        count = max(count, 0)
        return count, min(frames - 1, count * n)

    def _mel_frames(self, waveforms: np.ndarray, known: Sequence[mx.array | None], frames: int) -> mx.array | None:
        """Return all mel frames that are there, (B, F, M); the stream's first one is its own left context."""
        before = [part for part in known if part is not None]
        fresh = self.fbank(mx.array(waveforms)) if frames else None  # (B, F, M)
        if not before:
            return None if fresh is None else mx.concatenate([fresh[:, :1]] * self.context + [fresh], axis=1)
        stacked = mx.stack(before)
        return stacked if fresh is None else mx.concatenate([stacked, fresh], axis=1)

    def _stacked(self, logmel: mx.array, count: int) -> mx.array:
        """(B, F, M) -> (B, count, m*M): feature t is frames t*n .. t*n + m - 1 side by side."""
        m, n = self.config.lfr_m, self.config.lfr_n
        index = mx.minimum(mx.arange(count)[:, None] * n + mx.arange(m)[None], logmel.shape[1] - 1)  # (count, m)
        rows = logmel[:, index.reshape(-1)]
        return rows.reshape(len(logmel), count, -1)  # (B, count, m*M)

    def _nothing(self) -> mx.array:
        return mx.zeros((0, self.config.output_size))
