"""Waveforms to features in MLX, batched: Kaldi fbank, low frame rate stacking (LFR), CMVN. Pure functions, one module.

Mirrors funasr/frontends/wav_frontend.py::WavFrontend on top of Kaldi's fbank (torchaudio.compliance.kaldi or
kaldi-native-fbank). The details ports get wrong, in order: the mean is removed per frame, then pre-emphasis per frame
(the first sample loses 97 % of itself), then the window; 400 samples are zero-padded to a 512-point FFT; triangles are
linear in mel between 20 Hz and Nyquist; the log has float32's epsilon as its floor; frames are whole (snip_edges).
"""

from __future__ import annotations

import functools
import math

import numpy as np
from jaxtyping import Float, Int, Shaped

from mlx_model import ops
from mlx_model.config.parts import WavFrontendConfig
from mlx_model.errors import ConfigError
from mlx_model.machine.blas import mx, nn
from mlx_model.parts.basic import length_mask

FULL_SCALE = 32768.0  # of 16-bit samples, in which Kaldi computes
PREEMPHASIS = 0.97
LOW_FREQ_HZ = 20.0
LOG_FLOOR = float(np.finfo(np.float32).eps)

WINDOWS = {
    "hamming": lambda a: 0.54 - 0.46 * np.cos(a),
    "hanning": lambda a: 0.5 - 0.5 * np.cos(a),
    "povey": lambda a: (0.5 - 0.5 * np.cos(a)) ** 0.85,
    "sine": lambda a: np.sin(0.5 * a),
    "blackman": lambda a: 0.42 - 0.5 * np.cos(a) + 0.08 * np.cos(2 * a),
    "rectangular": np.ones_like,
}


@functools.lru_cache(maxsize=16)
def window(name: str, size: int) -> mx.array:
    """Return Kaldi's window of that name, shape (size,), symmetric (denominator size - 1), float32.

    Raises:
        ConfigError: Kaldi has no window of that name.
    """
    if name not in WINDOWS:
        raise ConfigError(f"frontend_conf: window {name!r} is not one of Kaldi's ({', '.join(WINDOWS)})")
    angle = 2.0 * math.pi / (size - 1) * np.arange(size)
    return mx.array(WINDOWS[name](angle).astype(np.float32))


def mel_scale(frequency_hz: np.ndarray) -> np.ndarray:
    """Return mel = 1127 ln(1 + f / 700), HTK's formula as Kaldi writes it."""
    return 1127.0 * np.log1p(frequency_hz / 700.0)


