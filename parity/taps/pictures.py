"""Data for a report's pictures: an utterance's spectrogram, CIF over it, and where the worst tap's error sits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from parity.taps.packing import Pair
from reports.schema import CifPicture, HeatMap

MEL_ROWS = 40  # the spectrogram is drawn with so many rows at most
HEAT_ROWS, HEAT_COLUMNS = 64, 200


def spectrogram(fbank: np.ndarray, per_frame: int) -> list[list[int]]:
    """Return (F, M) log mel energies as mel rows (low first) x LFR frames, 0..255 between two percentiles."""
    frames, mels = fbank.shape
    columns = -(-frames // per_frame)
    padded = np.pad(fbank, ((0, columns * per_frame - frames), (0, 0)), mode="edge")
    pooled = padded.reshape(columns, per_frame, mels).mean(axis=1)  # (T, M)
    rows = min(MEL_ROWS, mels)
    pooled = np.stack([part.mean(axis=1) for part in np.array_split(pooled, rows, axis=1)])  # (rows, T)
    low, high = np.percentile(pooled, [5.0, 99.5])
    scaled = np.clip((pooled - low) / max(high - low, 1e-6), 0.0, 1.0)
    return np.rint(255.0 * scaled).astype(int).tolist()


def heat_map(tap: str, utt_id: str, pair: Pair, value: np.ndarray) -> HeatMap:
    """Return the error of one tap, (1, T, D), as groups of channels x frames: log10 of multiples of the floor."""
    truth, reference = pair
    error = np.abs(value.astype(np.float64) - truth)[0].reshape(truth.shape[1], -1).T  # (D, T)
    floor = float(np.sqrt(np.mean((reference - truth) ** 2))) or float(np.sqrt(np.mean(truth**2))) * 6e-8
    grid = _pooled(_pooled(error**2, HEAT_ROWS, 0), HEAT_COLUMNS, 1)
    values = np.log10(np.maximum(np.sqrt(grid) / floor, 1e-3))
    return HeatMap(tap=tap, utt_id=utt_id, channels=error.shape[0], values=np.round(values, 2).tolist())


def _pooled(values: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Return means over at most `size` groups of neighbours along an axis."""
    parts = np.array_split(values, min(size, values.shape[axis]), axis=axis)
    return np.stack([part.mean(axis=axis) for part in parts], axis=axis)


def cif_picture(
    utt_id: str,
    plain: Mapping[str, np.ndarray],
    reference_alphas: np.ndarray,
    taps: Mapping[str, np.ndarray],
    lfr: tuple[int, float],
    tokens: tuple[Sequence[str], Sequence[str]],
) -> CifPicture:
    """Return what is drawn of one utterance.

    Args:
        utt_id: whose.
        plain: the reference's fbank and firings.
        reference_alphas: (T,), the tail frame included.
        taps: the candidate's taps.
        lfr: fbank frames per LFR frame, and seconds per LFR frame.
        tokens: pieces of both sides, one per firing.
    """
    per_frame, frame_s = lfr
    fires = [np.flatnonzero(side["predictor.fires"][0]).tolist() for side in (plain, taps)]
    return CifPicture(
        utt_id=utt_id,
        frame_s=frame_s,
        fbank=spectrogram(plain["fbank"][0], per_frame),
        reference_alphas=_rounded(reference_alphas),
        candidate_alphas=_rounded(taps["predictor.alphas"][0]),
        running_sum=_rounded(np.cumsum(taps["predictor.alphas"][0].astype(np.float64))),
        reference_fires=fires[0],
        candidate_fires=fires[1],
        tokens=list(tokens[0]),
        candidate_tokens=list(tokens[1]),
    )


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 5) for value in values]
