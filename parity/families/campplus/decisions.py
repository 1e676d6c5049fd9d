"""What embeddings decide: same speaker or not, who is nearest, which windows are one speaker's; turns follow from that.

Recordings are compared with those before them. A pair's margin is the truth's distance from the threshold, a nearest
recording's its lead over the second; labels are explained where FunASR's own change under noise of its own size
(`settled` of a trace says that they do not), or where the two widest gaps of eigenvalues lie that close.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from parity.decisions import base
from parity.decisions.decision import decision, line, rounding
from parity.families.campplus import cases
from parity.families.campplus.candidate import Outcome
from parity.sides.candidate import Candidate, CandidateRun
from parity.taps.distances import Comparison
from parity.taps.tapset import Precision
from parity.taps.trace import Recorded, Trace, TracedUtterance
from reports.schema import DecisionRow, UtteranceRow

EMBEDDINGS = ("xvector.dense", "model.seg_2", "model.seg_1")  # the first that a model has
THRESHOLD = 0.31  # cosine, where the model names none


class Voice(NamedTuple):
    """One recording's embeddings: of the truth, of the reference, of the candidate."""

    utt_id: str
    sides: tuple[np.ndarray, np.ndarray, np.ndarray]


class Decisions(base.Decisions):
    """Pairs of recordings, nearest recordings, labels of windows."""

    def __init__(self, trace: Trace, candidate: Candidate, precision: Precision, decided: Mapping[str, str]):
        super().__init__(trace, candidate, precision, decided)
        self._known: list[Voice] = []  # recordings so far, as MLX alone embeds them

    def _voice(self, utterance: TracedUtterance, recorded: Recorded, run: CandidateRun) -> Voice | None:
        name = next((each for each in EMBEDDINGS if each in recorded.propagated and each in run.taps), None)
        if name is None or recorded.propagated[name].shape != run.taps[name].shape:
            return None
        truth, reference = recorded.propagated[name]
        self.noise = max(self.noise, float(np.abs(truth - reference).max(initial=0.0)))
        return Voice(utterance.utt_id, (truth.ravel(), reference.ravel(), run.taps[name].ravel()))

    def decide(self, utterance: TracedUtterance, recorded: Recorded, run: CandidateRun) -> list[DecisionRow]:
        """Return every pair, nearest recording and labelling on which the sides differ."""
        voice = self._voice(utterance, recorded, run)
        if voice is None:
            return []
        found = self._against(voice)
        if run.outcome is not None:  # an engine's column is held against the recordings before, not kept
            self._known.append(voice)
            found += self._labels(utterance, recorded, run.outcome)
        return found

    def _against(self, voice: Voice) -> list[DecisionRow]:
        others = self._known
        if not others:
            return []
        truth, reference, candidate = (
            np.array([cosine(voice.sides[side], other.sides[side]) for other in others]) for side in range(3)
        )
        noise = self.allowance * np.abs(reference - truth)
        edge, rows = self.threshold, []
        for place in np.flatnonzero((reference >= edge) != (candidate >= edge)):
            texts = [f"{others[place].utt_id} {'the same' if each[place] >= edge else 'another'}"
                     for each in (reference, candidate)]  # fmt: skip
            margin = abs(float(truth[place]) - edge)
            rows.append(decision("same", voice.utt_id, int(place), (texts[0], texts[1]), margin, float(noise[place])))
        best, own = int(reference.argmax()), int(candidate.argmax())
        if best != own:
            texts = (others[best].utt_id, others[own].utt_id)
            margin = abs(float(truth[best] - truth[own]))
            rows.append(decision("nearest", voice.utt_id, best, texts, margin, float(noise[best] + noise[own])))
        return rows

    @property
    def threshold(self) -> float:
        """The cosine from which on two recordings are one speaker's."""
        own = getattr(self.candidate.model.config, "threshold", None)
        return THRESHOLD if own is None else own

    def _labels(self, utterance: TracedUtterance, recorded: Recorded, outcome: Outcome) -> list[DecisionRow]:
        labels, plain = recorded.plain["labels"], recorded.plain
        wrong = next((each for each in (outcome.labels, outcome.own) if not np.array_equal(each, labels)), None)
        if wrong is None:
            return []
        settled, margin, noise = utterance.more["settled"], np.inf, 0.0
        counts = [int(each.max()) + 1 for each in (labels, wrong)]
        gaps = plain["gaps.truth"]
        if counts[0] != counts[1] and max(counts) <= len(gaps):
            margin = abs(float(gaps[counts[0] - 1] - gaps[counts[1] - 1]))
            noise = 2.0 * self.allowance * float(np.abs(plain["gaps.single"] - gaps).max())
        both = min(len(labels), len(wrong))
        differ = np.flatnonzero(labels[:both] != wrong[:both])
        place = int(differ[0]) if len(differ) else both
        texts = tuple(f"{count} speakers" if counts[0] != counts[1] else _at(each, place)
                      for count, each in zip(counts, (labels, wrong), strict=True))  # fmt: skip
        if not settled:
            margin, noise = 0.0, 0.0
        return [decision("label", utterance.utt_id, place, (texts[0], texts[1]), margin, noise)]

    def apart(self) -> float:
        """Return how far two right results' embeddings may lie apart: each within its tap's limit of the truth."""
        spec = next(tap for name in EMBEDDINGS for tap in self.candidate.full_tapset.taps if tap.fits(name))
        return 2 * (spec.ratio or 0.0) * self.noise

    def compare(
        self,
        comparison: Comparison,
        utterance: TracedUtterance,
        recorded: Recorded,
        run: CandidateRun,
        decided: Sequence[DecisionRow],
    ) -> UtteranceRow:
        """Compare labels and turns from the waveform on; return the recording's row."""
        outcome: Outcome | None = run.outcome
        turns, count, speakers = [], 0, [0, 0]
        if outcome is not None:
            excused = rounding(decided, "label") or self.candidate.precision != "float32"
            labels, turns, total = recorded.plain["labels"], outcome.turns, comparison.total
            count = len(labels)
            total("end_to_end.labels").add_discrete(utterance.utt_id, labels, outcome.own, explained=excused)
            sides = (utterance.more["turns"], turns)
            shown = [[cases.shown([turn]) for turn in side] for side in sides]
            total("end_to_end.turns").add_discrete(utterance.utt_id, *shown, explained=excused)
            speakers = [len({turn[2] for turn in side}) for side in sides]
        others = max(len(self._known) - 1, 0)
        return UtteranceRow(
            utt_id=utterance.utt_id,
            path=utterance.path,
            duration_s=utterance.duration_s,
            reference_text=utterance.text,
            candidate_text=cases.shown(turns),
            found={"speaker": speakers},
            outcomes=self.counted(decided, {"same": others, "nearest": int(others > 0), "label": count}),
            explanation="; ".join(map(line, decided[:8])),
        )

    def heard(self, utterance: TracedUtterance) -> bool:
        """Return whether there is an embedding: of every recording that FunASR did not refuse."""
        return True


def cosine(one: np.ndarray, two: np.ndarray) -> float:
    """Return the cosine of two embeddings, in float64."""
    one, two = one.astype(np.float64), two.astype(np.float64)
    return float(one @ two / np.linalg.norm(one) / np.linalg.norm(two))


def _at(labels: np.ndarray, place: int) -> str:
    return f"window {place}: speaker {labels[place]}" if place < len(labels) else "nothing"