@functools.lru_cache(maxsize=16)
def mel_banks(n_mels: int, n_fft: int, fs: int) -> mx.array:
    """Return triangular filters, shape (n_fft/2, n_mels), float32: rising and falling linearly in mel, not in Hz.

    Kaldi leaves the Nyquist bin out (its weight is zero for filters that end at Nyquist).
    """
    low, high = mel_scale(np.array([LOW_FREQ_HZ, fs / 2]))
    edges = np.linspace(low, high, n_mels + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    mel = mel_scale(np.arange(n_fft // 2) * fs / n_fft)[:, None]  # (n_fft/2, 1)
    up, down = (mel - left) / (centre - left), (right - mel) / (right - centre)
    return mx.array(np.maximum(0.0, np.minimum(up, down)).astype(np.float32))


def frame_counts(samples: Int[mx.array, " B"], length: int, shift: int) -> Int[mx.array, " B"]:
    """Return how many whole frames fit (snip_edges): 0 below one frame, else 1 + (samples - length) // shift."""
    return mx.maximum(1 + (samples - length) // shift, 0)


def fbank(
    waveforms: Float[mx.array, "B S"], config: WavFrontendConfig, *, dither: float = 0.0, seed: int = 0
) -> Float[mx.array, "B F M"]:
    """Return log mel energies (B, F, M) of [-1, 1] waveforms (B, S); F = frames of S samples, padding included.

    Args:
        waveforms: zero-padded at the end; frames that reach into the padding are the caller's to mask.
        config: FunASR's frontend_conf.
        dither: standard deviation of Gaussian noise per sample of every frame, in 16-bit units; Kaldi's default is 1.
        seed: of that noise, so that a run can be repeated (kaldi-native-fbank's own cannot).
    """
    size, shift = config.frame_samples, config.shift_samples
    n_fft = 1 << (size - 1).bit_length()
    B, S = waveforms.shape
    count = 1 + (S - size) // shift
    scaled = mx.contiguous(waveforms * FULL_SCALE if config.upsacle_samples else waveforms)
    frames = mx.as_strided(scaled, (B, count, size), (S, shift, 1))  # (B, F, W)
    if dither > 0.0:
        frames = frames + dither * mx.random.normal(frames.shape, key=mx.random.key(seed))
    return _log_mel(frames, window(config.window, size), mel_banks(config.n_mels, n_fft, config.fs), n_fft)


def _log_mel(frames: mx.array, window: mx.array, banks: mx.array, n_fft: int) -> mx.array:
    """(B, F, W) samples -> (B, F, M): DC removal, pre-emphasis, window, power spectrum, mel, log; all per frame."""
    frames = frames - frames.sum(axis=-1, keepdims=True) / frames.shape[-1]  # Kaldi's Mean(): sum, then divide
    previous = mx.concatenate([frames[..., :1], frames[..., :-1]], axis=-1)
    frames = (frames - PREEMPHASIS * previous) * window
    return mx.log(mx.maximum(ops.mel_energies(frames, n_fft, banks), LOG_FLOOR))


def lfr(
    feats: Float[mx.array, "B F M"], lengths: Int[mx.array, " B"], m: int, n: int
) -> tuple[Float[mx.array, "B T MM"], Int[mx.array, " B"]]:
    """Return m stacked frames every n: (B, T, m*M) and the new lengths ceil(F / n).

    Frame 0 is repeated (m - 1) // 2 times on the left, each utterance's own last frame on its right.
    Mirrors funasr/frontends/wav_frontend.py::apply_lfr.
    """
    B, F, M = feats.shape
    steps = -(-F // n)
    index = mx.arange(steps)[:, None] * n + mx.arange(m)[None, :] - (m - 1) // 2  # (T, m)
    last = mx.maximum(lengths - 1, 0)[:, None, None]
    index = mx.clip(index[None], 0, last)  # (B, T, m)
    rows = (index + mx.arange(B)[:, None, None] * F).reshape(-1)
    return feats.reshape(B * F, M)[rows].reshape(B, steps, m * M), (lengths + n - 1) // n  # (B, T, m*M)


class WavFrontend(nn.Module):
    """Waveforms -> features as the encoder takes them. `cmvn_shift`, `cmvn_scale`: (m*M,), always float32."""

    def __init__(self, config: WavFrontendConfig):
        super().__init__()
        self.config = config
        window(config.window, 2)  # an unknown window is an error now, not at the first utterance
        if config.cmvn:
            self.cmvn_shift = mx.zeros((config.output_size,))
            self.cmvn_scale = mx.ones((config.output_size,))

    @property
    def min_samples(self) -> int:
        """Samples of one whole frame (25 ms); shorter audio has no features."""
        return self.config.frame_samples

    def steps(self, samples: int) -> int:
        """Return how many features so many samples give; on the host, so that nobody waits for the device to know."""
        frames = max(1 + (samples - self.min_samples) // self.config.shift_samples, 0)
        return -(-frames // self.config.lfr_n)

    def fbank(self, waveforms: mx.array, *, dither: float = 0.0, seed: int = 0) -> mx.array:
        """Return log mel energies, (B, F, M); see `fbank`."""
        return fbank(waveforms, self.config, dither=dither, seed=seed)

    def __call__(
        self, waveforms: Float[mx.array, "B S"], samples: Int[mx.array, " B"], *, dither: float = 0.0, seed: int = 0
    ) -> tuple[Float[mx.array, "B T MM"], Int[mx.array, " B"]]:
        """Return features (B, T, m*M), zero in the padding, and their lengths (B,).

        Args:
            waveforms: [-1, 1] at the model's rate, zero-padded to S.
            samples: each utterance's own length; at least `min_samples`.
            dither: see `fbank`; 0, unlike FunASR's default of 1, so that results repeat.
            seed: of the dither.
        """
        logmel = self.fbank(waveforms, dither=dither, seed=seed)
        counts = frame_counts(samples, self.min_samples, self.config.shift_samples)
        feats, lengths = lfr(logmel, counts, self.config.lfr_m, self.config.lfr_n)
        feats = self.apply_cmvn(feats)
        return mx.where(length_mask(lengths, feats.shape[1])[:, :, None], feats, 0.0), lengths

    def batch(
        self, waveforms: Shaped[mx.array, "B S"], samples: list[int], *, dither: float = 0.0, seed: int = 0
    ) -> tuple[Float[mx.array, "B T MM"], Int[mx.array, " B"]]:
        """Return the same of float32 or int16 waveforms, nobody waiting for the device to know the lengths."""
        if waveforms.dtype == mx.int16:
            waveforms = waveforms.astype(mx.float32) / FULL_SCALE
        feats, _ = self(waveforms, mx.array(samples), dither=dither, seed=seed)
        return feats, mx.array([self.steps(count) for count in samples])

    def apply_cmvn(self, feats: Float[mx.array, "B T MM"]) -> Float[mx.array, "B T MM"]:
        """Return (feats + shift) * scale, or feats where the model has no CMVN."""
        return (feats + self.cmvn_shift) * self.cmvn_scale if self.config.cmvn else feats
