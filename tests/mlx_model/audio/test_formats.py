"""The collection of audio formats, and FunASR's loader. Oracles: what libsndfile and ffmpeg measured
(../shared/data/formats/index.jsonl); FunASR's own loader, in a process of its own."""

import json
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mlx_model.audio.files import load_audio
from mlx_model.errors import AudioError
from tests import forked

SHARED = Path(__file__).resolve().parents[4] / "shared"
FORMATS = SHARED / "data" / "formats"
needs_shared = pytest.mark.skipif(not FORMATS.is_dir(), reason="../shared/data/formats is absent")
needs_funasr = pytest.mark.skipif(find_spec("funasr") is None, reason="funasr is absent: pip install .[reference]")


def records() -> list[dict]:
    if not FORMATS.is_dir():
        return []
    return [json.loads(line) for line in (FORMATS / "index.jsonl").read_text(encoding="utf-8").splitlines()]


# What the mean over the channels makes of the utterance: gain, as FunASR mixes.
GAIN = {"stereo_left_only.flac": 1 / 2, "stereo_antiphase.flac": 0.0, "ch6.flac": 1 / 6}
HOLE = {"bitflip.flac"}  # `either`: a damaged frame within, which must not pass for speech


@pytest.mark.shared
@needs_shared
@pytest.mark.parametrize("record", records(), ids=lambda record: record["file"])
def test_every_case_of_the_collection(record):
    path = FORMATS / record["file"]
    expected, expect = record["expected"], record["expect"]
    too_short = expect == "decode" and expected["samples"] / expected["sample_rate"] < 0.025
    if expect in ("reject", "decode_with_declared_format") or too_short or path.name in HOLE:
        with pytest.raises(AudioError, match=re.escape(str(path)) + (": too short" if too_short else ": ")):
            load_audio(path)
        return
    try:
        waveform = load_audio(path)
    except AudioError:
        assert expect == "either"
        return
    assert waveform.dtype == np.float32
    assert np.isfinite(waveform).all()
    if expect == "either":
        return
    # Decoders differ by encoder delay and padding, at most half a codec frame here; lossless lengths agree to a sample.
    valid = [expected["seconds"], expected.get("also_valid", expected)["seconds"]]
    slack = 1e-4 + 1 / 16000 if record["libsndfile"]["ok"] else 0.006
    assert min(abs(len(waveform) / 16000 - seconds) for seconds in valid) <= slack
    if record.get("exact"):
        reference = load_audio(FORMATS / "same_utterance" / "ref_s16.wav")
        gain = GAIN.get(path.name, 1.0)
        np.testing.assert_allclose(waveform, reference * np.float32(gain), rtol=0, atol=2**-25 if gain < 1 else 0)


@pytest.mark.shared
@needs_shared
@pytest.mark.parametrize(
    "record",
    [r for r in records() if r["file"].startswith("same_utterance/") and not r.get("exact")],
    ids=lambda record: record["file"],
)
def test_lossy_encodings_hold_the_same_utterance(record):
    reference = load_audio(FORMATS / "same_utterance" / "ref_s16.wav")
    waveform = load_audio(FORMATS / record["file"])
    size = 1 << 18
    correlation = np.fft.irfft(np.fft.rfft(waveform, size) * np.conj(np.fft.rfft(reference, size)), size)
    peak = correlation.max() / (np.linalg.norm(waveform) * np.linalg.norm(reference))
    lag = (int(np.argmax(correlation)) + size // 2) % size - size // 2
    # Measured 0.979 (Opus, its delay a third of a sample off) to 0.99996; another sentence stays below 0.2.
    assert peak > 0.97
    assert abs(lag) <= 1024  # one AAC frame of priming where the container does not tell it (ADTS), the most here


FUNASR = """
import contextlib, io, json, sys
with contextlib.redirect_stdout(io.StringIO()):
    import funasr.utils.load_utils as load_utils
    load_utils.torchaudio = None
    import numpy as np
    waves = [np.asarray(load_utils.load_audio_text_image_video(path, fs=16000)) for path in sys.argv[2:]]
np.savez(sys.argv[1], *waves)
"""


@pytest.mark.slow
@pytest.mark.reference
@needs_funasr
def test_what_funasr_loads_bit_for_bit(tmp_path):
    """Rates and channels; without torchaudio, which the reference environment leaves out (see pyproject.toml)."""
    noise = np.random.default_rng(5).normal(scale=0.1, size=(9001, 3)).astype(np.float32)
    paths = []
    for rate, channels in ((16000, 1), (16000, 2), (8000, 1), (22050, 1), (44100, 2), (48000, 3), (11025, 1)):
        paths.append(str(tmp_path / f"{rate}_{channels}.wav"))
        soundfile.write(paths[-1], noise[:, :channels], rate, subtype="FLOAT")
    archive = tmp_path / "waves.npz"
    command = [forked.python("funasr"), "-c", FUNASR, str(archive), *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(archive) as waves:
        for path, key in zip(paths, waves.files, strict=True):
            ours = load_audio(path)
            assert ours.shape == waves[key].shape, path
            # torch and numpy may add three channels in another order: one rounding, carried through the filter.
            atol = 0 if not path.endswith("_3.wav") else 1e-7
            np.testing.assert_allclose(ours, waves[key], rtol=0, atol=atol, err_msg=path)
