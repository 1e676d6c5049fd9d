"""Damaged files give samples or an AudioError of one line: nothing else, nothing on stderr, no gigabytes.

Oracle: the contract. benchmarks of more cases are run by hand; here hypothesis draws some from every format.
"""

from __future__ import annotations

import io
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_model.audio.files import blocks, duration_s, load_audio
from mlx_model.audio.medium import Window
from mlx_model.errors import AudioError
from tests.conftest import ROOT
from tests.mlx_model.audio.test_files import sine, write_with_ffmpeg
from tests.mlx_model.audio_bytes import encoded, wav

SAMPLES = (sine(16000, 0.25) * 20000).astype(np.int16)
KINDS = ["WAV", "WAVEX", "RF64", "AIFF", "AU", "W64", "CAF", "FLAC", "OGG", "MP3", "NIST", "VOC", "IRCAM", "HTK"]
CODECS = {"a.m4a": "aac", "a.mka": "pcm_s16le", "a.wma": "wmav2", "a.aac": "aac", "a.avi": "mp2", "a.wv": "wavpack"}
INTEGERS = [0, 1, 2**31 - 1, 2**31, 2**32 - 1]


@cache
def files() -> list[bytes]:
    """One small file of every format."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name, codec in CODECS.items():
            write_with_ffmpeg(Path(folder, name), codec, sine(16000, 0.25), 16000)
        ours = [Path(folder, name).read_bytes() for name in CODECS]
    return [*(encoded(SAMPLES, kind) for kind in KINDS), *ours]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    content = bytearray(draw(st.sampled_from(files())))
    for _ in range(draw(st.integers(1, 4))):
        kind, place = draw(st.integers(0, 4)), draw(st.integers(0, max(len(content) - 1, 0)))
        near = min(place, draw(st.sampled_from([len(content), 200, 60])))
        if kind == 0:
            content[near : near + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == 1:
            content[near : near + 4] = struct.pack(draw(st.sampled_from("<>")) + "I", draw(st.sampled_from(INTEGERS)))
        elif kind == 2:
            del content[place:]
        elif kind == 3:
            del content[near : near + draw(st.integers(1, 64))]
        else:
            content[place:place] = draw(st.sampled_from(files()))[: draw(st.integers(1, 4000))]
    return bytes(content)


def attempted(read: Callable[[Any], Any], source: Path | bytes) -> Any:
    """Return what is read, or what an AudioError says; any other exception is the test's end."""
    try:
        return read(source)
    except AudioError as error:
        return str(error)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=damaged())
def test_damaged_files_give_samples_or_an_audio_error(
    content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    for read in (load_audio, lambda source: list(blocks(source)), lambda source: [duration_s(source)]):
        for source in (path, content):
            found = attempted(read, source)
            assert found.isprintable() if isinstance(found, str) else all(np.isfinite(part).all() for part in found)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


@pytest.mark.parametrize("channels", [1, 1000])
def test_a_header_that_claims_gigabytes_costs_none(tmp_path: Path, channels: int):
    content = bytearray(wav(np.zeros((60, channels), np.int16), data_size=0xFFFF_FFF0, riff_size=0xFFFF_FFFF))
    (tmp_path / "x.wav").write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "too short" in attempted(load_audio, tmp_path / "x.wav")
    assert "too short" in attempted(lambda source: list(blocks(source)), tmp_path / "x.wav")
    assert duration_s(tmp_path / "x.wav") < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_a_talking_decoder_is_not_heard(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """mpg123 prints warnings; stderr is ours afterwards, and stays closed where the caller closed it."""
    mp3 = encoded(SAMPLES, "MP3")
    load_audio(mp3 + mp3[len(mp3) // 2 :])
    print("ours", file=sys.stderr)
    assert capfd.readouterr().err == "ours\n"
    (tmp_path / "a.mp3").write_bytes(mp3)
    code = f"from mlx_model.audio.files import load_audio; print(len(load_audio({str(tmp_path / 'a.mp3')!r})))"
    done = subprocess.run(
        ["/bin/sh", "-c", f'"{sys.executable}" -c "$1" 2>&-', "sh", code], cwd=ROOT, capture_output=True, text=True
    )
    assert int(done.stdout) >= len(SAMPLES)


def test_a_window_is_a_part_of_a_file_and_stays_within_it():
    window = Window(io.BytesIO(bytes(range(100))), 10, 30, b"HEAD")
    assert window.read() == b"HEAD" + bytes(range(14, 30))
    places = [window.seek(place, whence) for place, whence in ((5, 0), (-9, 0), (2, 1), (-3, 2), (-99, 2))]
    assert places == [5, 5, 7, 17, 17]
    assert window.read(99) == bytes(range(27, 30))
    window.seek(2**62)
    assert window.read(4) == b""


WITHOUT_AV = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "av":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
from mlx_model.audio.files import AudioError, duration_s, load_audio
for path in sys.argv[1:]:
    try:
        print(len(load_audio(path)), round(duration_s(path), 3))
    except AudioError as error:
        print(str(error).removeprefix(path))
"""


def test_without_av_libsndfile_s_files_are_read_and_others_name_the_extra(tmp_path: Path):
    names = [f"{kind}.bin" for kind in KINDS]
    for name, kind in zip(names, KINDS, strict=True):
        (tmp_path / name).write_bytes(encoded(SAMPLES, kind))
    (tmp_path / "zero.wav").write_bytes(wav(SAMPLES, data_size=0))  # only FFmpeg read these
    for name, codec in CODECS.items():
        write_with_ffmpeg(tmp_path / name, codec, sine(16000, 0.25), 16000)
    (tmp_path / "page.m4a").write_bytes(b"<html>no</html>")
    paths = [str(tmp_path / name) for name in (*names, "zero.wav", *CODECS, "page.m4a")]
    done = subprocess.run([sys.executable, "-c", WITHOUT_AV, *paths], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *lines, page = done.stdout.splitlines()
    readable = len(names) + 1
    assert lines[:readable] == [f"{len(load_audio(path))} {duration_s(path):.3g}" for path in paths[:readable]]
    kinds = ("M4A or MP4", "WebM or Matroska", "WMA", "AAC", "AVI", "WavPack")
    does = "which libsndfile does not read and FFmpeg's libraries do: pip install 'mlx-funasr[media]'"
    assert lines[readable:] == [f": is {kind}, {does}" for kind in kinds]
    assert page.startswith(": is a web page, not audio")


def test_a_recording_too_long_is_refused_before_it_is_all_in_memory(tmp_path: Path):
    """FLAC holds ten minutes of silence in 40 kB; an hour would take 230 MB of samples."""
    soundfile.write(tmp_path / "a.flac", np.zeros(16000 * 600, np.int16), 16000)
    from mlx_model.audio.files import load_recording

    with pytest.raises(AudioError, match="too long for one pass"):
        load_recording(tmp_path / "a.flac", longest_s=10.0)
