"""Is a difference between two systems real: NIST's matched-pairs test, and how many utterances would resolve it.

Must not import mlx, torch or funasr. Closed forms only; the paired bootstrap is in statistics.py. As there, differences
are B - A: negative favours B (sc_stats subtracts the other way round, so its Z has the opposite sign).

Source of the matched-pairs test (MAPSSWE): L. Gillick, S. J. Cox, "Some statistical issues in the comparison of speech
recognition algorithms", ICASSP 1989, and what NIST's sc_stats (SCTK 2.4) makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from parity.cer.statistics import Counts, corpus_rate

BUFFER = 2  # units both systems have right between two segments: sc_stats' default
FEW_SEGMENTS = 50  # below, the normal distribution of Z is a rough approximation, and a note says so

Alignment = Sequence[Sequence[str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedPairs:
    """Result of the matched-pairs sentence-segment word error test; two-sided.

    `errors_a` and `errors_b` are those in the segments (that is, all of them); `mean_difference` and `deviation` (of a
    sample: over n - 1) are errors per segment, B - A. `note` says what limits the result, else "".
    """

    segments: int
    errors_a: int
    errors_b: int
    mean_difference: float
    deviation: float
    z: float
    p_value: float
    note: str = ""


def segment_errors(
    alignment_a: Alignment,
    alignment_b: Alignment,
    *,
    units: Callable[[str], int] | None = None,
    buffer: int = BUFFER,
) -> tuple[list[int], list[int]]:
    """Return the errors of system A and of system B in each segment of one utterance, for `mapsswe`.

    A segment begins with an error of either system, and ends where at least `buffer` consecutive reference units follow
    that both have right, with no insertion among them, or with the utterance. So errors of different segments can be
    taken for independent even where a language model couples neighbours. A stretch without errors is no segment.

    Args:
        alignment_a, alignment_b: [reference, hypothesis] pairs along one reference, None where a side has nothing.
        units: how many units an agreeing pair stands for, given its text: rows of score.py join them (`len` for
            characters, `lambda text: len(find_unit(name).cut(text))` else). Left out: one each.
        buffer: at least 1.

    Raises:
        ValueError: the two references differ in length, or the buffer is below 1.
    """
    if buffer < 1:
        raise ValueError(f"the buffer between segments must hold at least 1 unit, not {buffer}")
    places_a, length_a = _error_places(alignment_a, units)
    places_b, length_b = _error_places(alignment_b, units)
    if length_a != length_b:
        raise ValueError(f"alignments of one reference are needed, but they have {length_a} and {length_b} units")
    errors: tuple[list[int], list[int]] = ([], [])
    before: int | None = None
    for place, system in sorted([(place, 0) for place in places_a] + [(place, 1) for place in places_b]):
        if before is None or place // 2 - (before + 1) // 2 >= buffer:  # units that both have right in between
            errors[0].append(0)
            errors[1].append(0)
        errors[system][-1] += 1
        before = place
    return errors


def _error_places(alignment: Alignment, units: Callable[[str], int] | None) -> tuple[list[int], int]:
    """Return where the errors are, and the units of the reference: 2i + 1 is unit i, 2i an insertion before it."""
    position, places = 0, []
    for reference, hypothesis in alignment:
        if reference is None:
            places.append(2 * position)
        elif reference == hypothesis:
            position += 1 if units is None else units(reference)
        else:
            places.append(2 * position + 1)
            position += 1
    return places, position


def mapsswe(segments_a: Counts, segments_b: Counts) -> MatchedPairs:
    """Return the matched-pairs test of the hypothesis that both systems make equally many errors per segment.

    Z = mean / (deviation / sqrt(n)) of the differences, taken for a standard normal variable; p is two-sided. As in
    sc_stats, segments without errors in either system do not count, and without variance Z is 0 and p is 1: so for
    identical systems and where there is no segment at all, but also where every segment has the same difference (one
    segment is the simplest case); `note` tells which.

    Args:
        segments_a, segments_b: errors in each segment, from `segment_errors`, of all utterances one after the other.

    Raises:
        ValueError: the lists differ in length.
    """
    errors_a, errors_b = np.asarray(segments_a, np.int64), np.asarray(segments_b, np.int64)
    if errors_a.shape != errors_b.shape or errors_a.ndim != 1:
        raise ValueError(f"two lists over the same segments are needed, not {errors_a.shape} and {errors_b.shape}")
    difference = (errors_b - errors_a)[(errors_a > 0) | (errors_b > 0)]
    count = len(difference)
    varies = count > 1 and bool(difference.min() != difference.max())
    mean = float(difference.mean()) if count else 0.0
    deviation = float(difference.std(ddof=1)) if varies else 0.0
    z = mean * math.sqrt(count) / deviation if varies else 0.0
    return MatchedPairs(
        segments=count,
        errors_a=int(errors_a.sum()),
        errors_b=int(errors_b.sum()),
        mean_difference=mean,
        deviation=deviation,
        z=z,
        p_value=math.erfc(abs(z) / math.sqrt(2)),
        note=_limits(difference, varies),
    )


def _limits(difference: np.ndarray, varies: bool) -> str:
    """Return why a result says less than it seems to, or ""."""
    count = len(difference)
    if not count:
        return "no segment: neither system makes an error, nothing can be tested"
    if not varies and not difference[0]:
        return "both systems make as many errors in every segment: no difference to test"
    if not varies:
        return f"all {count} segments differ by the same {difference[0]}: without variance Z = 0 and p = 1"
    return f"only {count} segments: p is rough, it takes Z for normal" if count < FEW_SEGMENTS else ""


def utterances_needed(
    errors_a: Counts, errors_b: Counts, lengths: Counts, *, power: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Return how many utterances like these would show the observed difference in corpus rate; None: no number would.

    That many utterances give a two-sided test of level `alpha` the chance `power` to find a difference, if the true one
    is as observed: n = (z(1 - alpha/2) + z(power))^2 * variance / difference^2, where the variance of one utterance is
    that of the ratio estimator, sum((d - difference * length)^2) / (count - 1) / mean(length)^2 with d = errors of B -
    errors of A (W. G. Cochran, Sampling Techniques, chapter 6; the far tail of the test is neglected). At least
    2, where every utterance says the same.

    None where the observed difference is 0 (infinitely many), and where nothing can be estimated: fewer than two
    utterances, or no reference unit. The utterances are taken for independent: where speakers differ, more are needed.
    """
    a, b, length = (np.asarray(counts, np.int64) for counts in (errors_a, errors_b, lengths))
    if not len(a) == len(b) == len(length):
        raise ValueError(f"one count for each utterance is needed, but the lists hold {[len(a), len(b), len(length)]}")
    total = int(length.sum())
    difference = corpus_rate(int((b - a).sum()), total)
    if not difference or not total or len(length) < 2:
        return None
    residual = b - a - difference * length
    variance = float(residual @ residual) / (len(length) - 1) / (total / len(length)) ** 2
    reach = NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(power)
    return max(2, math.ceil(reach**2 * variance / difference**2))
