"""Audio files put together byte by byte, so that a test may get any part of them wrong."""

from __future__ import annotations

import io
import struct

import numpy as np
import soundfile


def wav(
    samples: np.ndarray, *, rate: int = 16000, order: str = "<", riff_size: int | None = None,
    data_size: int | None = None, before: bytes = b"", behind: bytes = b"",
) -> bytes:  # fmt: skip
    """Return a WAV of int16 samples, (S,) or (S, C); RIFX where `order` is ">"; sizes as they should be, or given."""
    content = samples.astype(order + "i2").tobytes()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    form = struct.pack(order + "HHIIHH", 1, channels, rate, 2 * rate * channels, 2 * channels, 16)
    size = len(content) if data_size is None else data_size
    body = b"WAVE" + b"fmt " + struct.pack(order + "I", 16) + form + before
    body += b"data" + struct.pack(order + "I", size) + content + behind
    outer = len(body) if riff_size is None else riff_size
    return (b"RIFF" if order == "<" else b"RIFX") + struct.pack(order + "I", outer) + body


def encoded(samples: np.ndarray, kind: str, subtype: str | None = None, rate: int = 16000) -> bytes:
    """Return what libsndfile writes."""
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format=kind, subtype=subtype)
    return content.getvalue()
