"""What a long run knows of its recordings so far, in memory and, where a folder is given, on disk (files/journal.py).

Per recording one entry says where speech is, and one a segment what was heard in it, voice included; so a run that was
killed recognises no segment twice. Embeddings are written as float32 in base64: what comes of them is the same to the
bit.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from mlx_model.files.journal import Journal
from mlx_model.text.results import Alternative, Detection, Segment, Word

SCHEMA = "transcribe-journal/1"


class Voice(NamedTuple):
    """The voice in one segment: how many samples it has, and the embeddings of its windows, (windows, D) float32."""

    samples: int
    embeddings: np.ndarray


Embed = Callable[[Sequence[np.ndarray]], list[Voice]]


@dataclass(slots=True, kw_only=True)
class Past:
    """`long_audio.Memory` of one recording; `voices` are the embeddings of its segments, where `embed` gives some."""

    number: int
    journal: Journal | None = None
    embed: Embed | None = None
    voices: dict[int, Voice] = field(default_factory=dict)

    def detection(self) -> Detection | None:
        """Return what was detected before."""
        found = self._entry("speech")
        return None if found is None else Detection(**found)

    def detected(self, found: Detection) -> None:
        """Keep what was detected now."""
        if self.journal is not None and found.error is None:
            self.journal.append([(self._name("speech"), asdict(found))])

    def segment(self, number: int) -> Segment | None:
        """Return a segment that was recognised before; its voice is among `voices` then."""
        found = self._entry(number)
        if found is None:
            return None
        voice = found.pop("voice")
        if voice is not None:
            rows = np.frombuffer(base64.b64decode(voice["data"]), "<f4").reshape(voice["shape"])
            self.voices[number] = Voice(voice["samples"], rows)
        return segment_of(found)

    def heard(self, segments: Mapping[int, Segment], waveforms: Sequence[np.ndarray]) -> None:
        """Embed segments that were recognised now, and keep them."""
        if self.embed is not None:
            self.voices |= zip(segments, self.embed(waveforms), strict=True)
        if self.journal is not None:
            rows = ((number, asdict(part)) for number, part in segments.items())
            self.journal.append([(self._name(number), row | {"voice": self._voice(number)}) for number, row in rows])

    def _name(self, what: int | str) -> str:
        return f"{self.number}/{what}"

    def _entry(self, what: int | str) -> dict[str, Any] | None:
        if self.journal is None or self._name(what) not in self.journal:
            return None
        (found,) = self.journal.answers([self._name(what)])
        return {key: value for key, value in (found or {}).items() if key != "utt_id"}

    def _voice(self, number: int) -> dict[str, Any] | None:
        if number not in self.voices:
            return None
        samples, rows = self.voices[number]
        data = base64.b64encode(np.ascontiguousarray(rows, "<f4").tobytes()).decode()
        return {"samples": samples, "shape": list(rows.shape), "data": data}


def segment_of(row: Mapping[str, Any]) -> Segment:
    """Return a segment from what `asdict` made of it."""
    words, others = row.get("words"), row.get("alternatives")
    return Segment(
        **{
            **row,
            "words": None if words is None else [Word(**word) for word in words],
            "alternatives": None if others is None else [Alternative(**one) for one in others],
        }
    )
