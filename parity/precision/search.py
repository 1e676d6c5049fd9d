"""Speech in, recipe out: what `mlx-funasr quantize` measures before and after the model is written again.

CER is counted with the normaliser `none`: what changes between two precisions is what matters, not the rate itself. A
budget of CER has to hold with one standard error to spare, so that it also holds on other speech.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mlx_model.audio.files import load_audio
from mlx_model.errors import AudioError, UsageError
from mlx_model.loading import load_as
from mlx_model.machine.numerics import numerics
from mlx_model.roles import Recognizer
from mlx_model.text.results import Hypothesis
from parity.precision.recipe import Budget, Found, find
from parity.precision.trial import Trial

SCHEMA = "recipe/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """Waveforms (S,) float32, and what was said in them where that is known. `skipped`: why some were left out."""

    waveforms: list[np.ndarray]
    texts: list[str] | None
    skipped: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """A recipe and what it was found on. `document` is the JSON; `judge` measures a written model the same way."""

    found: Found
    document: dict[str, Any]
    about: str
    judge: Callable[[Path], dict[str, float]]


def listen(audio: Sequence[Path], data: str | None, limit: int | None, rate: int) -> Speech:
    """Return the speech of recordings, or of a test set with its transcripts.

    Raises:
        UsageError: neither or both are given, or nothing of it can be used.
    """
    if bool(audio) == (data is not None):
        raise UsageError("give either recordings (--audio PATH...) or a test set with transcripts (--data DATASET)")
    if data is None:
        from parity.layers.given import find_audio

        return _heard([(str(path), path, None) for _, path in find_audio(audio, limit)], rate)
    from parity.cer.datasets import read_dataset
    from parity.cer.recordings import Recordings

    with Recordings() as recordings:
        rows = []
        for item in read_dataset(data).utterances[:limit]:
            try:
                rows.append((item.utt_id, recordings.path(item), item.text))
            except AudioError as error:
                rows.append((item.utt_id, error, None))
        return _heard(rows, rate)


def _heard(rows: Sequence[tuple[str, Path | AudioError, str | None]], rate: int) -> Speech:
    waveforms, texts, skipped = [], [], []
    for name, path, text in rows:
        try:
            if isinstance(path, AudioError):
                raise path
            waveforms.append(load_audio(path, rate))
            texts.append(text)
        except AudioError as error:
            skipped.append(f"{name}: {error}")
    if not waveforms:
        raise UsageError(f"none of the {len(rows)} recordings can be used; the first: {skipped[0] if skipped else ''}")
    known = [text for text in texts if text is not None]
    return Speech(waveforms=waveforms, texts=known if len(known) == len(waveforms) else None, skipped=skipped)


def search(
    path: str | Path,
    budget: Budget,
    *,
    audio: Sequence[Path] = (),
    data: str | None = None,
    limit: int | None = None,
    levels: Sequence[int] = (4, 6, 8),
    group_size: int = 64,
    options: Mapping[str, Any] | None = None,
    progress: Callable[[float], None] = lambda done: None,
) -> Searched:
    """Return the smallest recipe with which the budget holds on some speech.

    Args:
        path: an unquantised conversion.
        budget: changed tokens, or points of CER.
        audio: recordings or folders of them.
        data: or a test set with transcripts, as `cer` takes it.
        limit: at most so many recordings.
        levels: bits that may be used.
        group_size: weights that share a scale and a bias.
        options: of the family, by their names, as hotwords; its defaults.
        progress: called with the share of the layers' measurements done since the last call.

    Raises:
        UsageError: the budget is one of CER and the speech has no transcripts, or no layer can be quantised.
    """
    model = load_as(path, Recognizer)
    speech = listen(audio, data, limit, model.config.frontend.fs)
    if budget.kind == "cer" and speech.texts is None:
        raise UsageError("a budget of CER needs transcripts: give a test set with --data DATASET")
    trial = Trial(model, speech.waveforms, group_size, options)
    share = 1.0 / (len(trial.names) * len(levels))
    measure = Measure(trial, speech)
    cost = partial(measure.of_kind, budget.kind)
    found = find(trial, budget, cost, levels=levels, progress=lambda _: progress(share))
    rows = [{"bits": None, "size_mb": found.full_size_mb, **measure(trial.before)}]
    for bits in sorted(levels, reverse=True):
        uniform = dict.fromkeys(trial.names, bits)
        rows.append({"bits": bits, "size_mb": trial.size_mb(uniform), **measure(trial.heard(uniform))})
    document = {
        "schema": SCHEMA,
        "numerics": numerics(trial.model),
        "source": str(path),
        **_document(trial, speech, budget, found),
        "uniform": rows,
    }
    about = _about(document, levels, len(trial.names))

    def judge(written: Path) -> dict[str, float]:
        return measure(trial.heard_by(load_as(written, Recognizer)))

    return Searched(found=found, document=document, about=about, judge=judge)


def _document(trial: Trial, speech: Speech, budget: Budget, found: Found) -> dict[str, Any]:
    return {
        "budget": dataclasses.asdict(budget),
        "group_size": trial.group_size,
        "recordings": len(speech.waveforms),
        "audio_s": sum(map(len, speech.waveforms)) / trial.model.config.frontend.fs,
        "skipped": speech.skipped,
        "modules": found.modules,
        "unread": list(found.unread),
        "errors": {name: {str(bits): error for bits, error in row.items()} for name, row in found.errors.items()},
        "size_mb": found.size_mb,
        "full_size_mb": found.full_size_mb,
    }


def _about(document: Mapping[str, Any], levels: Sequence[int], layers: int) -> str:
    """Return the recipe in a sentence."""
    modules, budget = document["modules"], document["budget"]
    spread = ", ".join(f"{list(modules.values()).count(bits)} layers in {bits} bits" for bits in sorted(levels))
    unread = len(document["unread"])
    left = f" {unread} of these change nothing on this speech (no hotwords given?)." if unread else ""
    return (
        f"Weights quantised by measurement, budget {budget['kind']}={budget['limit']:g} on {document['recordings']} "
        f"recordings ({document['audio_s']:.0f} s): {spread}, {layers - len(modules)} that could be were left as they "
        f"are, as were the layers that groups of {document['group_size']} would not make smaller.{left}"
    )


class Measure:
    """What it costs that something else is heard.

    {tokens: how many changed; cer: points of CER more than the unquantised model's; cer_se: that difference's standard
    error, over utterances}, the last two where transcripts are known.
    """

    def __init__(self, trial: Trial, speech: Speech):
        self.trial, self.texts = trial, speech.texts
        self.before, self.lengths = self._errors(trial.before)

    def __call__(self, heard: Sequence[Hypothesis]) -> dict[str, float]:
        """Return what the class says."""
        cost = {"tokens": float(self.trial.changed(heard))}
        if self.texts is None:
            return cost
        difference, error = paired_difference(self._errors(heard)[0] - self.before, self.lengths)
        return cost | {"cer": 100.0 * difference, "cer_se": 100.0 * error}

    def of_kind(self, kind: str, heard: Sequence[Hypothesis]) -> float:
        """Return what a budget of that kind limits. One of CER has to hold with a standard error to spare.

        What a recipe costs on other speech is the same up to the error of both. That of a few hundred utterances is as
        large as the difference a recipe may make, and of many recipes the search meets a lucky one; no model gets
        better by rounding, so that gains count as none.
        """
        cost = self(heard)
        return max(cost["cer"], 0.0) + cost["cer_se"] if kind == "cer" else cost[kind]

    def _errors(self, heard: Sequence[Hypothesis]) -> tuple[np.ndarray, np.ndarray]:
        """Return the errors in each utterance, and its length."""
        if self.texts is None:
            return np.zeros(0), np.zeros(0)
        from parity.cer.normalize import find_normalizer
        from parity.cer.score import score, utterance_errors

        references = {str(number): text for number, text in enumerate(self.texts)}
        texts: Mapping[str, str] = {str(number): one.text for number, one in enumerate(heard)}
        rows = score(references, texts, find_normalizer("none")).rows
        lengths = [row.hits + row.substitutions + row.deletions for row in rows]
        return np.array([utterance_errors(row) for row in rows]), np.array(lengths)


def paired_difference(errors: np.ndarray, lengths: np.ndarray) -> tuple[float, float]:
    """Return how much a rate changes when every utterance has so many more errors, and the standard error of that.

    The error is that of a ratio of sums: the utterances are independent, the differences in one are not.
    """
    total = max(int(lengths.sum()), 1)
    difference = float(errors.sum()) / total
    return difference, float(np.sqrt(np.sum((errors - difference * lengths) ** 2))) / total
