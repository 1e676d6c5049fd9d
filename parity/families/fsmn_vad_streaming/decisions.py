"""What an FSMN-VAD decides: which frames are speech, every transition of its machine, segments; whole and in chunks.

Two comparisons, as everywhere. The decision alone, on FunASR's own scores and levels, must agree exactly: there is
nothing in it to round. End to end, from the waveform on, a frame that differs is explained only by its distance from
the edge of a threshold; a transition or a segment only where such frames, all of them explained, come before it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from parity.decisions import base
from parity.decisions.boundary import first_difference
from parity.decisions.decision import line
from parity.decisions.threshold import threshold_differences
from parity.families.fsmn_vad_streaming.candidate import Outcome, Watched
from parity.families.fsmn_vad_streaming.frames import COLUMNS, SPEECH, Frames, edges, flat, transitions, words
from parity.sides.candidate import CandidateRun
from parity.taps.distances import Comparison
from parity.taps.trace import Recorded, TracedUtterance
from reports.schema import DecisionRow, UtteranceRow

WHOLE = "end_to_end"


@dataclasses.dataclass(frozen=True, slots=True)
class Side:
    """What one side decided in one way: every frame, and the segments that every call gave."""

    frames: Frames
    calls: list[list[list[int]]]

    def outcomes(self) -> dict[str, tuple[str, np.ndarray]]:
        """Return {kind: (name of its tap, entries)}."""
        return {
            "frame": ("speech", self.frames[:, SPEECH]),
            "transition": ("transitions", transitions(self.frames)),
            "segment": ("segments", flat(self.calls)),
        }


class Decisions(base.Decisions):
    """Frames, transitions and segments, of a whole recording and of every length of chunk."""

    def decide(self, utterance: TracedUtterance, recorded: Recorded, run: CandidateRun) -> list[DecisionRow]:
        """Return every frame that differs end to end, then the first transition and segment that do, way by way."""
        rows = []
        for way, reference, candidate in ways(utterance, recorded, run.outcome):
            flips = self._flips(utterance.utt_id, recorded, run, way, (reference.frames, candidate.frames))
            rows += [*flips, *follow(utterance.utt_id, reference, candidate, flips)]
            for kind, (_, entries) in reference.outcomes().items():
                self.compared[kind] += len(entries)
        return rows

    def _flips(
        self, utt_id: str, recorded: Recorded, run: CandidateRun, way: str, sides: tuple[Frames, Frames]
    ) -> list[DecisionRow]:
        """Return the frames that are speech on one side only.

        The margin is the truth's distance from the threshold. The noise is how far the float32 reference strays from
        the truth, as often as the allowance says, and how far the front end's rounding moves the candidate's own score.
        """
        name = "silence" if way == WHOLE else f"{way}.silence"
        seen: Watched = run.outcome.whole if way == WHOLE else run.outcome.streams[_length(way)]

        def margins(frame: int) -> tuple[float, float]:
            scores = (*recorded.propagated[name], run.taps[name], seen.all("silence")[None])
            truth, single, fed, own = (self._edges(values[:, frame]) for values in scores)
            return abs(truth), self.allowance * abs(single - truth) + abs(own - fed)

        def said(frame: int, speech: bool) -> str:
            return "speech" if speech else "silence"

        reference, candidate = (side[:, SPEECH].astype(bool) for side in sides)
        return threshold_differences("frame", utt_id, reference, candidate, margins, said)

    def _edges(self, silence: np.ndarray) -> float:
        opts = self.candidate.model.config.vad_opts
        return float(edges(silence.astype(np.float64), opts.speech_2_noise_ratio, opts.speech_noise_thres)[0])

    def compare(
        self,
        comparison: Comparison,
        utterance: TracedUtterance,
        recorded: Recorded,
        run: CandidateRun,
        decided: Sequence[DecisionRow],
    ) -> UtteranceRow:
        """Compare frames, transitions and segments end to end, whole and in chunks; return the utterance's row."""
        bugs = {row.kind for row in decided if not row.explained}
        for way, reference, candidate in ways(utterance, recorded, run.outcome):
            theirs = candidate.outcomes()
            for kind, (name, entries) in reference.outcomes().items():
                total = comparison.total(f"{way}.{name}")
                total.add_discrete(utterance.utt_id, entries, theirs[kind][1], explained=kind not in bugs)
        kinds = [row.kind for row in decided]
        found = run.outcome.whole.calls[0]
        return UtteranceRow(
            utt_id=utterance.utt_id,
            path=utterance.path,
            duration_s=utterance.duration_s,
            reference_text=utterance.text,
            candidate_text=words(found),
            reference_token_num=len(utterance.more["segments"]),
            candidate_token_num=len(found),
            firing_mismatches=kinds.count("transition"),
            flipped_tokens=kinds.count("frame"),
            explanation="; ".join(map(line, decided[:8])),
        )

    def heard(self, utterance: TracedUtterance) -> bool:
        """Return whether FunASR found a segment."""
        return bool(utterance.more["segments"])


def ways(utterance: TracedUtterance, recorded: Recorded, outcome: Outcome) -> list[tuple[str, Side, Side]]:
    """Return (name, reference, candidate) of a whole recording, and of every length of chunk."""
    plain, more = recorded.plain, utterance.more
    whole = np.stack([plain[f"decision.{name}"] for name in COLUMNS], axis=1)
    rows = [(WHOLE, Side(whole, [more["segments"]]), Side(outcome.whole.frames, outcome.whole.calls))]
    for ms, seen in outcome.streams.items():
        way = f"stream.{ms}ms"
        rows.append((way, Side(plain[f"{way}.frames"], more["streams"][str(ms)]), Side(seen.frames, seen.calls)))
    return rows


def follow(utt_id: str, reference: Side, candidate: Side, flips: Sequence[DecisionRow]) -> list[DecisionRow]:
    """Return the first transition and the first segment that differ; explained where frames before them all are."""
    theirs = candidate.outcomes()
    ours = {kind: entries for kind, (_, entries) in reference.outcomes().items() if kind != "frame"}
    return [
        row for kind, entries in ours.items()
        for row in first_difference(kind, utt_id, entries, theirs[kind][1], flips)
    ]  # fmt: skip


def _length(way: str) -> int:
    return int(way.removeprefix("stream.").removesuffix("ms"))
