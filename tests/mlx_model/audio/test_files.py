"""Audio in. Oracles: the samples that were written (files made here) and closed-form sines (resampling)."""

import io
import math
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from mlx_model.audio.files import duration_s, load_audio
from mlx_model.errors import AudioError

RAMP = (np.arange(-4000, 4000, dtype=np.int16) * 8).astype(np.int16)  # 0.5 s; every sample another value
WAVEFORM = RAMP.astype(np.float32) / 32768


def sine(rate: int, seconds: float = 1.0, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [
        ("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "PCM_32"), ("wav", "FLOAT"), ("wav", "DOUBLE"),
        ("aiff", "PCM_16"), ("au", "PCM_16"), ("w64", "PCM_16"), ("caf", "PCM_16"), ("rf64", "PCM_16"),
        ("flac", "PCM_16"), ("flac", "PCM_24"),
    ],
)  # fmt: skip
def test_lossless_files_give_the_samples_that_were_written(tmp_path, suffix, subtype):
    path = tmp_path / f"ramp.{suffix}"
    soundfile.write(path, WAVEFORM, 16000, subtype=subtype)
    waveform = load_audio(path)
    assert waveform.dtype == np.float32
    assert waveform.flags.c_contiguous
    assert np.array_equal(waveform, WAVEFORM)
    assert duration_s(path) == 0.5


def test_paths_bytes_and_streams_give_the_same(tmp_path):
    path = tmp_path / "ramp.wav"
    soundfile.write(path, RAMP, 16000)
    content = path.read_bytes()
    stream = io.BytesIO(content)
    stream.seek(7)
    for source in (str(path), path, content, stream):
        assert np.array_equal(load_audio(source), WAVEFORM)


def test_a_wav_named_raw_is_read_by_its_content(tmp_path):
    path = tmp_path / "ramp.raw"
    soundfile.write(path, RAMP, 16000, format="WAV")
    assert np.array_equal(load_audio(path), WAVEFORM)
    assert duration_s(path) == 0.5


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_averaged(tmp_path, channels):
    path = tmp_path / "many.wav"
    soundfile.write(path, np.stack([RAMP] + [np.zeros_like(RAMP)] * (channels - 1), axis=1), 16000)
    # One float32 rounding of a quotient below 1: half a unit in the last place, 2**-25.
    np.testing.assert_allclose(load_audio(path), WAVEFORM.astype(np.float64) / channels, rtol=0, atol=2**-25)


def test_floats_above_full_scale_are_not_clipped(tmp_path):
    soundfile.write(tmp_path / "loud.wav", WAVEFORM * 8, 16000, subtype="FLOAT")
    assert load_audio(tmp_path / "loud.wav").min() == WAVEFORM.min() * 8


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_resampling_a_sine_gives_the_sine_at_the_new_rate(tmp_path, rate):
    path = tmp_path / "sine.wav"
    soundfile.write(path, sine(rate), rate, subtype="DOUBLE")
    waveform = load_audio(path)
    assert len(waveform) == math.ceil(rate * (16000 / rate))
    # HQ promises 20 bits, i.e. errors near 2**-20 of full scale; the edges ring, because the sine starts from nothing.
    middle = slice(1000, -1000)
    assert np.abs(waveform[middle] - sine(16000)[middle]).max() < 2**-19


def test_another_target_rate(tmp_path):
    soundfile.write(tmp_path / "sine.wav", sine(16000), 16000, subtype="DOUBLE")
    assert np.abs(load_audio(tmp_path / "sine.wav", 8000)[500:-500] - sine(8000)[500:-500]).max() < 2**-19


def write_with_ffmpeg(path: Path, codec: str, samples: np.ndarray, rate: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray((samples * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = rate
        stream.codec_context.bit_rate = 48_000  # WMA has no default that suits 16 kHz
        stream.codec_context.open()
        size = stream.codec_context.frame_size or 1024  # 0: the codec takes any
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate, frame_size=size)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("name", "codec"), [("a.m4a", "aac"), ("a.wma", "wmav2"), ("b.m4a", "alac"), ("a.mka", "pcm_s16le")]
)
def test_what_libsndfile_refuses_is_read_by_ffmpeg(tmp_path, name, codec):
    path = tmp_path / name
    write_with_ffmpeg(path, codec, sine(16000), 16000)
    for source in (path, path.read_bytes()):
        waveform = load_audio(source)
        # A codec may delay by a frame or two, so the sine is recognised by its level and its frequency.
        assert abs(len(waveform) - 16000) <= 2048
        middle = waveform[4000:12000]
        assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / math.sqrt(2), rel=0.02)
        assert np.argmax(np.abs(np.fft.rfft(middle))) == 440 * 8000 / 16000
    assert duration_s(path) == pytest.approx(1.0, abs=0.15)


def broken(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """Files that cannot be used: name -> (path, what the message must say)."""
    paths = {name: tmp_path / name for name in ("empty.wav", "text.wav", "none.wav", "nan.wav", "short.wav", "raw.pcm")}
    paths["empty.wav"].touch()
    paths["text.wav"].write_text("not audio at all\n" * 50)
    soundfile.write(paths["none.wav"], RAMP[:0], 16000)
    soundfile.write(paths["nan.wav"], np.where(np.arange(8000) % 4000 == 17, np.nan, 0), 16000, subtype="FLOAT")
    soundfile.write(paths["short.wav"], RAMP[:399], 16000)
    paths["raw.pcm"].write_bytes(RAMP.tobytes())
    slow = tmp_path / "slow.wav"
    soundfile.write(slow, RAMP, 10)
    messages = {
        "empty.wav": "empty, 0 bytes",
        "text.wav": "is text, not audio; name a recording",
        "none.wav": "empty audio, the file holds a header and no samples",
        "nan.wav": "2 of 8000 samples are NaN or infinite, the first at sample 17 (0.001 s)",
        "short.wav": "too short, 399 samples (24.9 ms) at 16000 Hz; one frame needs 400 (25 ms)",
        "raw.pcm": "headerless PCM does not say its rate",
    }
    cases = {name: (paths[name], message) for name, message in messages.items()}
    return cases | {
        "slow.wav": (slow, "absurd sample rate 10 Hz"),
        "missing.wav": (tmp_path / "missing.wav", "not found"),
        "folder": (tmp_path, "is a directory"),
    }


def test_pcm_from_ffmpeg_is_bit_exact(tmp_path):
    """Matroska holds the integers as they are, so both decoders must scale them alike."""
    write_with_ffmpeg(tmp_path / "sine.mka", "pcm_s16le", sine(16000), 16000)
    written = (sine(16000) * 32767).astype(np.int16)
    assert np.array_equal(load_audio(tmp_path / "sine.mka"), written.astype(np.float32) / 32768)


@pytest.mark.parametrize(
    "name",
    ["empty.wav", "text.wav", "none.wav", "nan.wav", "short.wav", "raw.pcm", "slow.wav", "missing.wav", "folder"],
)
def test_unusable_files_say_why_in_one_line(tmp_path, name):
    path, message = broken(tmp_path)[name]
    with pytest.raises(AudioError) as caught:
        load_audio(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_empty_bytes_and_names_with_nul_are_audio_errors():
    with pytest.raises(AudioError, match="<bytes>: empty, 0 bytes"):
        load_audio(b"")
    with pytest.raises(AudioError, match=r"'a\\x00b.wav': cannot be opened"):
        load_audio("a\0b.wav")
    with pytest.raises(AudioError, match=r"'a\\nb.wav': not found"):
        load_audio("a\nb.wav")


def test_damaged_bytes_give_samples_or_an_audio_error(tmp_path):
    """Nothing else: pytest also makes an error of an exception swallowed in libsndfile's callback."""
    chance = np.random.default_rng(2)
    outcomes = {True: 0, False: 0}
    for suffix in ("wav", "aiff", "au", "w64", "caf", "rf64", "flac", "ogg", "mp3"):
        path = tmp_path / f"ramp.{suffix}"
        soundfile.write(path, WAVEFORM, 16000)
        for _ in range(60):
            content = bytearray(path.read_bytes())
            for place in chance.integers(0, min(len(content), 200), 4):
                content[place] = chance.integers(256)
            try:
                assert np.isfinite(load_audio(bytes(content))).all()
                outcomes[True] += 1
            except AudioError:
                outcomes[False] += 1
    assert min(outcomes.values()) > 50


def test_400_samples_are_enough(tmp_path):
    soundfile.write(tmp_path / "frame.wav", RAMP[:400], 16000)
    assert len(load_audio(tmp_path / "frame.wav")) == 400


def test_a_playlist_opens_no_other_file(tmp_path):
    write_with_ffmpeg(tmp_path / "secret.ts", "aac", sine(16000), 16000)
    playlist = tmp_path / "x.wav"
    entry = (tmp_path / "secret.ts").as_uri()
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{entry}\n#EXT-X-ENDLIST\n")
    with pytest.raises(AudioError, match="is a playlist, not audio"):
        load_audio(playlist)
