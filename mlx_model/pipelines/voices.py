"""Whose voice is in the segments of a recording: embeddings of their windows, and who speaks when by their clusters.

What stands between the pipeline (auto.py), which has segments and their samples, and what speakers are told apart by:
decoding/speaker_turns.py and decoding/clustering.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from importlib import util
from itertools import accumulate, pairwise

import numpy as np

from mlx_model.decoding.clustering import cluster
from mlx_model.decoding.speaker_turns import renumbered, speakers_of, turns, windows
from mlx_model.errors import DependencyError
from mlx_model.pipelines.resuming import Voice
from mlx_model.roles import Embedder
from mlx_model.text import results
from mlx_model.text.meeting import Speakers
from mlx_model.text.results import Segment
from mlx_model.text.speakers import Turn

AT_ONCE = 128  # windows that are embedded together: 12 MB of samples


def check_installed() -> None:
    """Raise DependencyError, before anything is heard, where what speakers are told apart by is not installed."""
    for module, package in (("sklearn", "scikit-learn"), ("scipy", "scipy")):
        if util.find_spec(module) is None:
            raise DependencyError(f"telling speakers apart needs {package}: pip install 'mlx-funasr[speakers]'")


def embedded(embedder: Embedder, waveforms: Sequence[np.ndarray]) -> list[Voice]:
    """Return the voice in each segment's samples: the embeddings of its windows."""
    rate = embedder.config.frontend.fs
    pieces = [[window.samples for window in windows(waveform, 0.0, rate)] for waveform in waveforms]
    flat = [piece for found in pieces for piece in found]
    rows = [row for at in range(0, len(flat), AT_ONCE) for row in embedder.embed(flat[at : at + AT_ONCE])]
    edges = [0, *accumulate(map(len, pieces))]
    return [
        Voice(len(waveform), np.stack(rows[first:stop]) if stop > first else np.zeros((0, 1), np.float32))
        for waveform, (first, stop) in zip(waveforms, pairwise(edges), strict=True)
    ]


def speakers_in(
    segments: Sequence[Segment], voices: Mapping[int, Voice], rate: int, count: int | None, *, as_funasr: bool
) -> Speakers:
    """Return who speaks when in a recording, and whose its sentences are.

    Args:
        segments: of speech, in order.
        voices: in each of them, by its number.
        rate: of the samples that were embedded, Hz.
        count: how many speak; None: as many as are found.
        as_funasr: see decoding/clustering.py and decoding/speaker_turns.py.
    """
    times: list[tuple[float, float]] = []
    rows: list[np.ndarray] = []
    for number, part in enumerate(segments):
        voice = voices[number]
        silence = np.broadcast_to(np.float32(0), (voice.samples,))  # windows are cut by their number alone
        times += [(window.start_s, window.end_s) for window in windows(silence, part.start_ms / 1000, rate)]
        rows += list(voice.embeddings)
    found: list[Turn] = []
    if rows:
        labels = cluster(np.stack(rows), count, as_funasr=as_funasr, seed=0)
        found = turns(times, renumbered(labels), as_funasr=as_funasr)
    shown = [
        results.Turn(start_ms=round(one.start_s * 1000), end_ms=round(one.end_s * 1000), speaker=one.speaker)
        for one in found
    ]
    return Speakers(shown, partial(speakers_of, found=found, as_funasr=as_funasr))
