"""What an FSMN-VAD decides: which frames are speech, every transition of its machine, segments; whole and in chunks.

Two comparisons, as everywhere. The decision alone, on FunASR's own scores and levels, must agree exactly: there is
nothing in it to round. End to end, from the waveform on, a frame that differs is explained only by its distance from
the edge of a threshold; a transition or a segment only where such frames, all of them explained, come before it.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from mlx_model.decoding import vad_decision
from mlx_model.decoding.vad_decision import NoiseFloor
from parity.decisions.decision import decision, line
from parity.decisions.outcomes import Facts, Outcomes
from parity.families.fsmn_vad_streaming import made_up
from parity.families.fsmn_vad_streaming.frames import CHUNKS_MS, COLUMNS, SPEECH, Frames, edges, transitions, words
from parity.families.fsmn_vad_streaming.runner import Outcome, Watched, watching
from parity.layers import invariance
from parity.sides.candidate import Candidate
from parity.sides.runner import Heard
from parity.taps.distances import Comparison
from parity.taps.trace import Recorded, Trace, TracedUtterance
from reports.schema import DecisionRow, InvarianceRow, UtteranceRow

WHOLE = "end_to_end"


class VadOutcomes(Outcomes):
    """Frames, transitions and segments."""

    DECIDED: ClassVar = {
        "frame": f"{WHOLE}.speech", "transition": f"{WHOLE}.transitions", "segment": f"{WHOLE}.segments",
    }  # fmt: skip

    def decide(self, utt_id: str, recorded: Recorded, heard: Heard) -> list[DecisionRow]:
        """Return every frame that differs end to end, then the first transition and segment that do, way by way."""
        utterance = next(row for row in self.trace.utterances if row.utt_id == utt_id)
        rows = []
        for way, reference, candidate in ways(utterance, recorded, heard.outcome):
            flips = self._flips(utt_id, recorded, heard, way, (reference.frames, candidate.frames))
            rows += [*flips, *_follow(utt_id, reference, candidate, flips)]
        return rows

    def _flips(
        self, utt_id: str, recorded: Recorded, heard: Heard, way: str, sides: tuple[Frames, Frames]
    ) -> list[DecisionRow]:
        """Return the frames that are speech on one side only.

        The margin is the truth's distance from the threshold. The noise is how far the float32 reference strays from
        the truth, as often as the allowance says, and how far the front end's rounding moves the candidate's own score.
        """
        if len(sides[0]) != len(sides[1]):
            texts = (f"{len(sides[0])} frames", f"{len(sides[1])} frames")
            return [decision("frame", utt_id, min(map(len, sides)), texts, np.inf, 0.0)]
        differ = np.flatnonzero(sides[0][:, SPEECH] != sides[1][:, SPEECH])
        if not len(differ):
            return []
        name = "silence" if way == WHOLE else f"{way}.silence"
        seen: Watched = heard.outcome.whole if way == WHOLE else heard.outcome.streams[_length(way)]
        truth, single, fed, own = (
            self._edges(values) for values in (*recorded.own[name], heard.taps[name], seen.all("silence")[None])
        )
        noise = self.allowance * np.abs(single - truth) + np.abs(own - fed)
        named = ("silence", "speech")
        return [
            decision(
                "frame", utt_id, int(frame), (named[sides[0][frame, SPEECH]], named[sides[1][frame, SPEECH]]),
                float(abs(truth[frame])), float(noise[frame]),
            )
            for frame in differ
        ]  # fmt: skip

    def _edges(self, silence: np.ndarray) -> np.ndarray:
        opts = self.candidate.model.config.vad_opts
        return edges(silence[0].astype(np.float64), opts.speech_2_noise_ratio, opts.speech_noise_thres)

    def excused(self, decided: Sequence[DecisionRow]) -> frozenset[str]:
        """Return none: taps of the decision are fed the reference's own numbers, and must agree exactly."""
        return frozenset()

    def skipped(self, recorded: Recorded, heard: Heard, decided: Sequence[DecisionRow]) -> tuple[str, ...]:
        """Return none."""
        return ()

    def compare(
        self,
        comparison: Comparison,
        utterance: TracedUtterance,
        recorded: Recorded,
        heard: Heard,
        decided: Sequence[DecisionRow],
    ) -> UtteranceRow:
        """Compare frames, transitions and segments end to end, whole and in chunks; return the utterance's row."""
        bugs, compared = {row.kind for row in decided if not row.explained}, Counter[str]()
        for way, reference, candidate in ways(utterance, recorded, heard.outcome):
            sides = (reference.frames, candidate.frames)
            pairs = {
                "speech": ("frame", *(side[:, SPEECH] for side in sides)),
                "transitions": ("transition", *map(transitions, sides)),
                "segments": ("segment", _flat(reference.calls), _flat(candidate.calls)),
            }
            for name, (kind, ours, theirs) in pairs.items():
                total = comparison.total(f"{way}.{name}")
                total.add_discrete(utterance.utt_id, ours, theirs, explained=kind not in bugs)
                compared[kind] += len(ours)
        return self._row(utterance, heard.outcome, decided, compared)

    def _row(
        self, utterance: TracedUtterance, outcome: Outcome, decided: Sequence[DecisionRow], compared: Counter[str]
    ) -> UtteranceRow:
        (found,) = outcome.whole.calls
        return UtteranceRow(
            utt_id=utterance.utt_id,
            path=utterance.path,
            duration_s=utterance.duration_s,
            reference_text=utterance.text,
            candidate_text=words(found),
            found={"segment": [len(utterance.more["segments"]), len(found)]},
            outcomes=self.counted(decided, compared),
            explanation="; ".join(map(line, decided[:8])),
        )

    def structure(self) -> Facts:
        """Return orders and strides, the machine's sizes, and what is decided on the frames of made_up.py."""
        opts, machine = self.candidate.model.config.vad_opts, self.candidate.model.stream().decision
        return {
            "FSMN orders": {
                name: _orders(module)
                for name, module in self.candidate.model.named_modules() if hasattr(module, "conv_left")
            },
            "decision": {
                "window": machine.window.size,
                "to_speech": machine.window.to_speech,
                "to_silence": machine.window.to_silence,
                "latency": machine.latency,
                "lookahead": machine.lookahead,
                "longest": machine.longest,
                "end_silence_ms": machine.max_end_silence_ms,
                "threshold": self.candidate.model.stream().threshold,
            },
            "made-up scores": {f"decision.speech.{case.name}": frame(case, opts) for case in made_up.frame_cases()},
            "made-up frames": {f"decision.state.{case.name}": state(case, opts) for case in made_up.machine_cases()},
        }  # fmt: skip

    def invariance(self) -> list[InvarianceRow]:
        """Return what the result must not depend on, and how FunASR's streams differ from its own whole recordings."""
        waveforms = [self.trace.waveform(row) for row in self.trace.utterances[: invariance.UTTERANCES]]
        alone = self.candidate.runner.results(waveforms)
        return [
            arrival(self.candidate, waveforms),
            invariance.eager(self.candidate, waveforms, alone),
            invariance.formats(self.candidate, waveforms, alone),
            invariance.device(self.candidate, waveforms, alone),
            *invariance.precision(self.candidate, waveforms, alone),
            *(own_streams(self.trace, ms) for ms in CHUNKS_MS),
        ]

    def notes(self) -> list[str]:
        """Return what the rows of a decision mean."""
        return [
            "Dynamic silence is off on both sides; the model's own thresholds decide.",
            "decision rows: the machine on FunASR's own scores and levels, frame by frame, which must agree exactly; "
            "end_to_end and stream rows: from the waveform on, whole and in chunks of so many milliseconds.",
            "The network runs in pieces of 2 s on one cache, and so does every module alone.",
        ]

    @staticmethod
    def nothing_heard(trace: Trace) -> str | None:
        """Return that no recording holds speech, where that is so."""
        if any(utterance.more["segments"] for utterance in trace.utterances):
            return None
        heard = f"{len(trace.utterances)} heard"
        return f"no recording has a segment in FunASR ({heard}): nothing to compare, give speech"


