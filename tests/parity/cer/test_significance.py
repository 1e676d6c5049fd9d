"""The matched-pairs test and the sample size. Oracles: NIST's own sc_stats, the published definition written down
slowly, hand-worked examples, closed forms, simulated systems whose true difference is known. All seeds are fixed.
"""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.cer.normalize import find_normalizer
from parity.cer.score import score_utterance
from parity.cer.significance import mapsswe, segment_errors, utterances_needed
from parity.cer.statistics import paired_bootstrap

# One letter per column of an alignment, for system A and system B: correct, substituted, deleted, inserted.
UTTERANCES = (
    ("CCCCCCCC", "CCCCCCCC"), ("SCCCCCSC", "CCCCCCCC"), ("CSCSCCCC", "CCCDCCCC"), ("CCSCCDCC", "CCCCCCSC"),
    ("CCCC", "CCCCI"), ("ICCCC", "CCICC"), ("CCICCCC", "CCCCCCI"), ("CSICCC", "CDCCC"), ("SSSS", "CCCC"),
    ("CCCIII", "CCC"), ("DDDD", "CCCS"), ("CICICC", "CCCC"), ("CCSCCCCSCC", "CCCCCSCCCC"), ("", "II"),
)  # fmt: skip


def alignment(columns: str) -> list[list[str | None]]:
    """Return the pairs of an utterance whose reference is r0 r1 r2 ..."""
    pairs: list[list[str | None]] = []
    for column in columns:
        unit = f"r{sum(reference is not None for reference, _ in pairs)}"
        pairs.append({"C": [unit, unit], "S": [unit, "x"], "D": [unit, None], "I": [None, "x"]}[column])
    return pairs


def all_segments(pairs: Sequence[tuple[list, list]], **options) -> tuple[list[int], list[int]]:
    """Return the segments of many utterances, one after the other."""
    found = [segment_errors(a, b, **options) for a, b in pairs]
    return [count for a, _ in found for count in a], [count for _, b in found for count in b]


def slow_segments(columns_a: str, columns_b: str, buffer: int) -> list[tuple[int, int]]:
    """Gillick and Cox's definition, unit by unit: a segment ends once `buffer` units in a row are right in both."""
    length = sum(column != "I" for column in columns_a)
    cells: list[list[list[int]]] = [[], []]  # for each system and reference unit: insertions before it, wrong or not
    for cell, columns in zip(cells, (columns_a, columns_b), strict=True):
        inserted = 0
        for column in columns:
            if column == "I":
                inserted += 1
            else:
                cell.append([inserted, int(column != "C")])
                inserted = 0
        cell.append([inserted, 0])  # the end of the utterance
    segments: list[tuple[int, int]] = []
    errors, right = [0, 0], 0
    for place in range(length + 1):
        (inserted_a, wrong_a), (inserted_b, wrong_b) = cells[0][place], cells[1][place]
        if inserted_a or inserted_b:
            errors, right = [errors[0] + inserted_a, errors[1] + inserted_b], 0
        if place < length:
            right = 0 if wrong_a or wrong_b else right + 1
            errors = [errors[0] + wrong_a, errors[1] + wrong_b]
        if any(errors) and (right >= buffer or place == length):
            segments.append((errors[0], errors[1]))
            errors = [0, 0]
    return segments


def test_segments_of_hand_worked_utterances():
    found = [segment_errors(alignment(a), alignment(b)) for a, b in UTTERANCES]
    assert found[0] == ([], [])  # no error, no segment
    assert found[1] == ([1, 1], [0, 0])  # five right in between
    assert found[2] == ([2], [1])  # only one right in between
    assert found[3] == ([1, 1], [0, 1])  # an error of A, two right, an error of A and one of B with no two between
    assert found[4] == ([0], [1])  # an insertion behind the last unit
    assert found[5] == ([1, 0], [0, 1])  # insertions two units apart
    assert found[11] == ([2], [0])  # insertions one unit apart
    assert found[13] == ([0], [2])  # an empty reference: NIST counts its insertions too


