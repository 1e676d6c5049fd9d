"""Faults of times by peaks: the shift, the longest token, silences, the count, and what words get which time."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from mlx_model.decoding import peak_times
from parity.faults.fault import Fault, Seed, exchange, fault
from parity.sides.candidate import Candidate

FILE = "mlx_model.decoding.peak_times"
TIMES = "times"
SPANS, FIRES, ENTRIES, WORDS = (
    peak_times.funasr_spans, peak_times._fires, peak_times._entries, peak_times._with_words
)  # fmt: skip


def _put(name: str, value: Any) -> Seed:
    return lambda candidate, stack: exchange(stack, f"{FILE}.{name}", value)


def _rounded(alphas: Any, peaks: Any, tokens: Any, *, offset_ms: float = 0.0) -> Any:
    """Times to the next 10 ms below, as frames of 10 ms would have them."""
    return [[start // 20 * 20, end // 20 * 20] for start, end in SPANS(alphas, peaks, tokens, offset_ms=offset_ms)]


def _clamped(alphas: Any, peaks: Any, tokens: Any, *, offset_ms: float = 0.0) -> Any:
    return [[max(start, 0), max(end, 0)] for start, end in SPANS(alphas, peaks, tokens, offset_ms=offset_ms)]


def _not_rescaled(stack: ExitStack) -> None:
    """Peaks read off as they are, although they are not one more than the tokens."""

    def spans(alphas: Any, peaks: Any, tokens: Any, *, offset_ms: float = 0.0) -> Any:
        count = max(len(FIRES(peaks)) - 1, 0)
        padded = [*tokens, *["" for _ in range(count)]][:count]
        return SPANS(alphas, peaks, padded, offset_ms=offset_ms)[: len(tokens)]

    exchange(stack, f"{FILE}.funasr_spans", spans)


def _to_the_end(entries: Any, fires: Any, frames: int) -> None:
    """The last token reaches to the recording's end."""
    if entries:
        entries[-1][2] = frames * peak_times.RATE


def _late(tokens: Any, spans: Any) -> Any:
    """Every word has the time of the one behind it."""
    return WORDS(tokens, [*spans[1:], *spans[-1:]])


def _start_of_the_next(fires: np.ndarray, tokens: Any) -> Any:
    """A token begins where the one behind it does."""
    for entry in ENTRIES(fires, tokens):
        yield [entry[0], entry[1] + peak_times.RATE, entry[2]]


def _has_peaks(candidate: Candidate) -> bool:
    return "predictor.upsample_cnn" in candidate.modules  # a SeacoParaformer's predictor may have one head


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of times; they sit at no module. `sides/peak_cases.py` makes up what recordings may lack."""
    found = (
        fault("times_not_shifted", TIMES, "-1.5 frames missing", _put("SHIFT", 0.0)),
        fault("times_shifted_by_1", TIMES, "-1 frame in place of -1.5", _put("SHIFT", -1.0)),
        fault("times_longest_30", TIMES, "30 frames in place of 12 (the ONNX runtime's)", _put("LONGEST", 30)),
        fault("times_longest_11", TIMES, "tokens cut at less than 12 frames", _put("LONGEST", 11)),
        fault("times_rounded", TIMES, "whole frames in place of halves", _put("funasr_spans", _rounded)),
        fault("times_end_not_halved", TIMES, "the last token reaches to the end", _put("_end_last", _to_the_end)),
        fault("times_clamped", TIMES, "negative times put to 0", _put("funasr_spans", _clamped)),
        fault("times_not_rescaled", TIMES, "peaks not rescaled to the tokens", lambda c, s: _not_rescaled(s)),
        fault("times_one_late", TIMES, "every word has its neighbour's time", _put("_with_words", _late)),
        fault("times_begin_late", TIMES, "tokens begin a frame late", _put("_entries", _start_of_the_next)),
        fault("times_of_frames", TIMES, "frames of 10 ms, three to 60 ms forgotten", _put("RATE", 0.01)),
    )  # fmt: skip
    return tuple(replace(each, fits=_has_peaks) for each in found)
