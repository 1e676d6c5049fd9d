"""What a file holds beside the recording that is heard: further recordings behind it, and sizes that do not fit.

Servers send WAV files in a row, recorders leave sizes open, downloads end early. libsndfile hears the first recording
(as FunASR does, which reads with it) and says nothing; here the listener is told. What is looked at are headers, in
chunk_files.py and frame_files.py; what decoders get is a Medium that ends where the first recording does. Stdlib only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mlx_model.audio import chunk_files, frame_files
from mlx_model.audio.decoders import FAULTS
from mlx_model.audio.medium import Medium
from mlx_model.files.found import Found

HEAD = 64  # bytes that tell the formats apart


@dataclass(frozen=True, slots=True)
class Survey:
    """The file as decoders shall have it, what is to be said of it, and how long its header says it is, at least."""

    medium: Medium
    notes: list[str] = field(default_factory=list)
    promised_s: float | None = None
    slack_s: float = 0.0

    def cut_short(self, heard_s: float) -> list[str]:
        """Return what to say where the file ends before its header says."""
        if self.promised_s is None or self.notes or heard_s > self.promised_s - self.slack_s:
            return []
        return [f"cut short: its header counts {self.promised_s:.2f} s, the file holds {heard_s:.2f} s"]


def survey(medium: Medium) -> Survey:
    """Return what there is to know about a file before it is decoded; nothing about a format that is not known."""
    try:
        with medium.open() as file:
            head = file.read(HEAD)
            found = chunk_files.look(file, medium.size, head) or frame_files.look(file, medium.size, head)
    except FAULTS:  # a damaged header: the decoders say what is wrong with it
        return Survey(medium)
    return _survey(medium, found) if found else Survey(medium)


def _survey(medium: Medium, found: Found) -> Survey:
    notes = list(found.notes)
    if found.others:
        notes.append(in_a_row(found))
    if found.start or found.end is not None or found.head:
        medium = medium.part(start=found.start, end=found.end, head=found.head)
    return Survey(medium, notes, found.seconds, found.slack_s)


def in_a_row(found: Found) -> str:
    """Return what is said of several recordings in one file."""
    count = len(found.others) + 1
    if None in found.others:
        left = "what follows it is not"
    else:
        left = f"{sum(other or 0.0 for other in found.others):.2f} s behind it are not"
    return f"holds {count} recordings in a row; the first is heard, as FunASR does, {left}: split the file to hear all"
