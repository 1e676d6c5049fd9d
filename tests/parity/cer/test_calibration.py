"""Confidences against errors. Oracles: by hand; scipy's ranks; Wilson's interval as published."""

from __future__ import annotations

import numpy as np
import pytest

from parity.cer.calibration import Confidences, wilson
from parity.cer.normalize import find_normalizer
from parity.cer.score import score_utterance
from parity.cer.units import find_unit


def counted(*utterances: tuple[str, str, list[float]], unit: str = "char", normalize: str = "aishell") -> Confidences:
    found = Confidences()
    for number, (reference, text, sure) in enumerate(utterances):
        row = score_utterance(str(number), reference, text, find_normalizer(normalize), unit)
        found.add(text, sure, row.alignment, find_unit(unit))
    return found


def test_bins_by_hand():
    """Right at 0.95 and 0.85, a substitution at 0.85, an insertion at 0.05, and a deletion that has no token."""
    report = counted(("一二三四", "一 二五", [0.95, 0.85, 0.85]), ("六", "六七", [0.95, 0.05])).report()
    assert report is not None
    assert (report.tokens, report.left_out, report.accuracy) == (5, 0, 3 / 5)
    assert report.confidence == pytest.approx((0.95 * 2 + 0.85 * 2 + 0.05) / 5)
    full = {round(one.low, 1): (one.count, one.confidence, one.accuracy) for one in report.bins if one.count}
    assert full == {
        0.0: (1, pytest.approx(0.05), 0.0), 0.8: (2, pytest.approx(0.85), 0.5), 0.9: (2, pytest.approx(0.95), 1.0),
    }  # fmt: skip
    assert [one.high for one in report.bins] == pytest.approx([0.1 * number for number in range(1, 11)])
    assert report.ece == pytest.approx((0.05 + 2 * 0.35 + 2 * 0.05) / 5)
    # pairs of a wrong and a right one: 0.85 is less than 0.95, 0.95 and ties with 0.85; 0.05 is less than all three
    assert report.auc == pytest.approx((2 + 0.5 + 3) / 6)
    assert report.roc[0] == [0.0, 0.0]
    assert report.roc[-1] == [1.0, 1.0]


def test_the_area_is_that_of_ranks():
    """Mann and Whitney's U, from ranks."""
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(3)
    sure = rng.integers(0, 40, 200) / 40
    right = rng.random(200) < sure
    found = counted(*[("字", "字" if is_right else "错", [value]) for value, is_right in zip(sure, right, strict=True)])
    report = found.report()
    assert report is not None
    expected = stats.mannwhitneyu(sure[right], sure[~right]).statistic / (right.sum() * (~right).sum())
    assert report.auc == pytest.approx(expected)
    shares = np.array(report.roc)
    assert float(np.trapezoid(shares[:, 1], shares[:, 0])) == pytest.approx(expected, abs=1e-3)


def test_what_a_normaliser_changes_keeps_its_confidence():
    """FunASR's drops the comma and writes capitals: four letters are left, each with its own."""
    report = counted(("ABXD", "ab,cd", [0.9, 0.9, 0.1, 0.3, 0.9]), normalize="funasr").report()
    assert report is not None
    assert report.tokens == 4
    assert [(one.count, one.accuracy) for one in report.bins if one.count] == [(1, 0.0), (3, 1.0)]


def test_a_word_has_its_characters_together():
    report = counted(("ab cd", "ab ce", [0.9, 0.4, 0.8, 0.2]), unit="word", normalize="none").report()
    assert report is not None
    assert [(one.low, one.count, one.accuracy) for one in report.bins if one.count] == [(0.4, 1, 0.0), (0.6, 1, 1.0)]


def test_texts_that_do_not_fit_their_confidences_are_left_out():
    found = counted(("一二", "一二", [0.9]))
    assert (found.left_out, found.report()) == (2, None)
    assert Confidences().report() is None


def test_all_right_has_no_area():
    report = counted(("一", "一", [1.0])).report()
    assert report is not None
    assert (report.auc, report.roc, report.bins[-1].count) == (None, [], 1)


def test_intervals():
    """Newcombe (1998), table I: 81 of 263 is 0.2553 to 0.3662, 0 of 20 is 0 to 0.1611."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)
