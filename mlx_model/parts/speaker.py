"""What every network of speaker embeddings does around its layers: its front end, batches, what the role asks.

Mirrors funasr/models/campplus/utils.py::extract_feature: Kaldi's fbank of samples in [-1, 1], where the floor of the
logarithm bites and a louder recording is another one; then the mean over time is taken off every band. FunASR fills up
the shorter features of a batch with zeros and lets the network take them for speech; here only features of the same
length are computed together, so that an embedding does not depend on what it is batched with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Float32, Int, Shaped

from mlx_model import ops_conv
from mlx_model.config.speaker_networks import SpeakerFrontendConfig
from mlx_model.errors import AudioError, UsageError
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.device import share_products
from mlx_model.parts.basic import length_mask
from mlx_model.parts.frontend import FULL_SCALE, WavFrontend

THRESHOLD = 0.5  # of the first released CAM++; for models that state none
FRAMES = 12_000  # computed at once: two minutes


class SpeakerFrontend(WavFrontend):
    """Waveforms to fbank whose mean over time is zero. `least` frames have statistics; fewer give none."""

    def __init__(self, config: SpeakerFrontendConfig, least: int):
        super().__init__(config)
        self.least = least

    @property
    def min_samples(self) -> int:
        """Samples of the shortest recording that has an embedding."""
        return self.config.frame_samples + (self.least - 1) * self.config.shift_samples

    def __call__(
        self, waveforms: Float[mx.array, "B S"], samples: Int[mx.array, " B"], *, dither: float = 0.0, seed: int = 0
    ) -> tuple[Float[mx.array, "B T F"], Int[mx.array, " B"]]:
        """Return features (B, T, F), zero in the padding, and their lengths."""
        logmel = self.fbank(waveforms, dither=dither, seed=seed)
        lengths = mx.array([self.frames(count) for count in samples.tolist()])  # pyright: ignore[reportArgumentType, reportGeneralTypeIssues]
        mask = length_mask(lengths, logmel.shape[1])[:, :, None]
        mean = ops_conv.time_sum(mx.where(mask, logmel, 0.0)) / lengths[:, None, None]
        return mx.where(mask, logmel - mean, 0.0), lengths

    def frames(self, samples: int) -> int:
        """Return how many frames so many samples give."""
        return max(1 + (samples - self.config.frame_samples) // self.config.shift_samples, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerOptions:
    """What can be asked of a network of embeddings: nothing. FunASR's classes have no options either."""


class SpeakerModel(nn.Module):
    """Base of the families: an Embedder (roles.py). They have `frontend`, and `network`, (B, T, F) to (B, D)."""

    Options: ClassVar[type[SpeakerOptions]] = SpeakerOptions
    frontend: SpeakerFrontend
    config: Any

    @property
    def threshold(self) -> float:
        """The cosine from which on two recordings are one speaker's: the model's own, as its configuration.json says.

        Users see as little as 0.6 between recordings of one speaker, and up to 0.35 between two.
        """
        return THRESHOLD if self.config.threshold is None else self.config.threshold

    def network(self, feats: Float[mx.array, "B T F"]) -> Float[mx.array, "B ..."]:
        """Return what the layers make of features of one length."""
        raise NotImplementedError

    def features_of(
        self, waveforms: Shaped[mx.array, "B S"], samples: list[int], *, dither: float = 0.0, seed: int = 0
    ) -> tuple[Float[mx.array, "B T F"], Int[mx.array, " B"]]:
        """Return features and lengths of padded waveforms, float32 or int16; `samples` are their own lengths."""
        if waveforms.dtype == mx.int16:
            waveforms = waveforms.astype(mx.float32) / FULL_SCALE
        return self.frontend(waveforms, mx.array(samples), dither=dither, seed=seed)

    def features(self, waveforms: Sequence[np.ndarray]) -> tuple[Float[mx.array, "B T F"], Int[mx.array, " B"]]:
        """Return features and lengths of waveforms of any lengths, to be called with."""
        samples = [len(waveform) for waveform in waveforms]
        rows = np.zeros((len(samples), max(samples)), np.float32)
        for row, waveform in zip(rows, waveforms, strict=True):
            row[: len(waveform)] = waveform
        return self.features_of(mx.array(rows), samples)

    def __call__(self, feats: Float[mx.array, "B T F"], lengths: Int[mx.array, " B"]) -> Float[mx.array, "B ..."]:
        """Return embeddings, (B, D), computed together where lengths are equal.

        Args:
            feats: features, padded.
            lengths: valid frames of each, (B,).
        """
        share_products()
        sizes: list[int] = lengths.tolist()  # pyright: ignore[reportAssignmentType]
        found: dict[int, mx.array] = {}
        for group in grouped(sizes, FRAMES):
            rows = feats if len(group) == len(sizes) else feats[mx.array(group)]
            found |= zip(group, self.network(rows[:, : sizes[group[0]]]), strict=True)
        return mx.stack([found[row] for row in range(len(sizes))])

    def embed(self, waveforms: Sequence[np.ndarray]) -> Float32[np.ndarray, "B D"]:
        """Return one embedding of each waveform, not normalised; see `SpeakerModel.__call__`.

        Args:
            waveforms: (S,) float in [-1, 1] at the model's rate, of any lengths.

        Raises:
            AudioError: one is shorter than `frontend.min_samples`.
            UsageError: the model gives a vector a frame, and no embedding.
        """
        for waveform in waveforms:
            if len(waveform) < self.frontend.min_samples:
                least = self.frontend.min_samples
                raise AudioError(f"{len(waveform)} samples are too short for a speaker's embedding; it takes {least}")
        sizes = [len(waveform) for waveform in waveforms]
        found: dict[int, np.ndarray] = {}
        for group in grouped(sizes, FRAMES * self.frontend.config.shift_samples):
            embeddings = self(*self.features([waveforms[row] for row in group]))
            if embeddings.ndim != 2:
                raise UsageError("this model gives a vector a frame (output_level: frame), no speaker's embedding")
            found |= zip(group, np.array(embeddings.astype(mx.float32)), strict=True)
        return np.stack([found[row] for row in range(len(sizes))])


def grouped(sizes: Sequence[int], most: int) -> list[list[int]]:
    """Return groups of the numbers of what has equal sizes, each of at most `most` in all, or of one."""
    same: dict[int, list[int]] = {}
    for number, size in enumerate(sizes):
        same.setdefault(size, []).append(number)
    return [
        numbers[at : at + max(most // max(size, 1), 1)]
        for size, numbers in same.items()
        for at in range(0, len(numbers), max(most // max(size, 1), 1))
    ]
