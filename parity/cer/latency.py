"""How late a streaming model's text comes: when each character was given out, against when it was said.

Each recording is fed to a stream in pieces of FEED_MS, and what comes of each call is kept with how much had been fed
(the stream's clock: when the samples that a window needs are all there) and how long the call took (the machine's).
Another model says when words are said: an Aligner of the reference's text, or a Recognizer that times its own. What is
counted stands in reports/schema/latency.py. MLX is opened lazily; must not import torch or funasr.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlx_model.errors import AudioError, UsageError
from parity.cer.datasets import Utterance
from parity.cer.score import matching
from reports.schema.cer import Bin
from reports.schema.latency import CerLatency, Spread

FEED_MS = 10  # of a call: no window of a stream begins between two of them
EDGES_MS = (0, 200, 400, 600, 800, 1000, 1200, 1500, 2000, 3000)
STEP_MS = 0.01  # to which a call's time is counted

Emission = Sequence[Any]  # text, ms of samples that had been fed, ms that the call took
Timed = Sequence[Any]  # word, start_ms, end_ms


class Probe:
    """What a journal keeps of one recording, for LatencyTally: `emissions` and `times`."""

    def __init__(self, model: str, times_by: str, options: Mapping[str, Any]):
        """Open both models.

        Raises:
            UsageError: `model` does not stream, or `times_by` cannot say when words are said; an option it lacks.
        """
        from mlx_model.loading import load_as
        from mlx_model.pipelines.streams import stream
        from mlx_model.roles import Aligner, StreamingRecognizer

        self.model, self.options = load_as(model, StreamingRecognizer), dict(options)
        role = _role(times_by)
        self.timer, self.is_aligner = load_as(times_by, role), role is Aligner
        rates = {self.model.config.frontend.fs, self.timer.config.frontend.fs}
        if len(rates) > 1:
            raise UsageError(f"--times-by: the models take different rates, {sorted(rates)} Hz")
        stream(self.model, **self.options)

    def __call__(self, utterance: Utterance, file: Path) -> dict[str, Any]:
        """Return the emissions and times of one recording; nothing where it cannot be read, which the run says."""
        from mlx_model.audio.files import load_audio

        try:
            samples = load_audio(file, self.model.config.frontend.fs)
        except AudioError:
            return {}
        return {"emissions": self._emissions(samples), "times": self._times(samples, utterance.text)}

    def _emissions(self, samples: np.ndarray) -> list[Emission]:
        from mlx_model.pipelines.streams import stream

        rate = self.model.config.frontend.fs
        size, heard = rate * FEED_MS // 1000, stream(self.model, **self.options)
        found: list[Emission] = []
        for at in range(0, len(samples) + size, size):
            before = time.perf_counter()
            given = [*heard.feed(samples[at : at + size], is_final=at >= len(samples))]
            took = 1000 * (time.perf_counter() - before)
            text = "".join(partial.text for partial in given)
            if text:
                found.append([text, 1000 * min(at + size, len(samples)) / rate, round(took, 2)])
        return found

    def _times(self, samples: np.ndarray, text: str) -> list[Timed]:
        if self.is_aligner:
            words = self.timer.align(samples, text)[0].words
        else:
            heard = self.timer.transcribe(samples, times=True)[0]
            words = heard.words
            if heard.text and words is None:
                family = self.timer.config.model_type
                raise UsageError(f"--times-by: a {family} does not say when words are said; give an aligner")
        return [[word.text, word.start_ms, word.end_ms] for word in words or ()]


def check(model: str, times_by: str) -> None:
    """Raise UsageError where a model does not stream, or the other cannot say when words are said."""
    from mlx_model import roles
    from mlx_model.loading import family_of, model_class

    family = family_of(Path(model))
    roles.check_role(model_class(family), roles.StreamingRecognizer, model, family)
    _role(times_by)


def _role(times_by: str) -> type[Any]:
    from mlx_model import roles
    from mlx_model.loading import family_of, model_class

    family = family_of(Path(times_by))
    made = model_class(family)
    if not roles.fulfils(made, roles.Aligner):
        roles.check_role(made, roles.Recognizer, times_by, family)
        return roles.Recognizer
    return roles.Aligner


class LatencyTally:
    """Counts over utterances, one after the other; memory by the number of different times."""

    def __init__(self, times_by: str):
        self.times_by = times_by
        self.utterances = self.words = 0
        self.first, self.delay, self.compute, self.first_compute = (Counter[int]() for _ in range(4))

    def add(self, emissions: Sequence[Emission], times: Sequence[Timed]) -> None:
        """Count one utterance: what came when, and what was said when."""
        self.utterances += 1
        self.words += len(times)
        letters = [(letter, at, took) for text, at, took in emissions for letter in "".join(text.split())]
        self.compute.update(round(took / STEP_MS) for _, _, took in letters)
        if not letters:
            return
        self.first_compute[round(letters[0][2] / STEP_MS)] += 1
        if times:
            self.first[round(letters[0][1] - times[0][1])] += 1
        for word, last in _found("".join(letter for letter, _, _ in letters), [str(word) for word, *_ in times]):
            self.delay[round(letters[last][1] - times[word][2])] += 1

    def report(self) -> CerLatency | None:
        """Return what was counted; None where no recording was."""
        if not self.utterances:
            return None
        return CerLatency(
            times_by=self.times_by,
            utterances=self.utterances,
            words=self.words,
            timed=self.delay.total(),
            first_token=spread(self.first, 1),
            delay=spread(self.delay, 1),
            compute=spread(self.compute, STEP_MS),
            first_compute=spread(self.first_compute, STEP_MS),
        )

    def bins(self) -> list[Bin]:
        """Return how many delays lie up to each of EDGES_MS, and beyond; none of none."""
        if not self.delay:
            return []
        places = Counter[int]()
        for value, count in self.delay.items():
            places[int(np.searchsorted(EDGES_MS, value, "left"))] += count
        labels = [*(f"≤ {edge}" for edge in EDGES_MS), f"> {EDGES_MS[-1]}"]
        return [Bin(label=label, count=places[place]) for place, label in enumerate(labels)]


def _found(heard: str, words: Sequence[str]) -> list[tuple[int, int]]:
    """Return (word, place of its last letter in what was heard) of the words that were heard whole, by alignment."""
    letters = ["".join(word.split()).lower() for word in words]
    said = "".join(letters)
    low = "".join(one if len(one.lower()) != 1 else one.lower() for one in heard)
    place_of = {there + at: here + at for here, there, size in matching(low, said) for at in range(size)}
    found, start = [], 0
    for number, word in enumerate(letters):
        places = [place_of.get(at) for at in range(start, start + len(word))]
        start += len(word)
        if places and None not in places:
            found.append((number, places[-1]))
    return found


def spread(counts: Counter[int], step: float) -> Spread:
    """Return the mean and percentiles (nearest rank) of values that were counted in steps of so many milliseconds."""
    total = counts.total()
    if not total:
        return Spread(count=0, mean=None, p50=None, p90=None, p99=None)
    values = sorted(counts)
    upto = np.cumsum([counts[value] for value in values])
    ranks = [int(np.searchsorted(upto, share * total / 100, "left")) for share in (50, 90, 99)]
    p50, p90, p99 = (round(values[rank] * step, 2) for rank in ranks)
    mean = sum(value * count for value, count in counts.items()) * step / total
    return Spread(count=total, mean=round(mean, 3), p50=p50, p90=p90, p99=p99)
