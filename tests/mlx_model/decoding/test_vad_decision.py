"""The decision machine. Oracles: frames counted by hand from the rules, and FunASR's own `forward` on given scores."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from mlx_model.config.parts import VADXOptions
from mlx_model.decoding.vad_decision import Change, Decision, NoiseFloor, State, Window, decibels, speech_frames

OPTS = VADXOptions()  # window 20 frames, 15 to speech, 15 to silence, 65 frames of silence end, 20 back, 10 ahead


def run(pattern: list[tuple[int, bool]], **changes: Any) -> Decision:
    """Drive the machine with runs of (frames, is speech); the last frame is the stream's last."""
    opts = dataclasses.replace(OPTS, **changes)
    frames = [is_speech for count, is_speech in pattern for _ in range(count)]
    decision = Decision(opts, opts.max_end_silence_time - opts.speech_to_sil_time_thres)
    for index, is_speech in enumerate(frames):
        decision.frame(index, is_speech, index == len(frames) - 1)
    return decision


def found(decision: Decision) -> list[tuple[int, int, bool]]:
    return [(item.start, item.end, item.closed) for item in decision.segments]


def test_a_segment_by_hand():
    """100 frames of silence, 100 of speech, 200 of silence.

    The vote turns at the 15th speech frame, 114; the start is 40 frames back (20 window, 20 lookback): 74. It turns to
    silence when 15 of 20 are left: frame 204. Silence counts from the frame after; its 65th is 269, and the end lies
    65 - 10 - 1 = 54 frames before that: 215, the last frame of the segment.
    """
    assert found(run([(100, False), (100, True), (200, False)])) == [(74, 216, True)]


def test_a_short_pause_is_bridged_and_a_long_one_is_not():
    """The vote turns to silence with a pause's 5th frame, and back with the 15th frame after it: 55 + 9 < 65."""
    assert len(run([(50, False), (60, True), (55, False), (60, True), (99, False)]).segments) == 1
    assert len(run([(50, False), (60, True), (56, False), (60, True), (99, False)]).segments) == 2


def test_fourteen_frames_are_no_speech_and_fifteen_are():
    assert run([(50, False), (14, True), (100, False)]).segments == []
    assert len(run([(50, False), (15, True), (100, False)]).segments) == 1


def test_the_longest_segment():
    """At most 1 s: the frame that makes it longer than 100 frames is its last, so it has 101; then the next begins."""
    segments = found(run([(300, True)], max_single_segment_time=1000))
    assert segments[0] == (0, 101, True)
    assert segments[1][0] == 101


def test_the_last_frame_closes_what_is_open():
    assert found(run([(50, False), (60, True)])) == [(24, 110, True)]
    assert found(run([(50, False), (15, True)])) == [(24, 65, False)]  # FunASR leaves it open


def test_single_utterance_mode_ends_for_good():
    decision = run([(50, True), (100, False), (50, True)], detect_mode=0)
    assert len(decision.segments) == 1
    assert decision.state is State.ENDED
    waited = run([(287, False), (100, True)], detect_mode=0)  # 287 + 14 frames > max_start_silence_time, 3000 ms
    assert (waited.segments, waited.state) == ([], State.ENDED)
    assert len(run([(286, False), (100, True)], detect_mode=0).segments) == 1


def test_the_window_s_hysteresis():
    window = Window(OPTS)
    changes = [window.add(index < 20) for index in range(30)]
    assert changes[13:16] == [Change.SIL_TO_SIL, Change.SIL_TO_SPEECH, Change.SPEECH_TO_SPEECH]
    assert changes[23:26] == [Change.SPEECH_TO_SPEECH, Change.SPEECH_TO_SIL, Change.SIL_TO_SIL]


def test_decibels_closed_form():
    waveform = np.concatenate([np.zeros(400), np.full(160, 0.5)]).astype(np.float32)
    expected = [-60.0, 10 * math.log10(160 * 0.25 + 1e-6)]
    np.testing.assert_allclose(decibels(waveform, 400, 160), expected, atol=1e-5)  # float32 logarithms


def test_the_noise_floor_is_a_running_average_of_noise_only():
    noise = NoiseFloor(10)
    speech = speech_frames(np.array([0.9, 0.01, 0.9]), np.array([-50.0, 0.0, -40.0]), noise, OPTS, 0.6)
    assert speech == [False, True, False]
    assert noise.level == pytest.approx((-40 + 9 * -50) / 10)


@pytest.mark.parametrize(
    ("silence", "level", "changes", "speech"),
    [
        (0.2, -20, {}, True),  # 0.8 >= 0.2 + 0.6
        (0.2000001, -20, {}, False),
        (0.0, -20, {}, True),  # FunASR raises: log of 0
        (1.0, -20, {}, False),  # FunASR raises: log of 0
        (0.01, -31, {"decibel_thres": -30.0}, False),
        (0.01, -101, {"snr_thres": 0.0}, False),  # below the floor of no noise yet, -100
        (0.01, -20, {"fe_prior_thres": 1.0}, False),
        (0.3, -20, {"speech_2_noise_ratio": 4.0}, True),  # 0.7 >= 0.0081 + 0.6
    ],
)
def test_what_makes_a_frame_speech(silence, level, changes, speech):
    opts = dataclasses.replace(OPTS, **changes)
    assert speech_frames(np.array([silence]), np.array([level]), NoiseFloor(100), opts, 0.6) == [speech]


def test_memory_does_not_grow_with_a_long_segment():
    decision = run([(100, True), (5000, False), (5000, True)])
    assert [name for name, value in vars(decision).items() if isinstance(value, list)] == ["segments"]
    assert len(decision.window.votes) == 20
