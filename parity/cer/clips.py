"""A few recordings as data: URIs, so that a report plays them wherever it is opened.

Must not import mlx, torch or funasr.
"""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import soundfile

from mlx_model.audio.files import load_audio
from mlx_model.errors import AudioError
from parity.cer.datasets import Dataset
from parity.cer.recordings import Recordings

CLIPS = 20  # in one report: a few kilobytes a second each
LONGEST_S = 30.0
RATE = 16000  # one that Opus knows

Row = TypeVar("Row", bound=Any)


def with_audio(rows: Sequence[Row], data: Dataset, recordings: Recordings, most: int = CLIPS) -> list[Row]:
    """Return the rows (with utt_id and audio), the first `most` of them with their recording where it can be had."""
    wanted = {row.utt_id for row in rows[:most]}
    found = {item.utt_id: item for item in data.utterances if item.utt_id in wanted}
    return [
        dataclasses.replace(row, audio=_uri(found[row.utt_id], recordings)) if row.utt_id in found else row
        for row in rows
    ]


def _uri(utterance: Any, recordings: Recordings) -> str | None:
    if not utterance.path.is_file():
        return None
    try:
        file = recordings.path(utterance)
        try:
            waveform = load_audio(file, RATE)[: int(LONGEST_S * RATE)]
        finally:
            recordings.release(file)
    except AudioError:
        return None
    return uri_of([waveform])


def uri_of(pieces: Iterable[np.ndarray]) -> str:
    """Return a recording, of which the pieces are at RATE, as a data: URI that pages play."""
    encoded = io.BytesIO()
    with soundfile.SoundFile(encoded, "w", samplerate=RATE, channels=1, format="OGG", subtype="OPUS") as file:
        for piece in pieces:
            file.write(piece)
    return "data:audio/ogg;base64," + base64.b64encode(encoded.getvalue()).decode()