@pytest.mark.parametrize(
    ("buffer", "expected"), [(1, (21, 0.7143, 1.4541)), (2, (18, 0.8333, 1.5435)), (3, (15, 1.0, 1.6036))]
)
def test_a_wider_buffer_leaves_fewer_segments(buffer, expected):
    pairs = [(alignment(a), alignment(b)) for a, b in UTTERANCES]
    result = mapsswe(*all_segments(pairs, buffer=buffer))
    assert (result.segments, -result.mean_difference, result.deviation) == pytest.approx(expected, abs=1e-4)
    assert (result.errors_a, result.errors_b) == (25, 10)


def test_it_gives_what_sc_stats_gives_for_these_utterances():
    # SCTK 2.4.10 (Debian's package sctk), fed the same alignments as SGML: `sc_stats -p -t mapsswe -v` printed
    # "# segs: 18", totals 25 and 10, mean 0.833, std dev 1.543, Z Stat 2.291 (A - B there).
    result = mapsswe(*all_segments([(alignment(a), alignment(b)) for a, b in UTTERANCES]))
    assert (result.segments, result.errors_a, result.errors_b) == (18, 25, 10)
    found = (-result.mean_difference, result.deviation, -result.z)
    assert found == pytest.approx((0.833, 1.543, 2.291), abs=0.0006)  # as printed
    assert result.p_value == pytest.approx(0.0220, abs=0.0001)  # two-sided, of 2.291 in a table of the normal
    assert result.note == "only 18 segments: p is rough, it takes Z for normal"


@pytest.mark.shared
@pytest.mark.parametrize(
    ("unit", "system_a", "system_b", "expected"),
    [
        ("word", "7_0.0", "12_0.5", (225, 745, 682, 0.280, 0.532, 7.897)),
        ("word", "7_0.0", "17_1.0", (225, 745, 638, 0.476, 0.688, 10.364)),
        ("word", "12_0.5", "17_1.0", (222, 682, 638, 0.198, 0.463, 6.385)),
        ("char", "7_0.0", "12_0.5", (232, 733, 669, 0.276, 0.734, 5.727)),
        ("char", "7_0.0", "17_1.0", (233, 733, 640, 0.399, 0.974, 6.258)),
        ("char", "12_0.5", "17_1.0", (220, 669, 640, 0.132, 0.645, 3.030)),
    ],
)
def test_it_gives_what_sc_stats_gives_for_kaldis_systems(shared, unit, system_a, system_b, expected):
    # SCTK 2.4.10 on the 500 utterances of kaldi_s0150, every distinct word (character) written as an ASCII word:
    # `sclite -i spu_id -o sgml` for each system, then `sc_stats -p -t mapsswe -v`. Printed to three decimals.
    folder = shared / "data" / "cer" / "kaldi_s0150"
    names = ("ref.txt", f"hyp_{system_a}.txt", f"hyp_{system_b}.txt")
    texts = [dict((*line.split(maxsplit=1), "")[:2] for line in (folder / name).read_text("utf-8").splitlines())
             for name in names]  # fmt: skip
    none, rows = find_normalizer("none"), []
    for utt_id, reference in texts[0].items():
        given = [reference, texts[1][utt_id], texts[2][utt_id]]
        truth, *heard = given if unit == "word" else ["".join(text.split()) for text in given]
        rows.append(tuple(score_utterance(utt_id, truth, text, none, unit).alignment for text in heard))
    result = mapsswe(*all_segments(rows, units=len if unit == "char" else lambda text: len(text.split())))
    assert (result.segments, result.errors_a, result.errors_b) == expected[:3]
    assert (-result.mean_difference, result.deviation, -result.z) == pytest.approx(expected[3:], abs=0.0006)


@st.composite
def two_systems(draw: st.DrawFn) -> tuple[str, str]:
    length = draw(st.integers(0, 12))
    return tuple(
        "".join("I" * draw(st.sampled_from((0, 0, 0, 1, 2))) + draw(st.sampled_from("CCCSD")) for _ in range(length))
        + "I" * draw(st.integers(0, 2))
        for _ in range(2)
    )  # type: ignore[return-value]


