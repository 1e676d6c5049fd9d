"""Kinds of decisions: what differs, and what explains it. Oracle: margins made by hand."""

from __future__ import annotations

import numpy as np

from parity.decisions.boundary import first_difference
from parity.decisions.count import count_difference, unexplained_count
from parity.decisions.decision import decision
from parity.decisions.threshold import threshold_differences

ONE, OTHER = np.array([True, False, True]), np.array([True, True, False])


def test_frames_on_one_side_of_an_edge_only():
    margins = {1: (1e-7, 2e-7), 2: (1e-3, 2e-7)}
    rows = threshold_differences("frame", "a", ONE, OTHER, margins.__getitem__, lambda frame, over: f"{frame}:{over}")
    assert [(row.position, row.reference, row.candidate, row.explained) for row in rows] == [
        (1, "1:False", "1:True", True),
        (2, "2:True", "2:False", False),
    ]


def test_another_number_of_frames_nothing_explains():
    (row,) = threshold_differences("frame", "a", ONE, OTHER[:2], lambda frame: (0.0, 1.0), str)
    assert (row.position, row.reference, row.explained) == (2, "3 frames", False)


def test_counts_by_the_sum_they_are_taken_of():
    assert count_difference("a", (3, 3), 3.4, 1.0, 9) == []
    (near,) = count_difference("a", (3, 4), 3.9999999, 1e-6, 9)
    (far,) = count_difference("a", (3, 4), 3.6, 1e-6, 9)
    (two,) = count_difference("a", (3, 5), 4.0, 1e-6, 9, "segments")
    assert [row.explained for row in (near, far, two)] == [True, False, False]
    assert two.reference == "3 segments"
    assert not unexplained_count("a", 3, 4).explained


def test_a_boundary_is_explained_by_all_that_led_to_it():
    reference, candidate = np.array([[1, 2], [5, 9]]), np.array([[1, 2], [6, 9]])
    near, far = (decision("frame", "a", 5, ("x", "y"), margin, 1e-3) for margin in (1e-4, 1e-1))
    for causes, explained in (([near], True), ([near, far], False), ([], False)):
        (row,) = first_difference("segment", "a", reference, candidate, causes)
        assert (row.position, row.reference, row.candidate, row.explained) == (1, "[5, 9]", "[6, 9]", explained)
    (missing,) = first_difference("segment", "a", reference, reference[:1], [near])
    assert (missing.position, missing.candidate) == (1, "nothing")
    assert first_difference("segment", "a", reference, reference, [far]) == []
