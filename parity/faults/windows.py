"""Faults of telling speakers apart: windows, similarities, eigenvalues, merging, turns, whose a sentence is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mlx_model.decoding import clustering, speaker_turns
from mlx_model.decoding.speaker_turns import Window
from mlx_model.text.speakers import Turn
from parity.faults.fault import Fault, exchange, fault

CLUSTERING, TURNS = "mlx_model.decoding.clustering", "mlx_model.decoding.speaker_turns"
LABELS, SPOKEN, SENTENCES, TIMES = (
    "end_to_end.labels", "end_to_end.turns", "end_to_end.sentences", "windows.times",
)  # fmt: skip
PRUNED, MERGED, SIMILAR = clustering.pruned, clustering.merged, clustering.similarities


def _cut(samples: np.ndarray, start_s: float, rate: int, *, back: bool, left: bool) -> Iterator[Window]:
    """FunASR's windows, the last one moved back or not, zeros on the left or on the right."""
    length, shift, reached = int(1.5 * rate), int(0.75 * rate), 0
    for begin in range(0, len(samples), shift):
        end = min(begin + length, len(samples))
        if end <= reached:
            return
        reached = end
        begin = max(0, end - length) if back else begin
        piece = samples[begin:end]
        spare = length - len(piece)
        piece = np.pad(piece, (spare, 0) if left else (0, spare))
        yield Window(start_s=begin / rate + start_s, end_s=end / rate + start_s, samples=piece)


def _short_left_out(samples: np.ndarray, start_s: float, rate: int) -> Iterator[Window]:
    found = list(HEALTHY_WINDOWS(samples, start_s, rate))
    return iter([each for each in found if each.end_s - each.start_s > 1.49] or found[-1:] * (len(samples) > rate // 5))


def _zeros_left(samples: np.ndarray, start_s: float, rate: int) -> Iterator[Window]:
    """Whole times, and zeros in front: heard in the embeddings of short segments alone."""
    return _cut(samples, start_s, rate, back=True, left=True)


def _kept(more: int) -> Callable[[Any], Any]:
    def pruned(similar: np.ndarray) -> np.ndarray:
        kept, count = similar.copy(), len(similar)
        share = 6 / count if count * 0.022 < 6 else 0.022
        for row in kept:
            row[np.argsort(row)[: int((1 - share) * count) - more]] = 0
        return kept

    return pruned


def _normalised(kept: np.ndarray) -> np.ndarray:
    weights = 0.5 * (kept + kept.T)
    np.fill_diagonal(weights, 0)
    root = 1 / np.sqrt(np.maximum(np.abs(weights).sum(axis=1), 1e-9))
    return (np.eye(len(weights)) - root[:, None] * weights * root[None]).astype(kept.dtype)


def _one_sided(kept: np.ndarray) -> np.ndarray:
    """Not made symmetric: the lower half counts, as eigh reads it."""
    weights = kept.copy()
    np.fill_diagonal(weights, 0)
    return np.diag(np.abs(weights).sum(axis=1)) - weights


def _never_merged(labels: np.ndarray, embeddings: np.ndarray, alike: float = 0.78) -> np.ndarray:
    return labels


def _merged_at(threshold: float) -> Callable[..., np.ndarray]:
    return lambda labels, embeddings, alike=0.78: MERGED(labels, embeddings, threshold)


def _unhalved(times: Any, labels: Any, *, as_funasr: bool = False) -> list[Turn]:
    pairs = zip(times, labels, strict=True)
    pieces = speaker_turns.joined([Turn(start, end, int(label)) for (start, end), label in pairs])
    return speaker_turns.joined(speaker_turns._smooth_as_funasr(pieces))


def _on_the_original(pieces: list[Turn]) -> list[Turn]:
    """Short pieces get the speaker that a neighbour had before any was given away."""
    old, found = list(pieces), SMOOTH(list(pieces))
    if len(old) < 2:
        return found
    for number, piece in enumerate(found):
        if piece.end_s - piece.start_s >= speaker_turns.SHORTEST_S:
            continue
        last = len(old) - 1
        before = np.inf if number == 0 else round(piece.start_s, 2) - found[number - 1].end_s
        after = np.inf if number == last else found[number + 1].start_s - piece.end_s
        taken = 1 if number == 0 else number - 1 if number == last or before <= after else number + 1
        found[number] = piece._replace(speaker=old[taken].speaker)
    return found


def _not_rounded(pieces: list[Turn]) -> list[Turn]:
    rounded = SMOOTH(list(pieces))
    return [old._replace(speaker=new.speaker) for old, new in zip(pieces, rounded, strict=True)]


HEALTHY_WINDOWS, SMOOTH = speaker_turns.windows, speaker_turns._smooth_as_funasr


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of windows and speakers; they sit at one place in every model."""

    def row(name: str, what: str, description: str, place: str, value: Any, **more: Any) -> Fault:
        return fault(name, what, description, lambda c, s: exchange(s, place, value), **more)

    return (
        row("tail_not_moved_back", TIMES, "the last window begins where its turn is", f"{TURNS}.windows",
            lambda *given: _cut(*given, back=False, left=False)),
        row("short_segments_left_out", TIMES, "no window of a segment below 1.5 s", f"{TURNS}.windows",
            _short_left_out),
        row("shift_of_0.5_s", TIMES, "windows every 0.5 s", f"{TURNS}.SHIFT_S", 0.5),
        row("one_more_kept", LABELS, "seven of a row of similarities kept", f"{CLUSTERING}.pruned", _kept(1)),
        row("not_pruned", LABELS, "similarities not pruned", f"{CLUSTERING}.pruned", lambda similar: similar.copy()),
        row("laplacian_normalised", LABELS, "the Laplacian normalised", f"{CLUSTERING}.laplacian", _normalised),
        row("laplacian_one_sided", LABELS, "the graph not made symmetric", f"{CLUSTERING}.laplacian", _one_sided),
        row("gaps_from_1", LABELS, "gaps looked for from the second eigenvalue on", f"{CLUSTERING}.gaps",
            lambda values: np.diff(values[1:17].astype(np.float64))),
        row("never_merged", LABELS, "speakers that are alike not merged", f"{CLUSTERING}.merged", _never_merged),
        row("merged_at_0.3", LABELS, "merged from 0.3 on", f"{CLUSTERING}.merged", _merged_at(0.3)),
        row("few_windows_clustered", LABELS, "fewer than 20 windows clustered as well", f"{CLUSTERING}.FEW", 2),
        row("products_for_cosines", "windows.similarity", "products in the place of cosines",
            f"{CLUSTERING}.similarities", lambda rows: rows @ rows.T),
        row("labels_not_renumbered", LABELS, "labels as they come", f"{TURNS}.renumbered", lambda labels: labels),
        row("overlaps_not_halved", SPOKEN, "what two windows share belongs to both", f"{TURNS}.turns", _unhalved),
        row("shortest_1_s", SPOKEN, "pieces below 1 s given away, not below 0.7 s", f"{TURNS}.SHORTEST_S", 1.0),
        row("smoothed_on_the_original", SPOKEN, "short pieces given away at once, not one after the other",
            f"{TURNS}._smooth_as_funasr", _on_the_original),
        row("times_not_rounded", SPOKEN, "times not rounded to 10 ms", f"{TURNS}._smooth_as_funasr", _not_rounded),
        row("overlaps_summed", SENTENCES, "a sentence is whose overlaps with it are most", f"{TURNS}._funasr_speaker",
            speaker_turns._speaker),
    )  # fmt: skip