@settings(derandomize=True, max_examples=300)
@given(two_systems(), st.integers(1, 4))
def test_segments_are_those_of_the_definition(columns, buffer):
    found = segment_errors(alignment(columns[0]), alignment(columns[1]), buffer=buffer)
    assert list(zip(*found, strict=True)) == slow_segments(*columns, buffer)
    assert [sum(side) for side in found] == [sum(column != "C" for column in side) for side in columns]
    assert segment_errors(alignment(columns[1]), alignment(columns[0]), buffer=buffer) == found[::-1]


def test_agreeing_stretches_count_as_many_units_as_they_hold():
    joined_a = [["ab", "ab"], ["c", None], ["defg", "defg"]]
    joined_b = [["abcdef", "abcdef"], ["g", "x"]]
    assert segment_errors(joined_a, joined_b, units=len) == ([1, 0], [0, 1])
    words = [["a b", "a b"], [None, "x"], ["c d", "c d"]]
    other = [["a b c", "a b c"], ["d", "y"]]
    assert segment_errors(words, other, units=lambda text: len(text.split())) == ([1], [1])  # one word in between


def test_alignments_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="have 3 and 2 units"):
        segment_errors(alignment("CCC"), alignment("CIC"))
    with pytest.raises(ValueError, match="at least 1 unit, not 0"):
        segment_errors([], [], buffer=0)
    with pytest.raises(ValueError, match=r"not \(2,\) and \(1,\)"):
        mapsswe([1, 2], [1])
    with pytest.raises(ValueError, match=r"the lists hold \[2, 1, 2\]"):
        utterances_needed([1, 2], [1], [4, 4])


def test_z_and_p_in_closed_form():
    # Differences 1, 1, 1, -1: mean 0.5, deviation 1, Z = 0.5 / (1 / 2) = 1; P(|Z| > 1) = 1 - 0.682689.
    result = mapsswe([0, 1, 2, 1], [1, 2, 3, 0])
    assert (result.mean_difference, result.deviation, result.z) == (0.5, 1.0, 1.0)
    assert result.p_value == pytest.approx(1 - 0.6826894921, abs=1e-9)
    other = mapsswe([1, 2, 3, 0], [0, 1, 2, 1])
    assert (other.z, other.p_value) == (-1.0, result.p_value)
    padded = mapsswe([0, 0, 1, 2, 0, 1], [0, 1, 2, 3, 0, 0])  # segments without errors do not count, as in sc_stats
    assert (padded.segments, padded.z) == (4, 1.0)
    large = mapsswe([1] * 10_000, [2, 0, 2] * 3333 + [2])
    assert 0 < large.p_value < 1e-200  # no rounding to 0 as 1 - P(...) would give


@pytest.mark.parametrize(
    ("segments_a", "segments_b", "note"),
    [
        ([], [], "no segment: neither system makes an error, nothing can be tested"),
        ([0, 0], [0, 0], "no segment: neither system makes an error, nothing can be tested"),
        ([1, 3, 2], [1, 3, 2], "both systems make as many errors in every segment: no difference to test"),
        ([2, 1, 1], [1, 0, 0], "all 3 segments differ by the same -1: without variance Z = 0 and p = 1"),
        ([0], [2], "all 1 segments differ by the same 2: without variance Z = 0 and p = 1"),
    ],
)
def test_without_variance_p_is_one_as_sc_stats_has_it(segments_a, segments_b, note):
    # sc_stats prints "Z Stat: 0.000" for three segments that all differ by 1, as for identical systems.
    result = mapsswe(segments_a, segments_b)
    assert (result.z, result.p_value, result.deviation, result.note) == (0.0, 1.0, 0.0, note)


def simulated(seed: int, utterances: int, rates: tuple[float, float]) -> list[tuple[list, list]]:
    """Alignments of two systems: utterances of 15 units, each hard for both alike, wrong units independent else."""
    generator = np.random.default_rng(seed)
    hardness = generator.gamma(1, 1, utterances)
    letters = [np.where(generator.random((utterances, 15)) < np.minimum(hardness * rate, 0.6)[:, None], "S", "C")
               for rate in rates]  # fmt: skip
    return [(alignment("".join(a)), alignment("".join(b))) for a, b in zip(*letters, strict=True)]


