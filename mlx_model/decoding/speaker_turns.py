"""Windows of speech, what their labels say about who spoke when, and whose a sentence is. NumPy only.

Mirrors funasr/models/campplus/utils.py (sv_chunk, postprocess, distribute_spk). Right by default; with `as_funasr` as
FunASR 1.4.16, which differs in this:

- a piece shorter than 0.7 s goes to the nearer neighbour while the pieces before it have already been given away, so
  that one short piece may carry a speaker on to the next; and times are rounded to 10 ms on the way;
- of the speakers of a sentence the first one's overlap is counted twice; and a sentence without any is speaker 0's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from mlx_model.text.speakers import Turn

WINDOW_S, SHIFT_S = 1.5, 0.75
SHORTEST_S = 0.7  # of a piece that keeps its speaker
TOUCHING_S = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """1.5 s of a recording; a shorter segment is filled up with zeros, and `end_s` is its own."""

    start_s: float
    end_s: float
    samples: np.ndarray


def windows(samples: np.ndarray, start_s: float, rate: int) -> Iterator[Window]:
    """Yield the windows of one segment of speech, the last one moved back to end where the segment does."""
    length, shift = int(WINDOW_S * rate), int(SHIFT_S * rate)
    reached = 0
    for begin in range(0, len(samples), shift):
        end = min(begin + length, len(samples))
        if end <= reached:
            return
        reached = end
        begin = max(0, end - length)
        piece = samples[begin:end]
        if len(piece) < length:
            piece = np.pad(piece, (0, length - len(piece)))
        yield Window(start_s=begin / rate + start_s, end_s=end / rate + start_s, samples=piece)


def renumbered(labels: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """Return the labels counted from 0 in the order in which they first come. Mirrors correct_labels."""
    order = list(dict.fromkeys(labels.tolist()))
    return np.array([order.index(label) for label in labels.tolist()], np.int64)


def turns(
    times: Sequence[tuple[float, float]], labels: Int[np.ndarray, " N"], *, as_funasr: bool = False
) -> list[Turn]:
    """Return who spoke when: windows' times, in order, and their labels, from 0 in the order of their coming.

    Neighbours of one speaker are joined; what two speakers' windows share is halved; short pieces are given away.
    """
    pieces = joined([Turn(start, end, int(label)) for (start, end), label in zip(times, labels, strict=True)])
    for number in range(1, len(pieces)):
        before, piece = pieces[number - 1], pieces[number]
        if before.end_s > piece.start_s + TOUCHING_S:
            middle = (piece.start_s + before.end_s) / 2
            pieces[number - 1], pieces[number] = before._replace(end_s=middle), piece._replace(start_s=middle)
    return joined(_smooth_as_funasr(pieces) if as_funasr else _smooth(pieces))


def joined(pieces: Sequence[Turn]) -> list[Turn]:
    """Return neighbours of one speaker that touch as one. Mirrors merge_seque."""
    found: list[Turn] = []
    for piece in pieces:
        if found and piece.speaker == found[-1].speaker and piece.start_s <= found[-1].end_s:
            found[-1] = found[-1]._replace(end_s=piece.end_s)
        else:
            found.append(piece)
    return found


def _smooth(pieces: list[Turn]) -> list[Turn]:
    """Short pieces get the speaker of the nearer piece that is not short itself; one that is has none to give."""
    kept = [piece.end_s - piece.start_s >= SHORTEST_S for piece in pieces]
    found = list(pieces)
    for number, piece in enumerate(pieces):
        if kept[number]:
            continue
        before = next((other for other in range(number - 1, -1, -1) if kept[other]), None)
        after = next((other for other in range(number + 1, len(pieces)) if kept[other]), None)
        near = [] if before is None else [(piece.start_s - pieces[before].end_s, before)]
        near += [] if after is None else [(pieces[after].start_s - piece.end_s, after)]
        if near:
            found[number] = piece._replace(speaker=pieces[min(near)[1]].speaker)
    return found


def _smooth_as_funasr(pieces: list[Turn]) -> list[Turn]:
    """Mirrors smooth, in place, left to right."""
    if len(pieces) < 2:
        return pieces
    for number, piece in enumerate(pieces):
        piece = piece._replace(start_s=round(piece.start_s, 2), end_s=round(piece.end_s, 2))
        pieces[number] = piece
        if piece.end_s - piece.start_s >= SHORTEST_S:
            continue
        if number == 0:
            taken = 1
        elif number == len(pieces) - 1:
            taken = number - 1
        else:
            before, after = piece.start_s - pieces[number - 1].end_s, pieces[number + 1].start_s - piece.end_s
            taken = number - 1 if before <= after else number + 1
        pieces[number] = piece._replace(speaker=pieces[taken].speaker)
    return pieces


def speakers_of(
    times_ms: Sequence[tuple[float, float]], found: Sequence[Turn], *, as_funasr: bool = False
) -> list[int | None]:
    """Return whose each sentence is: who speaks longest in it; else who speaks nearest to it; None without turns.

    Args:
        times_ms: start and end of each sentence.
        found: who spoke when.
        as_funasr: see the file; without turns everything is speaker 0's then. Mirrors distribute_spk.
    """
    spans = [(turn.start_s * 1000, turn.end_s * 1000, turn.speaker) for turn in found]
    return [(_funasr_speaker if as_funasr else _speaker)(start, end, spans) for start, end in times_ms]


def _speaker(start: float, end: float, spans: Sequence[tuple[float, float, int]]) -> int | None:
    if not spans:
        return None
    heard: dict[int, float] = {}
    for first, last, speaker in spans:
        overlap = min(end, last) - max(start, first)
        if overlap > 0:
            heard[speaker] = heard.get(speaker, 0.0) + overlap
    if heard:
        return max(heard, key=lambda speaker: heard[speaker])
    return min(spans, key=lambda span: max(span[0] - end, start - span[1]))[2]


def _funasr_speaker(start: float, end: float, spans: Sequence[tuple[float, float, int]]) -> int:
    chosen, most = 0, 0.0
    for first, last, speaker in spans:
        overlap = max(min(end, last) - max(start, first), 0)
        if overlap > most:
            most, chosen = overlap, speaker
        if overlap > 0 and chosen == speaker:
            most += overlap
    return chosen
