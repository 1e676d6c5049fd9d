"""The front end. Oracles: kaldi-native-fbank and FunASR's WavFrontend (in a process of its own), and closed forms."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model.config.parts import WavFrontendConfig
from mlx_model.errors import ConfigError
from mlx_model.machine.blas import mx
from mlx_model.parts.frontend import WavFrontend, fbank, frame_counts, lfr, mel_banks, window
from tests import forked
from tests.conftest import ROOT, speech_like

CONFIG = WavFrontendConfig(lfr_m=7, lfr_n=6)
# FunASR's own two fbank back ends (torchaudio, kaldi-native-fbank) differ by 1.6e-3 on speech; our bar is 1e-3.
FBANK_BAR = 1e-3


def test_silence_is_the_float32_floor():
    """Closed form: no energy at all is log(FLT_EPSILON) = -15.942385 in every bin."""
    energies = np.array(fbank(mx.zeros((1, 1000)), CONFIG))
    np.testing.assert_allclose(energies, np.log(np.finfo(np.float32).eps), rtol=1e-7)


def test_constant_offset_is_silence():
    """The mean goes before anything else, so a DC offset leaves the floor only (up to rounding of 16384)."""
    energies = np.array(fbank(mx.full((1, 1600), 0.5), CONFIG))
    assert energies.max() < -15.9


def test_hamming_window_and_mel_edges_by_hand():
    """Symmetric hamming starts at 0.08; the lowest filter starts at 20 Hz, so bin 0 (0 Hz) is in none."""
    values = np.array(window("hamming", 400))
    assert values[0] == pytest.approx(0.08, abs=1e-6)
    assert values[199] == pytest.approx(values[200], abs=1e-6)
    banks = np.array(mel_banks(80, 512, 16000))
    assert banks.shape == (256, 80)
    assert not banks[0].any()
    assert (banks.max(axis=0) > 0.3).all()  # every filter has a bin near its centre


def test_unknown_window_is_refused():
    with pytest.raises(ConfigError, match="kaiser"):
        WavFrontend(WavFrontendConfig(window="kaiser"))


@given(st.integers(1, 300), st.sampled_from([(7, 6), (5, 1), (1, 1), (5, 3), (9, 3)]))
@settings(max_examples=60, deadline=None)
def test_lfr_length_and_content(frames: int, ratio: tuple[int, int]):
    """Closed form: ceil(F / n) rows; row t holds frames n t - (m-1)/2 ... clipped to the utterance."""
    m, n = ratio
    feats = mx.arange(frames, dtype=mx.float32)[None, :, None]
    stacked, lengths = lfr(feats, mx.array([frames]), m, n)
    steps = -(-frames // n)
    expected = np.clip(np.arange(steps)[:, None] * n + np.arange(m) - (m - 1) // 2, 0, frames - 1)
    assert int(lengths[0]) == steps
    np.testing.assert_array_equal(np.array(stacked[0]), expected)


def test_frames_are_whole():
    assert frame_counts(mx.array([399, 400, 559, 560]), 400, 160).tolist() == [0, 1, 1, 2]


def test_padding_changes_nothing():
    """Each utterance's features are the same alone and beside a longer one, and zero behind its end."""
    short, long = speech_like(1.0, 1), speech_like(1.9, 2)
    batch = np.zeros((2, len(long)), np.float32)
    batch[0, : len(short)], batch[1] = short, long
    frontend = WavFrontend(CONFIG)
    together, lengths = frontend(mx.array(batch), mx.array([len(short), len(long)]))
    for row, waveform in enumerate((short, long)):
        alone, count = frontend(mx.array(waveform[None]), mx.array([len(waveform)]))
        assert int(lengths[row]) == int(count[0])
        # The same frames through matrix products of another size: float32 rounding of log energies around 20
        np.testing.assert_allclose(np.array(together[row, : int(count[0])]), np.array(alone[0]), atol=2e-5)
    assert not np.array(together[0, int(lengths[0]) :]).any()


def test_dither_repeats_with_its_seed_and_is_off_by_default():
    waveform = mx.array(speech_like(0.5)[None])
    plain, again = np.array(fbank(waveform, CONFIG)), np.array(fbank(waveform, CONFIG))
    np.testing.assert_array_equal(plain, again)
    noisy = [np.array(fbank(waveform, CONFIG, dither=1.0, seed=seed)) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(noisy[0], noisy[1])
    assert np.abs(noisy[0] - noisy[2]).max() > 0.01
    assert np.abs(noisy[0] - plain).max() > 0.01


ORACLE = """
import json, sys, numpy as np, torch, soundfile
from funasr.frontends.wav_frontend import WavFrontend
for job in json.load(open(sys.argv[1])):
    wave = torch.from_numpy(np.load(job["wave"]))[None]
    frontend = WavFrontend(**job["conf"], dither=0.0)
    feats, lengths = frontend(wave, torch.tensor([wave.shape[1]]))
    np.save(job["out"], feats[0].numpy())
"""


@pytest.mark.reference
def test_features_equal_funasr(tmp_path: Path):
    """Oracle: FunASR's WavFrontend over kaldi-native-fbank, for several settings and lengths."""
    confs = [
        {},
        {"lfr_m": 7, "lfr_n": 6},
        {"lfr_m": 5, "lfr_n": 1},
        {"window": "povey", "n_mels": 40},
        {"window": "hanning"},
        {"fs": 8000, "n_mels": 40},
        {"upsacle_samples": False},
        {"frame_length": 32, "frame_shift": 16},
        {"window": "rectangular"},
    ]
    jobs = []
    for number, conf in enumerate(confs):
        wave = speech_like(0.7 + 0.31 * number, number)
        np.save(tmp_path / f"{number}.npy", wave)
        jobs.append({"conf": conf, "wave": str(tmp_path / f"{number}.npy"), "out": str(tmp_path / f"{number}.out.npy")})
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    subprocess.run(
        [forked.python("funasr"), "-c", ORACLE, str(tmp_path / "jobs.json")], check=True, capture_output=True, cwd=ROOT
    )
    for job in jobs:
        wave, expected = np.load(job["wave"]), np.load(job["out"])
        frontend = WavFrontend(WavFrontendConfig.from_dict({**job["conf"], "cmvn": False}))
        feats, _ = frontend(mx.array(wave[None]), mx.array([len(wave)]))
        assert feats.shape[1:] == expected.shape, job["conf"]
        assert np.abs(np.array(feats[0]) - expected).max() < FBANK_BAR, job["conf"]


@pytest.mark.reference
@pytest.mark.shared
def test_fbank_on_real_speech(shared: Path):
    """Oracle: kaldi-native-fbank, the back end FunASR uses here, on 20 AISHELL utterances."""
    import kaldi_native_fbank as knf
    import soundfile

    options = knf.FbankOptions()
    options.frame_opts.dither, options.frame_opts.window_type = 0.0, "hamming"
    options.mel_opts.num_bins, options.energy_floor = 80, 0.0
    for path in sorted((shared / "data/aishell_s0150/wav/train/S0150").glob("*.wav"))[::25]:
        waveform, _ = soundfile.read(path, dtype="float32")
        extractor = knf.OnlineFbank(options)
        extractor.accept_waveform(16000, waveform * 32768)
        extractor.input_finished()
        expected = np.stack([extractor.get_frame(i) for i in range(extractor.num_frames_ready)])
        assert np.abs(np.array(fbank(mx.array(waveform[None]), CONFIG))[0] - expected).max() < FBANK_BAR
