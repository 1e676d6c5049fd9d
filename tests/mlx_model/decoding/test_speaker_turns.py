"""Windows, turns and whose a sentence is, by hand. FunASR's own: test_clustering.py."""

from __future__ import annotations

import numpy as np

from mlx_model.decoding.speaker_turns import Turn, joined, renumbered, speakers_of, turns, windows


def test_windows_end_where_the_segment_does():
    found = list(windows(np.arange(24_001, dtype=np.float32), 2.0, 16000))
    assert [(round(w.start_s, 5), round(w.end_s, 5)) for w in found] == [(2.0, 3.5), (2.00006, 3.50006)]
    assert found[1].samples[0] == 1
    assert found[1].samples[-1] == 24_000


def test_a_short_segment_is_filled_up_and_keeps_its_time():
    (found,) = windows(np.ones(320, np.float32), 1.0, 16000)  # 20 ms
    assert (found.start_s, found.end_s, len(found.samples), found.samples.sum()) == (1.0, 1.02, 24_000, 320)
    assert list(windows(np.empty(0, np.float32), 0.0, 16000)) == []


def test_speakers_are_counted_as_they_come():
    assert renumbered(np.array([4, 4, -1, 0, 4])).tolist() == [0, 0, 1, 2, 0]


def test_what_two_speakers_windows_share_is_halved():
    assert turns([(0.0, 1.5), (0.75, 2.25), (1.5, 3.0)], np.array([0, 0, 1])) == [(0.0, 1.875, 0), (1.875, 3.0, 1)]
    assert turns([], np.empty(0, np.int64)) == []


def test_a_short_piece_does_not_carry_a_speaker_on():
    times, labels = [(0.0, 2.0), (2.0, 2.5), (2.5, 3.1), (3.2, 5.0)], np.array([0, 1, 2, 3])
    assert turns(times, labels) == [(0.0, 2.5, 0), (2.5, 3.1, 3), (3.2, 5.0, 3)]
    # FunASR: the second piece is 0's by then, and nearer to the third than the fourth is
    assert turns(times, labels, as_funasr=True) == [(0.0, 3.1, 0), (3.2, 5.0, 3)]


def test_pieces_that_touch_are_joined():
    assert joined([Turn(0, 1, 0), Turn(1, 2, 0), Turn(2.1, 3, 0), Turn(3, 4, 1)]) == [(0, 2, 0), (2.1, 3, 0), (3, 4, 1)]


def test_a_sentence_is_whose_speech_is_most_of_it():
    found = [Turn(0.0, 0.4, 1), Turn(0.4, 1.0, 2)]
    assert speakers_of([(0, 1000)], found) == [2]
    assert speakers_of([(0, 1000)], found, as_funasr=True) == [1]  # the first one's 400 ms are counted twice
    assert speakers_of([(2000, 2500), (1000, 1200)], found) == [2, 2]  # nearest
    assert speakers_of([(2000, 2500)], found, as_funasr=True) == [0]
    assert speakers_of([(0, 500)], []) == [None]
