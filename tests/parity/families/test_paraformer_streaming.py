"""A ParaformerStreaming under `parity`: healthy models pass in every setting, faults are named; and two exact oracles.

Oracle: FunASR itself, in a process of its own; of a fault, where it was put; of the front end and of the encoder, our
own offline ones, which the encoder must equal to the last bit.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

import convert
from mlx_model import engines, ops
from mlx_model.config.chunking import Chunking
from mlx_model.errors import UsageError
from mlx_model.loading import load
from mlx_model.machine.blas import mx
from mlx_model.parts.sanm import SANMEncoder
from parity import families
from parity.decisions.cif_chunk import Sums, firing_differences
from parity.families.paraformer_streaming import FAMILY
from parity.families.paraformer_streaming.candidate import cut
from parity.families.paraformer_streaming.chunking import TURNS, numbers, of_numbers, turns, words
from parity.families.paraformer_streaming.watching import firings
from parity.layers.run import check, record
from parity.layers.selftest import judge
from parity.taps.trace import Trace
from tests.conftest import speech_like

# One of the facts' 24 for every kind of place where one can be: front, window, keys, decided frames, carry, decoder.
SEEDED = (
    "rest_computed", "nothing_in_front", "positions_restart", "keys_with_look_ahead", "first_keys_cut",
    "left_decided_again", "carry_alpha_lost", "fires_above", "past_lost", "past_moves_in_silence", "minus_one_is_all",
)  # fmt: skip


@pytest.fixture(scope="module")
def recorded(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trace]:
    """The trained checkpoint's conversion, and FunASR's run of real speech with a pause in it, in two settings."""
    folder = tmp_path_factory.mktemp("streaming")
    source = shared / "checkpoints/paraformer_real_streaming"
    convert.convert(source, folder / "model")
    speech, rate = soundfile.read(shared / "data/aishell_s0150/wav/train/S0150/BAC009S0150W0008.wav", dtype="float32")
    paused = np.concatenate([speech[: 3 * rate // 2], np.zeros(rate, np.float32), speech[3 * rate // 2 : -300]])
    soundfile.write(folder / "a.wav", paused, rate, subtype="PCM_16")
    soundfile.write(folder / "b.wav", speech[:27000], rate, subtype="PCM_16")
    return folder / "model", record(source, folder / "trace", [folder / "a.wav", folder / "b.wav"])


@pytest.mark.reference
@pytest.mark.shared
@pytest.mark.slow
def test_a_healthy_model_passes_window_by_window(recorded: tuple[Path, Trace]):
    model, trace = recorded
    report = check(model, trace.directory)
    assert (report.verdict, report.first_failure) == ("pass", None), report.sentence
    names = [row.name for row in report.taps]
    assert {
        "frontend.samples", "frontend.frames", "encoder.feats", "encoder.encoders.0.self_attn.keys",
        "predictor.carry_alpha", "predictor.carry_hidden", "decoder.decoders.0.self_attn.past",
        "decoder.decoders.0.src_attn.values", "windows.tokens", "end_to_end.windows", "end_to_end.calls",
    } <= {*names}  # fmt: skip
    assert names.index("encoder.embed") < names.index("encoder.encoders0.0.self_attn.keys")
    assert names.index("encoder.encoders0.0") < names.index("encoder.encoders0.0.self_attn.keys")
    assert [found.differ for found in report.outcomes.values()] == [0, 0, 0]
    assert report.outcomes["token"].compared == sum(len(row.token_ids) for row in trace.utterances) > 8
    assert [row.explanation for row in report.utterances] == [words(TURNS[0]), words(TURNS[1])]


@pytest.mark.reference
@pytest.mark.shared
@pytest.mark.slow
def test_faults_of_streaming_are_caught_where_they_are(recorded: tuple[Path, Trace]):
    model, trace = recorded
    report = judge(trace, model, faults=[fault for fault in FAMILY.seeded() if fault.name in SEEDED])
    assert [(row.name, row.engine, row.address) for row in report.faults if not row.right_address] == []
    assert {row.name for row in report.faults} == {*SEEDED}
    assert (report.false_alarms, report.verdict) == (0, "pass")


@pytest.mark.shared
def test_features_in_chunks_are_those_of_the_whole_recording(recorded: tuple[Path, Trace]):
    model, waveform = load(recorded[0]), speech_like(3.1)
    whole, _ = model.frontend.batch(mx.array(waveform)[None], [len(waveform)])
    for stride in (960, 9600, 7680):
        cache, parts = model.frontend.new_cache(), []
        for piece, final in cut(waveform, stride):
            feats, cache = model.frontend.chunk(piece, cache, is_final=final)
            parts.append(np.array(feats))
        off = np.abs(np.concatenate(parts) - np.array(whole)[0]).max()
        assert off < 2e-5, (stride, off)  # a product of other rows at once may add up in another order


@pytest.mark.shared
def test_one_window_of_everything_is_the_offline_encoder(recorded: tuple[Path, Trace]):
    """No look-back and no past: what is left of a window is SANMEncoder. The difference is 0."""
    model = load(recorded[0])
    encoder = model.encoder
    feats = mx.array(np.random.default_rng(0).standard_normal((1, 40, encoder.input_size)).astype(np.float32))
    offline = SANMEncoder(encoder.input_size, model.config.encoder, encoder.after_norm.eps)
    offline.update(encoder.parameters())
    window = feats * encoder.scale + mx.array(_positions(40, encoder.input_size))
    with engines.only(ops.PLAIN):
        out, keys = encoder(window, None, Chunking(chunk_size=(0, 40, 1)))
        x = window
        for layer in offline.layers:
            x = layer(x, None)
        whole = offline.after_norm(x)
    assert keys is None
    assert np.array_equal(np.array(out), np.array(whole))


def _positions(frames: int, depth: int) -> np.ndarray:
    from mlx_model.parts.positions import positions_from

    return positions_from(0, frames, depth)[None]


def test_a_loop_fires_at_whole_sums_and_keeps_the_rest():
    """By hand: 0.5 + 0.5 is a token, exactly; 0.25 of the next frame is left over after 1.25."""
    sums, fires, left = firings(np.array([0.5, 0.5, 0.75, 0.5], np.float32), 1.0)
    assert sums.tolist() == [0.5, 1.0, 0.75, 1.25]
    assert (fires.tolist(), float(left)) == ([False, True, False, True], 0.25)


@pytest.mark.parametrize(("alpha", "explained"), [(0.4999999, True), (0.49, False)])
def test_a_firing_is_explained_only_beside_a_whole_token(alpha: float, explained: bool):
    alphas = np.array([0.5, alpha, 0.3])
    exact = np.array([0.5, 0.5 + alpha, 0.8 + alpha, 0.25 + alpha])  # the tail adds 0.45
    fires = np.array([False, False, True, False])
    sums = Sums(alphas, exact, exact.astype(np.float32), fires, 5.0)
    other = np.array([False, True, False, False])
    rows = firing_differences("a", sums, fires, other)
    assert [row.position for row in rows] == [1, 2]
    assert rows[0].explained is explained


def test_settings_are_written_down_and_read_back():
    assert all(of_numbers(numbers(chunking)) == chunking for chunking in TURNS)
    assert next(turns({"chunk_size": [0, 8, 4]})) == Chunking(chunk_size=(0, 8, 4))
    with pytest.raises(UsageError, match="at least 1 frame to the right"):
        turns({"chunk_size": [0, 8, 0]})


def test_every_fault_of_the_list_is_seeded():
    """The facts' section on streaming lists 24; each is one or two of these."""
    own = {fault.name for fault in FAMILY.seeded()}
    listed = {
        "nothing_in_front", "zeros_with_positions", "positions_restart", "window_scaled", "keys_with_look_ahead",
        "first_keys_cut", "look_back_in_frames", "look_ahead_decided", "look_ahead_left_at_end", "left_decided_again",
        "carry_not_divided", "carry_alpha_lost", "tail_in_every_window", "tail_lost", "tail_repeats", "past_lost",
        "past_moves_in_silence", "decided_frames_only", "cross_keys_of_silence", "minus_one_is_all",
        "single_layer_run", "rest_computed", "splice_of_zeros", "memory_goes_on", "fires_above",
    }  # fmt: skip
    assert listed <= own
    assert len(own) == len(FAMILY.seeded()) >= 60
    assert families.by_name("paraformer_streaming") is FAMILY
