"""A converted speaker model under test: every layer, embeddings of a recording and its windows, who speaks. No torch.

Layouts: layout.py. Labels are asked for as FunASR gives them (`as_funasr`), from the same random state.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np

from mlx_model.decoding import clustering, speaker_turns
from mlx_model.engines import lanes as cpu_lanes
from mlx_model.machine.blas import mx, nn
from mlx_model.text.speakers import Turn
from parity.families.campplus import cases
from parity.families.campplus.layout import seen_of, to_ours
from parity.sides import candidate
from parity.sides.candidate import Arrays, CandidateRun, Facts, Inputs


class Outcome(NamedTuple):
    """What a candidate makes of a recording's windows.

    `labels` are those of FunASR's features, `own` those of its own; `turns` are [start_s, end_s, speaker].
    """

    labels: np.ndarray
    own: np.ndarray
    turns: cases.Turns


class Candidate(candidate.Candidate):
    """Taps, embeddings and labels of a speaker model."""

    def take(self, plain: Arrays) -> None:
        """Hear of a recording in FunASR's windows."""
        self.plain = plain

    def frontend(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        """Return {fbank, feats} (1, F, M) of one waveform, as it came and with its mean taken off."""
        feats, _ = self.model.features([waveform])
        return {"fbank": np.array(self.model.frontend.fbank(mx.array(waveform)[None])), "feats": np.array(feats)}

    def network(self, feats: np.ndarray) -> dict[str, np.ndarray]:
        """Return {tap: array} of one recording's features (1, F, M), and of its windows' features."""
        with self.watched(self.probes) as seen:
            mx.eval(self.model.network(mx.array(feats)))
        taps = self.full_tapset.collect(seen_of(seen, torch=False))
        if hasattr(self, "plain") and "windows.feats" in self.plain:
            with self.plainly():
                rows = self._embedded(self.plain["windows.feats"])
            similar = clustering.similarities(np.asarray(rows, np.float64)).astype(np.float32)
            taps |= {"windows.embedding": rows[None], "windows.similarity": similar[None]}
        return taps

    def _embedded(self, feats: np.ndarray) -> np.ndarray:
        return np.array(self.model.network(mx.array(feats)).astype(mx.float32))

    def run(self, plain: Arrays, front: Arrays, inputs: Inputs, *, steps: bool) -> CandidateRun:
        """Return the network on the reference's features, the windows' speakers, and modules run alone."""
        taps = self.network(plain["feats"])
        outcome = self._speakers(plain, taps) if "windows.feats" in plain else None
        return CandidateRun(taps, outcome, self.introduced(inputs, steps=steps))

    def _speakers(self, plain: Arrays, taps: Arrays) -> Outcome:
        windows = list(speaker_turns.windows(plain["waveform"], 0.0, self.rate))[: len(plain["windows.feats"])]
        own = labelled(self.model.embed([window.samples for window in windows]))
        times = [(window.start_s, window.end_s) for window in windows]
        turns = [list(map(float, turn)) for turn in speaker_turns.turns(times, own, as_funasr=True)]
        return Outcome(labelled(taps["windows.embedding"][0]), own, turns)

    def introduced(self, inputs: Inputs, *, steps: bool) -> dict[str, np.ndarray]:
        """Return {tap: array} of modules run alone on given inputs."""
        arrays: dict[str, np.ndarray] = {}
        found = self.tapset.isolated(self.modules, inputs)
        with self.watched(self.tapset.introduced_probes(self.modules, found, steps=steps)) as seen:
            for name, tap in found:
                given = [mx.array(to_ours(name, inputs[name][number])) for number in tap.introduced]
                mx.eval(self.modules[name](*(each.astype(self.model.dtype) for each in given)))
                arrays |= self.tapset.collect_introduced(name, tap, seen_of(seen, torch=False), reference=False)
                seen.clear()
        return arrays

    def results(self, waveforms: Sequence[np.ndarray], *, lanes: int | None = 1, padding: int = 0) -> list[np.ndarray]:
        """Return each waveform's embedding, (1, D), decoded as one batch."""
        samples = [len(waveform) for waveform in waveforms]
        size = max(samples) + padding
        block = np.stack([np.pad(waveform, (0, size - len(waveform))) for waveform in waveforms]).astype(np.float32)
        with nullcontext() if lanes is None else cpu_lanes.exactly(lanes):
            found = np.array(self.model(*self.model.features_of(mx.array(block), samples)).astype(mx.float32))
        return [row[None] if row.ndim == 1 else row for row in found]

    def parts(self) -> list[nn.Module]:
        """Return the network: the front end stays float32."""
        return [self.model.head, self.model.xvector]

    def more_facts(self) -> Facts:
        """Return what is made of cases.py."""
        windows = {}
        for name, samples in cases.SAMPLES.items():
            found = speaker_turns.windows(np.ones(samples, np.float32), 2.0, cases.RATE)
            windows[name] = [[round(w.start_s, 6), round(w.end_s, 6), int(w.samples.sum())] for w in found]
        turns = {}
        for name, case in cases.labelled().items():
            labels = speaker_turns.renumbered(np.array(case.labels))
            turns[name] = cases.shown(speaker_turns.turns(case.times, labels, as_funasr=True))
        spoken = [Turn(start, end, int(who)) for start, end, who in cases.SPOKEN]
        sentences = speaker_turns.speakers_of(cases.SENTENCES_MS, spoken, as_funasr=True)
        labels = {name: labelled(rows).tolist() for name, rows in cases.embeddings().items()}
        return cases.facts(windows, turns, sentences, labels)


def labelled(embeddings: np.ndarray) -> np.ndarray:
    """Return the label of every window, renumbered."""
    return speaker_turns.renumbered(clustering.cluster(np.ascontiguousarray(embeddings), as_funasr=True, seed=0))