def test_p_is_uniform_where_both_systems_are_equally_good():
    # 400 pairs of systems, 60 utterances each, about 65 segments: the share of p below a level is that level; standard
    # error sqrt(level (1 - level) / 400), three of them allowed, and 0.01 for the steps of small counts.
    found = np.array([mapsswe(*all_segments(simulated(seed, 60, (0.1, 0.1)))).p_value for seed in range(400)])
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        assert (found < level).mean() == pytest.approx(level, abs=3 * math.sqrt(level * (1 - level) / 400) + 0.01)
    better = [mapsswe(*all_segments(simulated(seed, 60, (0.1, 0.05)))) for seed in range(50)]
    assert sum(result.p_value < 0.05 and result.z < 0 for result in better) > 35


def test_it_sees_the_same_variance_as_the_paired_bootstrap():
    # Of the difference in errors: segments say deviation * sqrt(n); drawing utterances says the interval's half width
    # over 1.96. They agree where utterances are independent, up to the number of segments being drawn too (here 1 %)
    # and each estimate's own standard error, about 1/sqrt(2 * 900) = 2.4 % and 3 % of a half width.
    pairs = simulated(1, 800, (0.1, 0.09))
    errors = np.array([[sum(r != h for r, h in side) for side in pair] for pair in pairs])
    test = mapsswe(*all_segments(pairs))
    drawn = paired_bootstrap(errors[:, 0], errors[:, 1], np.full(800, 15))
    assert drawn.difference == pytest.approx(test.mean_difference * test.segments / 12_000)
    half = (drawn.high - drawn.low) / 2 * 12_000
    assert half / 1.96 == pytest.approx(test.deviation * math.sqrt(test.segments), rel=0.12)


def test_utterances_needed_in_closed_form():
    # Equal lengths: n = (1.959964 + 0.841621)^2 * variance / mean^2 of the differences in errors, whatever the length.
    # 60 utterances with +1, 40 with -1: mean 0.2, variance 0.96 * 100 / 99; 7.848880 * 0.969697 / 0.04 = 190.3.
    errors_a, errors_b = [0] * 60 + [1] * 40, [1] * 60 + [0] * 40
    assert utterances_needed(errors_a, errors_b, [10] * 100) == 191
    assert utterances_needed(errors_b, errors_a, [7] * 100) == 191
    # z(0.995) = 2.575829, z(0.9) = 1.281552: 14.879384 * 0.969697 / 0.04 = 360.7.
    assert utterances_needed(errors_a, errors_b, [10] * 100, power=0.9, alpha=0.01) == 361
    # A system that is worse by a tenth of every utterance, long or short, has no variance about that ratio.
    assert utterances_needed([0, 0, 0], [1, 2, 30], [10, 20, 300]) == 2


def test_utterances_needed_is_none_where_no_number_would_do():
    assert utterances_needed([1, 0, 2], [0, 1, 2], [5, 5, 5]) is None  # no difference: infinitely many
    assert utterances_needed([1, 0], [1, 0], [5, 5]) is None
    assert utterances_needed([1], [0], [5]) is None  # no variance can be estimated
    assert utterances_needed([1, 0], [0, 0], [0, 0]) is None  # no rate
    assert utterances_needed([], [], []) is None


def test_that_many_utterances_find_the_difference_with_the_power_asked_for():
    # A set of 2,000 utterances is the population; sets of the size found are drawn from it, and each is tested with the
    # bootstrap's interval. 300 of them: standard error 0.023 at 0.8, three allowed; and the n of a simulation of 40
    # utterances fewer or more would hardly change it.
    generator = np.random.default_rng(0)
    lengths = generator.integers(5, 26, 2000)
    hardness = generator.gamma(1, 1, 2000)
    errors_a, errors_b = (generator.binomial(lengths, np.minimum(hardness * rate, 0.6)) for rate in (0.1, 0.085))
    needed = utterances_needed(errors_a, errors_b, lengths)
    assert needed is not None
    assert 100 < needed < 2000
    found = 0
    for seed in range(300):
        drawn = np.random.default_rng(seed).integers(0, 2000, needed)
        result = paired_bootstrap(errors_a[drawn], errors_b[drawn], lengths[drawn], resamples=400, seed=seed)
        found += result.high < 0
    assert found / 300 == pytest.approx(0.8, abs=0.07)
