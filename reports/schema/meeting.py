"""What a page of a meeting is made of: who spoke when, what was said, how sure that is, the recording. Stdlib only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

LONGEST_S = 30 * 86400.0  # of a recording: what is longer is a slip, and no page


def no_time(**seconds: float) -> str:
    """Return what is wrong with the first of these that is no time of a recording, "" where all are."""
    wrong = next((name for name, value in seconds.items() if not 0 <= value <= LONGEST_S), None)
    return "" if wrong is None else f"{wrong} is {seconds[wrong]}; expected seconds from 0 to {LONGEST_S:.0f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingSpeaker:
    """One speaker: name, seconds of speech, its share of all speech, turns and sentences."""

    name: str
    seconds: float
    share: float
    turns: int
    sentences: int

    def unfit(self) -> str:
        """Return what is wrong with the speaker, "" where nothing is."""
        return no_time(seconds=self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingTurn:
    """A stretch in which one speaker speaks; `speaker` counts MeetingReport.speakers from 0."""

    start_s: float
    end_s: float
    speaker: int

    def unfit(self) -> str:
        """Return what is wrong with the turn, "" where nothing is."""
        return no_time(start_s=self.start_s, end_s=self.end_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingSentence:
    """A sentence. `confidence` is None where the model gives none; `doubts` are [start, stop] of the text's characters
    of which it is not sure. `speaker` as a turn's, None where nobody knows.
    """

    text: str
    start_s: float
    end_s: float
    speaker: int | None = None
    confidence: float | None = None
    doubts: list[list[int]] = field(default_factory=list)

    def unfit(self) -> str:
        """Return what is wrong with the sentence, "" where nothing is."""
        if wrong := no_time(start_s=self.start_s, end_s=self.end_s):
            return wrong
        at, last = 0, len(self.text)
        for place, pair in enumerate(self.doubts):
            if len(pair) != 2 or not at <= pair[0] < pair[1] <= last:
                return f"doubts[{place}] must be [start, stop] within the text, in order"
            at = pair[1]
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingReport:
    """A recording that was transcribed; `audio` is the recording itself as a data: URI, None where it is not kept.

    `least_confidence` is what a word is doubted below.
    """

    SCHEMA: ClassVar[str] = "meeting/1"
    recording: str
    duration_s: float
    sentences: list[MeetingSentence]
    speakers: list[MeetingSpeaker] = field(default_factory=list)
    turns: list[MeetingTurn] = field(default_factory=list)
    confidence: float | None = None
    least_confidence: float = 0.5
    audio: str | None = None
    models: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    numerics: dict[str, Any] = field(default_factory=dict)

    def unfit(self) -> str:
        """Return what is wrong with the report, "" where nothing is: a speaker who is not among the speakers."""
        if wrong := no_time(duration_s=self.duration_s):
            return wrong
        most = len(self.speakers)
        for name, rows in (("turns", self.turns), ("sentences", self.sentences)):
            for place, row in enumerate(rows):
                if row.speaker is not None and row.speaker >= most:
                    return f"{name}[{place}].speaker is {row.speaker}, but there are {most} speakers"
        return ""
