"""Data for the picture of CIF over an utterance's spectrogram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from parity.taps.pictures import spectrogram
from reports.schema import FiringPicture


def cif_picture(
    utt_id: str,
    plain: Mapping[str, np.ndarray],
    reference_alphas: np.ndarray,
    taps: Mapping[str, np.ndarray],
    lfr: tuple[int, float],
    tokens: tuple[Sequence[str], Sequence[str]],
) -> FiringPicture:
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
    return FiringPicture(
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
