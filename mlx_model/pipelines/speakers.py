"""Whose voice is in recordings, whether two are one speaker's, and who spoke when in a meeting.

Mirrors what funasr/auto/auto_model.py::AutoModel.inference_with_vad does with a speaker model: windows of the segments
that a VAD found, their embeddings, labels by clustering, turns. A recording is read a minute at a time, twice; of its
windows only embeddings are kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from mlx_model.audio.files import Recording, blocks
from mlx_model.audio.items import Audio, listed, path_of
from mlx_model.audio.reading import load
from mlx_model.decoding.clustering import cluster
from mlx_model.decoding.speaker_turns import Window, renumbered, turns, windows
from mlx_model.errors import AudioError, UsageError
from mlx_model.pipelines.detect import detect
from mlx_model.pipelines.long_audio import cut
from mlx_model.pipelines.options import option_kinds
from mlx_model.pipelines.transcribe import MAX_DURATION_S
from mlx_model.roles import Detector, Embedder
from mlx_model.text.formats import name, tsv_row
from mlx_model.text.results import Detection
from mlx_model.text.speakers import Diarization, Embedded, Turn, rttm

Progress = Callable[[float], None]
WINDOWS = 64  # embedded at once


class Voices(NamedTuple):
    """Who spoke when, and the mean embedding of each speaker's windows, (speakers, D); None where nobody spoke."""

    turns: list[Turn]
    centers: np.ndarray | None
    labels: np.ndarray


class Windows:
    """The windows of one recording as its segments come: samples go, embeddings and times stay."""

    def __init__(self, model: Embedder):
        self.model = model
        self.times: list[tuple[float, float]] = []
        self._waiting: list[Window] = []
        self._embedded: list[np.ndarray] = []

    def add(self, start_s: float, samples: np.ndarray) -> None:
        """Take one segment of speech, in order."""
        self._waiting += windows(samples, start_s, self.model.config.frontend.fs)
        while len(self._waiting) >= WINDOWS:
            self._embed()

    def _embed(self) -> None:
        now, self._waiting = self._waiting[:WINDOWS], self._waiting[WINDOWS:]
        self._embedded.append(self.model.embed([window.samples for window in now]))
        self.times += [(window.start_s, window.end_s) for window in now]

    def embeddings(self) -> np.ndarray:
        """Return the embeddings of all windows so far, (N, D), in the order of `times`."""
        while self._waiting:
            self._embed()
        return np.concatenate(self._embedded) if self._embedded else np.empty((0, 0), np.float32)

    def voices(self, speakers: int | None = None, *, as_funasr: bool = False) -> Voices:
        """Return who spoke when in all segments so far; see `diarize`."""
        embeddings = self.embeddings()
        if not len(embeddings):
            return Voices([], None, np.empty(0, np.int64))
        labels = renumbered(cluster(embeddings, speakers, as_funasr=as_funasr))
        centers = np.stack([embeddings[labels == number].mean(0) for number in range(labels.max() + 1)])
        return Voices(turns(self.times, labels, as_funasr=as_funasr), centers, labels)


def embed(model: Embedder, audio: Audio | Sequence[Audio], *, progress: Progress | None = None) -> list[Embedded]:
    """Return the speaker's embedding of each recording, in input order; unusable ones say why in `error`.

    Args:
        model: what `mlx_model.load` returned.
        audio: a path, a mono waveform at the model's rate in [-1, 1], or a sequence of these.
        progress: called with the number of recordings done since the last call.
    """
    results = []
    for item in listed(audio):
        results.append(_embedded(model, item))
        if progress is not None:
            progress(1.0)
    return results


def _embedded(model: Embedder, item: Audio) -> Embedded:
    rate = model.config.frontend.fs
    found = load(item, rate, least=model.frontend.min_samples, longest_s=MAX_DURATION_S)
    if not isinstance(found, Recording):
        return Embedded(path=path_of(item), error=str(found))
    samples = found.samples
    if samples.dtype == np.int16:
        samples = samples.astype(np.float32) / 32768.0
    (embedding,) = model.embed([samples])
    return Embedded(path=path_of(item), embedding=embedding, duration_s=len(samples) / rate, notes=found.notes)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Return the cosine of two embeddings, 0 where one of them is 0."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size else 0.0