@dataclasses.dataclass(frozen=True, slots=True)
class Side:
    """What one side decided in one way: every frame, and the segments that every call gave."""

    frames: Frames
    calls: list[list[list[int]]]


def ways(utterance: TracedUtterance, recorded: Recorded, outcome: Outcome) -> list[tuple[str, Side, Side]]:
    """Return (name, reference, candidate) of a whole recording, and of every length of chunk."""
    plain, more = recorded.plain, utterance.more
    whole = np.stack([plain[f"decision.{name}"] for name in COLUMNS], axis=1)
    rows = [(WHOLE, Side(whole, [more["segments"]]), Side(outcome.whole.frames, outcome.whole.calls))]
    for ms, seen in outcome.streams.items():
        way = f"stream.{ms}ms"
        rows.append((way, Side(plain[f"{way}.frames"], more["streams"][str(ms)]), Side(seen.frames, seen.calls)))
    return rows


def _follow(utt_id: str, reference: Side, candidate: Side, flips: Sequence[DecisionRow]) -> list[DecisionRow]:
    """Return the first transition and the first segment that differ; explained where frames before them all are."""
    rows = []
    for kind, ours, theirs in (
        ("transition", transitions(reference.frames), transitions(candidate.frames)),
        ("segment", _flat(reference.calls), _flat(candidate.calls)),
    ):
        if np.array_equal(ours, theirs):
            continue
        both = min(len(ours), len(theirs))
        place = next((i for i in range(both) if not np.array_equal(ours[i], theirs[i])), both)
        texts = [str(side[place].tolist()) if place < len(side) else "nothing" for side in (ours, theirs)]
        worst = max(flips, key=lambda row: row.margin - row.noise, default=None)
        margin, noise = (np.inf, 0.0) if worst is None else (worst.margin, worst.noise)
        rows.append(decision(kind, utt_id, place, (texts[0], texts[1]), margin, noise))
    return rows


