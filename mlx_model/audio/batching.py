"""Recordings in groups of similar length, and a group as one array. Pure; imports no mlx."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlx_model.audio.plain_wave import as_float


def batches(lengths: Sequence[float], batch_size: int | None, batch_seconds: float) -> list[list[int]]:
    """Return indices grouped so that (longest x count) stays within `batch_seconds`, shortest first.

    A recording longer than `batch_seconds` stands alone.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        group = groups[-1] if groups else None
        fits = (
            group is not None
            and (len(group) + 1) * lengths[index] <= batch_seconds
            and (batch_size is None or len(group) < batch_size)
        )
        if fits and group is not None:
            group.append(index)
        else:
            groups.append([index])
    return groups


def side_by_side(waveforms: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """Return waveforms as the rows of one array, zeros behind the shorter ones, and how many samples each has.

    int16 where all are, which is half to carry; else float32 (`audio.as_float`).
    """
    samples = [len(waveform) for waveform in waveforms]
    integers = all(waveform.dtype == np.int16 for waveform in waveforms)
    rows = np.zeros((len(waveforms), max(samples)), dtype=np.int16 if integers else np.float32)
    for row, waveform in zip(rows, waveforms, strict=True):
        row[: len(waveform)] = waveform if integers else as_float(waveform)
    return rows, samples