def diarize(
    model: Embedder,
    detector: Detector,
    audio: Audio | Sequence[Audio],
    *,
    speakers: int | None = None,
    as_funasr: bool = False,
    vad_options: Any = None,
    progress: Progress | None = None,
) -> list[Diarization]:
    """Return who spoke when in each recording, of any length, in input order; unusable ones say why in `error`.

    Args:
        model: the embedder.
        detector: finds the segments.
        audio: a path, a mono waveform at the models' rate in [-1, 1], or a sequence of these.
        speakers: how many there are; None: found (decoding/clustering.py).
        as_funasr: as FunASR 1.4.16, also where it is wrong.
        vad_options: the detector's `Options`; None: FunASR's own choice here, which is dynamic_silence.
        progress: called with the number of recordings done since the last call.

    Raises:
        UsageError: models of different rates, fewer than one speaker.
        DependencyError: the extra `speakers` is not installed, and there are several windows to tell apart.
    """
    check_rates(model, detector)
    if speakers is not None and speakers < 1:
        raise UsageError(f"{speakers} speakers: there is at least one")
    if vad_options is None and "dynamic_silence" in option_kinds(detector):
        vad_options = detector.Options(dynamic_silence=True)
    results = []
    for item in listed(audio):
        (found,) = detect(detector, item, options=vad_options)
        results.append(_diarized(model, item, found, speakers, as_funasr=as_funasr))
        if progress is not None:
            progress(1.0)
    return results


def check_rates(model: Embedder, detector: Detector) -> None:
    """Raise UsageError where the two do not hear the same samples."""
    rates = model.config.frontend.fs, detector.config.frontend.fs
    if rates[0] != rates[1]:
        raise UsageError(
            f"the embedder takes {rates[0]} Hz and the detector {rates[1]} Hz; they cannot work together"
        )


def _diarized(model: Embedder, item: Audio, found: Detection, speakers: int | None, *, as_funasr: bool) -> Diarization:
    rate, gathered, error = model.config.frontend.fs, Windows(model), found.error
    pieces = iter([item]) if isinstance(item, np.ndarray) else blocks(item, rate)
    try:
        for (start, _), samples in zip(found.segments, cut(pieces, found.segments, rate), strict=True):
            gathered.add(start / 1000, samples)
    except AudioError as refused:
        error = error or str(refused)
    voices, notes = gathered.voices(speakers, as_funasr=as_funasr), list(found.notes)
    heard = len({turn.speaker for turn in voices.turns})
    if speakers is not None and heard != speakers:
        notes.append(f"{speakers} speakers were asked for, {heard} found in {len(gathered.times)} windows of speech")
    return Diarization(
        path=found.path,
        turns=voices.turns,
        centers=voices.centers,
        duration_s=found.duration_s,
        error=error,
        notes=notes,
    )


def embeddings_document(results: Sequence[Embedded], **about: Any) -> dict[str, Any]:
    """Return the `--json` document of `embed`."""
    rows = [
        {
            "path": name(item.path),
            "embedding": None if item.embedding is None else [float(value) for value in item.embedding],
            "duration_s": item.duration_s,
            "error": item.error,
            "notes": item.notes,
        }
        for item in results
    ]
    return {"schema": "speakers-embed/1", "results": rows, **about}


def turns_document(results: Sequence[Diarization], **about: Any) -> dict[str, Any]:
    """Return the `--json` document of `diarize`; seconds to the millisecond."""
    rows = [
        {
            "path": name(item.path),
            "segments": [[round(turn.start_s, 3), round(turn.end_s, 3), turn.speaker] for turn in item.turns],
            "speakers": item.speakers,
            "duration_s": item.duration_s,
            "error": item.error,
            "notes": item.notes,
        }
        for item in results
    ]
    return {"schema": "speakers-diarize/1", "results": rows, **about}


def _as_tsv(results: Sequence[Diarization]) -> str:
    rows = [
        tsv_row(name(item.path), f"{turn.start_s:.3f}", f"{turn.end_s:.3f}", turn.speaker)
        for item in results
        for turn in item.turns
    ]
    return "\n".join(["path\tstart_s\tend_s\tspeaker", *rows])


FORMATS: dict[str, Callable[..., str]] = {  # only "json" takes more than results
    "tsv": _as_tsv,
    "rttm": rttm,
    "json": lambda results, **about: json.dumps(turns_document(results, **about), ensure_ascii=False, indent=1),
}


def check_format(wanted: str) -> None:
    """Raise UsageError for an unknown format."""
    if wanted not in FORMATS:
        raise UsageError(f"unknown format {wanted!r}; use {', '.join(FORMATS)}")
