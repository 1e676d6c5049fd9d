"""When the words of a CTC model are said: from the frames that its tokens take. Imports numpy only.

The frames of the tokens that were read out are the best path itself, so no search is needed: of all paths that
collapse to these tokens it is the most probable one. FunASR searches all the same, for it aligns other tokens: those
that SentencePiece makes of the text (`forced_path`, `funasr_words`; in force with `as_funasr`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from mlx_model.decoding.greedy import Run

PIECE_START = "▁"  # a space in SentencePiece's pieces
FUNASR_FRAME_MS = 60  # FunASR reckons with it whatever the front end's frames are
FUNASR_QUERIES = 4  # frames, and pieces of the text, that FunASR takes for tags
FUNASR_NO_ID = 124  # the id that FunASR aligns for a piece that SentencePiece makes nothing of


class Timed(NamedTuple):
    """A word and its time; `spaced`: a space stands in front of it; `pieces`: [first, stop) of those it is made of."""

    text: str
    start_ms: int
    end_ms: int
    spaced: bool = False
    pieces: tuple[int, int] = (0, 0)


def words_of(spans: Sequence[tuple[str, Run]], frames: int, frame_ms: float) -> list[Timed]:
    """Return the words of pieces that were read out, with their times.

    A word begins with ▁, or where a character is wide (Chinese, Japanese, Korean): those are words of their own, as are
    pieces of several of them. It reaches from its first frame to its last; times are those of the frames' edges less
    half a frame, as FunASR places them, for a frame's features reach as far back as ahead.

    Args:
        spans: pieces without tags, each with its run of frames, counted from the first frame of speech.
        frames: of speech.
        frame_ms: of an encoder frame.
    """
    words: list[Timed] = []
    spaced = False
    for at, (piece, run) in enumerate(spans):
        spaced |= piece.startswith(PIECE_START)
        text = piece.removeprefix(PIECE_START).replace(PIECE_START, " ")
        if not text:  # a space by itself
            continue
        start, end = _span_ms(run, frames, frame_ms)
        if words and not spaced and not _wide(text[0]) and not _wide(words[-1].text[-1]):
            last = words[-1]
            words[-1] = last._replace(text=last.text + text, end_ms=end, pieces=(last.pieces[0], at + 1))
        else:
            words.append(Timed(text, start, end, spaced and bool(words), (at, at + 1)))
        spaced = False
    return words


def _span_ms(run: Run, frames: int, frame_ms: float) -> tuple[int, int]:
    edges = (edge - 0.5 for edge in (run.start, min(run.end, frames)))
    start, end = (max(round(edge * frame_ms), 0) for edge in edges)
    return start, end


def _wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"


def forced_path(log_probs: np.ndarray, targets: Sequence[int]) -> np.ndarray:
    """Return the token of every frame on the most probable path that collapses to `targets`; 0 is the blank.

    Mirrors funasr/models/sense_voice/utils/ctc_alignment.py::ctc_forced_align for one utterance: the first of equal
    moves wins, and where the frames are too few for the targets, what it returns is no alignment here either.

    Args:
        log_probs: (T, V) float32.
        targets: token ids, at least one.
    """
    frames, states = len(log_probs), 2 * len(targets) + 1
    labels = np.zeros(states, np.int64)
    labels[1::2] = targets
    skips = np.zeros(states, bool)  # whether a state may be reached past the one before it
    skips[2:] = labels[2:] != labels[:-2]
    emitted = log_probs[:, labels]
    score = np.full(states + 2, -np.inf, np.float32)  # two states before the first, never reached
    score[2:4] = emitted[0, :2]
    moves = np.zeros((frames, states), np.uint8)
    for frame in range(1, frames):
        before = np.stack([score[2:], score[1:-1], np.where(skips, score[:-2], np.float32(-np.inf))])
        moves[frame] = before.argmax(axis=0)
        score[2:] = emitted[frame] + before.max(axis=0)
    state = states - 2 + int(score[-2:].argmax())
    path = np.zeros(frames, np.int64)
    for frame in range(frames - 1, -1, -1):
        path[frame] = labels[max(state, 0)]
        state -= int(moves[frame, state]) if state >= 0 else 0
    return path


def funasr_words(
    log_probs: np.ndarray, pieces: Sequence[str], ids: Sequence[Sequence[int]], blank_id: int
) -> list[Timed] | None:
    """Return words and times as FunASR's `output_timestamp` gives them; None where it gives none, or fails.

    Mirrors funasr/models/sense_voice/model.py::SenseVoiceSmall.inference from `output_timestamp` on.

    Args:
        log_probs: (T, V) float32, of the frames of speech.
        pieces: that SentencePiece makes of the text; the first four are taken for tags, whatever they are.
        ids: of each piece by itself.
        blank_id: of the model; the aligner's is 0.
    """
    pieces, ids = pieces[FUNASR_QUERIES:], ids[FUNASR_QUERIES:]
    targets = [token for found in ids for token in (found or [FUNASR_NO_ID])]
    if not targets or max(targets) >= log_probs.shape[1]:
        return None
    log_probs = log_probs.copy()
    log_probs[log_probs.argmax(axis=-1) == blank_id, blank_id] = 0
    spans: list[tuple[str, float, float]] = []
    start, last = 0, (len(log_probs) * FUNASR_FRAME_MS - 30) / 1000
    for token, frames in groupby(forced_path(log_probs, targets).tolist()):
        end = start + len(list(frames))
        if token != 0:
            if len(spans) == len(pieces):
                return None  # an IndexError there: a piece that was several ids
            left = max((start * FUNASR_FRAME_MS - 30) / 1000, 0)
            spans.append((pieces[len(spans)], left, min((end * FUNASR_FRAME_MS - 30) / 1000, last)))
        start = end
    return _joined(spans)


def _joined(spans: Sequence[tuple[str, float, float]]) -> list[Timed]:
    """Mirrors SenseVoiceSmall.post: seconds are cut to milliseconds, the first piece keeps its ▁."""
    words: list[Timed] = []
    previous = ""
    for place, (piece, left, right) in enumerate(spans):
        start, end = int(left * 1000), int(right * 1000)
        if piece == PIECE_START:
            continue
        glued = all(part.isalpha() and part.isascii() for part in (previous, piece))
        if place > 0 and piece.startswith(PIECE_START):
            piece = piece[1:]
            words.append(Timed(text=piece, start_ms=start, end_ms=end, spaced=True))
        elif place > 0 and glued:
            piece = previous + piece
            words[-1] = Timed(text=piece, start_ms=words[-1].start_ms, end_ms=end, spaced=words[-1].spaced)
        else:
            words.append(Timed(text=piece, start_ms=start, end_ms=end))
        previous = piece
    return words
