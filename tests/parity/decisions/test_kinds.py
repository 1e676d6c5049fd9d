"""Kinds of decisions: what differs, and what explains it. Oracle: margins made by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from parity.decisions.boundary import first_difference
from parity.decisions.count import count_difference, unexplained_count
from parity.decisions.decision import decision
from parity.decisions.threshold import threshold_differences
from parity.decisions.tokens import TokenDecisions
from parity.sides.candidate import CandidateRun
from parity.taps.packing import Pair
from parity.taps.trace import Recorded

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


def run_of(scores: list[list[float]], own: list[list[float]]) -> CandidateRun:
    """Return a run with these scores on the reference's features, and those on its own."""
    taps, others = ({"logits": np.array([rows]), "predictor.fires": ONE} for rows in (scores, own))
    return CandidateRun(taps, [], {}, others)


def test_a_token_that_the_front_ends_rounding_moves_has_a_margin():
    """Two tokens, 2e-4 apart in truth; on its own features the candidate's scores are 1.5e-4 away, or other firings."""
    candidate = SimpleNamespace(full_tapset=SimpleNamespace(is_discrete=lambda tap: tap == "predictor.fires"))
    decided = {"firing": "predictor.fires", "token": "token_ids"}
    scores = np.array([[[1.0, 1.0002], [0.0, 1.0]]])
    pair = Pair.of(scores, scores.astype(np.float32))
    recorded = Recorded(plain={}, propagated={"logits": pair}, introduced={}, inputs={})
    made = SimpleNamespace(LOGITS="logits", candidate=candidate, decided=decided, allowance=5.0, token=str)
    moved = lambda run: TokenDecisions.moved(made, "a", recorded, run)  # noqa: E731  # pyright: ignore
    (row,) = moved(run_of([[1.0, 1.0002], [0.0, 1.0]], [[1.00015, 1.00005], [0.0, 1.0]]))
    assert (row.position, row.reference, row.candidate, row.explained) == (0, "1", "0", True)
    assert row.margin == pytest.approx(2e-4, rel=1e-3)
    assert moved(run_of([[1.0, 1.0002], [0.0, 1.0]], [[1.0, 1.0002], [0.0, 1.0]])) == []
    run = run_of([[1.0, 1.0002], [0.0, 1.0]], [[1.00015, 1.00005], [0.0, 1.0]])
    assert moved(run._replace(own={**run.own, "predictor.fires": OTHER})) == []  # it follows from a firing
    # What the candidate says on the reference's features is far from the truth: moving it by little explains nothing.
    (wrong,) = moved(run_of([[1.0001, 1.0], [0.0, 1.0]], [[1.00011, 1.0], [0.0, 1.0]]))
    assert not wrong.explained