def _flat(calls: Sequence[Sequence[Sequence[int]]]) -> np.ndarray:
    """Return (N, 3): [call, start_ms, end_ms] of all that was reported."""
    return np.array([[n, *segment] for n, call in enumerate(calls) for segment in call], dtype=np.int64).reshape(-1, 3)


def _length(way: str) -> int:
    return int(way.removeprefix("stream.").removesuffix("ms"))


def _orders(block: Any) -> list[int]:
    right = block.conv_right
    ahead = [0, 0] if right is None else [right.weight.shape[1], right.stride]
    return [block.conv_left.weight.shape[1], block.conv_left.stride, *ahead]


def frame(case: made_up.FrameCase, opts: Any) -> str:
    """Return what the candidate's frame decision makes of a case."""
    opts = dataclasses.replace(opts, **case.options)
    noise = NoiseFloor(opts.noise_frame_num_used_for_snr)
    silence = np.asarray(case.silence, dtype=np.float64)
    return made_up.marked(vad_decision.speech_frames(silence, case.levels, noise, opts, opts.speech_noise_thres))


def state(case: made_up.MachineCase, opts: Any) -> str:
    """Return what the candidate's machine makes of a case."""
    opts = dataclasses.replace(opts, **case.options)
    machine = vad_decision.Decision(opts, opts.max_end_silence_time - opts.speech_to_sil_time_thres)
    seen = Watched()
    with watching(machine, seen):
        for index, speech in enumerate(case.speech.tolist()):
            if machine.state is vad_decision.State.ENDED:
                break
            machine.frame(index, speech, index == len(case.speech) - 1)
    return made_up.described(seen.frames, [[part.start, part.end] for part in machine.segments])


def arrival(candidate: Candidate, waveforms: Sequence[np.ndarray]) -> InvarianceRow:
    """Compare streams given a chunk at a time with the same given 777 samples at a time: nothing may change."""
    runner: Any = candidate.runner
    chunk, feed, changed, total, largest = 200, 777, 0, 0, 0.0
    for waveform in waveforms:
        one, two = runner.chunks(waveform, chunk), runner.chunks(waveform, chunk, feed)
        ours, theirs = (_flat([[part for call in side.calls for part in call]]) for side in (one, two))
        total, changed = total + len(ours), changed + int(not np.array_equal(ours, theirs))
        silence = [side.all("silence") for side in (one, two)]
        same = len(silence[0]) == len(silence[1])
        largest = max(largest, float(np.abs(silence[0] - silence[1]).max(initial=0.0)) if same else np.inf)
    limit = invariance.LOGITS_LIMIT.get(candidate.precision)
    failed = changed > 0 or (limit is not None and not largest <= limit)
    return InvarianceRow(
        name="arrival of samples", side="candidate", status="fail" if failed else "pass", kind="segment",
        compared=total, differ=changed, max_abs=largest, limit=limit,
        detail=f"chunks of {chunk} ms, given {feed} samples at a time",
    )  # fmt: skip


def own_streams(trace: Trace, chunk_ms: int) -> InvarianceRow:
    """Return how FunASR's own segments in chunks differ from its own of whole recordings: its matter, not judged."""
    total, differ, shown = 0, 0, ""
    for utterance in trace.utterances:
        whole = [tuple(part) for part in utterance.more["segments"]]
        chunks = merged(utterance.more["streams"][str(chunk_ms)])
        total, moved = total + len(whole), set(whole) ^ set(chunks)
        differ += len(set(whole) - set(chunks)) or len(set(chunks) - set(whole))
        shown = shown or (f"{utterance.utt_id}: {words(sorted(moved)[:2])}" if moved else "")
    return InvarianceRow(
        name=f"chunks of {chunk_ms} ms", side="reference", status="note", kind="segment", compared=total,
        differ=differ, max_abs=None, limit=None,
        detail=f"FunASR against its own segments of the whole; {shown or 'all the same'}",
    )  # fmt: skip


def merged(calls: Sequence[Sequence[Sequence[int]]]) -> list[tuple[int, int]]:
    """Return whole segments of what a stream reports: [start, -1], [-1, end] or [start, end]."""
    segments, start = [], -1
    for first, last in (part for call in calls for part in call):
        start = first if first >= 0 else start
        if last >= 0:
            segments.append((start, last))
    return segments
