"""Utterances as audio files: parts, tar members, commands; what fails, what is left behind (nothing).

Oracle: the samples that were written, or the same file decoded whole (libsndfile, mlx_model.audio.files).
"""

from __future__ import annotations

import errno
import os
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mlx_model.audio import files as audio
from mlx_model.errors import AudioError, OutputError
from parity.cer import parts, recordings
from parity.cer.readers.testset import Utterance
from parity.cer.recordings import Recordings
from tests.conftest import speech_like

RATE = 16000
SPEECH = speech_like(4.0)


def utterance(path: Path, **fields) -> Utterance:
    return Utterance(utt_id="u", path=path, text="", **fields)


def write(path: Path, samples: np.ndarray = SPEECH, rate: int = RATE, **options) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


def left_over(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """The folder that temporary folders are made in, to look into afterwards."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_a_whole_plain_file_is_its_own_path_and_is_never_deleted(tmp_path):
    path = write(tmp_path / "a.wav")
    with Recordings() as opened:
        assert opened.path(utterance(path)) == path
        opened.release(path)
        assert opened.path(utterance(tmp_path / "absent.wav")) == tmp_path / "absent.wav"
    assert path.exists()


@pytest.mark.parametrize(
    ("name", "options", "subtype"),
    [
        ("a.wav", {"subtype": "PCM_16"}, "PCM_16"),
        ("a.flac", {"subtype": "PCM_16"}, "PCM_16"),
        ("a.wav", {"subtype": "PCM_24"}, "FLOAT"),
        ("a.wav", {"subtype": "FLOAT"}, "FLOAT"),
        ("a.wav", {"subtype": "ULAW"}, "FLOAT"),
        ("a.wav", {"subtype": "GSM610"}, "FLOAT"),  # cannot seek
        ("a.ogg", {"subtype": "VORBIS"}, "FLOAT"),
        ("a.mp3", {"subtype": "MPEG_LAYER_III"}, "FLOAT"),
    ],
)
@pytest.mark.parametrize("times", [(0.0, 0.5), (1.2345, 3.0), (3.5, None), (None, 0.25)])
def test_a_part_holds_the_samples_that_decoding_the_whole_gives(tmp_path, temporary, name, options, subtype, times):
    path = write(tmp_path / name, **options)
    whole, rate = soundfile.read(path, dtype="float32")
    first, last = round((times[0] or 0.0) * rate), None if times[1] is None else round(times[1] * rate)
    with Recordings() as opened:
        part = opened.path(utterance(path, start_s=times[0], end_s=times[1]))
        info = soundfile.info(part)
        assert (info.format, info.subtype, info.samplerate) == ("WAV", subtype, rate)
        found, _ = soundfile.read(part, dtype="float32")
        # Exact, but for MP3: its decoder rounds the last bit (1.5e-8) by where it was started; never by a seek's 0.01.
        np.testing.assert_allclose(found, whole[first:last], rtol=0, atol=1e-7 if name == "a.mp3" else 0)
        opened.release(part)
        assert not part.exists()
    assert left_over(temporary) == []


def test_an_opus_part_is_close_and_the_same_each_time(tmp_path):
    path = write(tmp_path / "a.opus", format="OGG", subtype="OPUS")
    whole, _ = soundfile.read(path, dtype="float32")
    with Recordings() as opened:
        first, second = (
            soundfile.read(opened.path(utterance(path, start_s=2.0, end_s=3.0)), dtype="float32")[0] for _ in range(2)
        )
    assert np.array_equal(first, second)
    assert np.abs(first - whole[2 * RATE : 3 * RATE]).max() < 1e-3  # measured up to 7e-4 over 100 places in a minute


def test_channels_are_kept_or_one_is_taken(tmp_path):
    stereo = np.stack([SPEECH, -0.5 * SPEECH[::-1]], axis=1)
    path = write(tmp_path / "a.wav", stereo, subtype="FLOAT")
    with Recordings() as opened:
        both, _ = soundfile.read(opened.path(utterance(path, start_s=1.0, end_s=2.0)), dtype="float32")
        right, _ = soundfile.read(opened.path(utterance(path, start_s=1.0, end_s=2.0, channel=1)), dtype="float32")
        all_of_it, _ = soundfile.read(opened.path(utterance(path, channel=0)), dtype="float32")
        with pytest.raises(AudioError, match=r"a\.wav: has 2 channels; channel 2 \(counted from 0\) is not among them"):
            opened.path(utterance(path, channel=2))
    assert np.array_equal(both, stereo[RATE : 2 * RATE])
    assert np.array_equal(right, stereo[RATE : 2 * RATE, 1])
    assert np.array_equal(all_of_it, stereo[:, 0])


def encode(path: Path, codec: str) -> Path:
    """Write SPEECH as something that libsndfile does not read."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE)
        frame = av.AudioFrame.from_ndarray(SPEECH[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return path


def test_what_libsndfile_cannot_read_is_decoded_once_for_consecutive_parts(tmp_path, monkeypatch):
    path = encode(tmp_path / "a.m4a", "aac")
    whole = audio.load_audio(path)
    decoded = []
    monkeypatch.setattr(audio, "load_audio", lambda source: decoded.append(source) or whole)
    with Recordings() as opened:
        for start in (0.5, 1.0, 2.0):
            found, rate = soundfile.read(opened.path(utterance(path, start_s=start, end_s=start + 1)), dtype="float32")
            assert rate == RATE
            assert np.array_equal(found, whole[round(start * RATE) : round(start * RATE) + RATE])
        with pytest.raises(AudioError, match=r"a\.m4a: channel 1 cannot be taken out of this format"):
            opened.path(utterance(path, start_s=0, end_s=1, channel=1))
    assert decoded == [path]


def test_a_part_may_end_a_little_behind_the_recording_and_no_more(tmp_path, temporary):
    path = write(tmp_path / "a.wav", subtype="PCM_16")
    with Recordings() as opened:
        assert soundfile.info(opened.path(utterance(path, start_s=3.0, end_s=4.4))).frames == RATE
        with pytest.raises(AudioError, match=r"from 3\.00 s to 4\.60 s is not .* which ends at 4\.00 s$"):
            opened.path(utterance(path, start_s=3.0, end_s=4.6))
        with pytest.raises(AudioError, match=r"from 5\.00 s to its end is not in the recording"):
            opened.path(utterance(path, start_s=5.0))
        assert len(left_over(next(temporary.iterdir()))) == 1
    assert left_over(temporary) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"bad\.wav: not found"),
        (b"", r"bad\.wav: empty, 0 bytes"),
        (b"no audio at all" * 9, r"bad\.wav: is text, not audio"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", r"bad\.wav: "),
    ],
)
def test_a_recording_that_cannot_be_cut_is_one_line(tmp_path, temporary, content, message):
    path = tmp_path / "bad.wav"
    if content is not None:
        path.write_bytes(content)
    with Recordings() as opened:
        with pytest.raises(AudioError, match=message) as caught:
            opened.path(utterance(path, start_s=0, end_s=1))
        assert "\n" not in str(caught.value)
        assert left_over(next(temporary.iterdir())) == []
        assert opened.duration_s(utterance(path)) == 0.0


def test_a_header_that_promises_years_does_not_allocate_them(tmp_path):
    path = write(tmp_path / "a.wav", subtype="PCM_16")
    content = bytearray(path.read_bytes())
    content[40:44] = (0xFFFFFFF0).to_bytes(4, "little")  # the data chunk's size; the file itself stays short
    path.write_bytes(content)
    with Recordings() as opened:
        assert soundfile.info(opened.path(utterance(path, start_s=3.5))).frames == RATE // 2


def shard(path: Path, *files: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        for file in files:
            archive.add(file, file.name)
    return path


def test_members_of_a_tar_come_out_byte_for_byte_under_names_of_our_own(tmp_path, temporary, monkeypatch):
    files = [write(tmp_path / "a.wav", subtype="PCM_16"), write(tmp_path / "b.FLAC", SPEECH[:8000], format="FLAC")]
    path = shard(tmp_path / "0.tar", *files)
    indexed = []
    monkeypatch.setattr(recordings, "members", lambda path: indexed.append(path) or members(path))
    with Recordings() as opened:
        for file in (*files, *files):
            found = opened.path(utterance(path, member=file.name))
            assert found.read_bytes() == file.read_bytes()
            assert (found.suffix, found.parent.parent) == (file.suffix, temporary)
            opened.release(found)
        assert opened.duration_s(utterance(path, member="a.wav")) == 4.0
        assert opened.duration_s(utterance(path, member="b.FLAC")) == 0.5
        part = opened.path(utterance(path, member="a.wav", start_s=1.0, end_s=2.0))
        expected, _ = soundfile.read(files[0], start=RATE, stop=2 * RATE, dtype="int16")
        assert np.array_equal(soundfile.read(part, dtype="int16")[0], expected)
        with pytest.raises(AudioError, match=r"0\.tar: 'c\.wav': the archive holds no such file"):
            opened.path(utterance(path, member="c.wav"))
        assert opened.duration_s(utterance(path, member="c.wav")) == 0.0
    assert indexed == [path]
    assert left_over(temporary) == []


members = recordings.members


def test_a_member_that_libsndfile_cannot_read_is_decoded(tmp_path):
    file = encode(tmp_path / "a.m4a", "aac")
    path = shard(tmp_path / "0.tar", file)
    whole = audio.load_audio(file)
    with Recordings() as opened:
        part = opened.path(utterance(path, member="a.m4a", start_s=1.0, end_s=2.0))
        assert np.array_equal(soundfile.read(part, dtype="float32")[0], whole[RATE : 2 * RATE])
        assert opened.duration_s(utterance(path, member="a.m4a")) == audio.duration_s(file)


def test_a_tar_that_was_damaged_since_it_was_listed_fails_its_utterances(tmp_path):
    path = tmp_path / "0.tar"
    path.write_bytes(b"gone")
    with Recordings() as opened, pytest.raises(AudioError, match=r"0\.tar: not an uncompressed tar"):
        opened.path(utterance(path, member="a.wav"))


@pytest.mark.parametrize("suffix", [".wav/../../../x", ".w\0v", ".", "", ".averylongsuffix", "./.."])
def test_a_members_name_never_becomes_a_path(tmp_path, temporary, suffix):
    content = write(tmp_path / "a.wav").read_bytes()
    with Recordings() as opened:
        opened._archives[tmp_path / "0.tar"] = {f"a{suffix}": recordings.Member(f"a{suffix}", 0, len(content))}
        (tmp_path / "0.tar").write_bytes(content)
        found = opened.path(utterance(tmp_path / "0.tar", member=f"a{suffix}"))
        assert found.parent.parent == temporary
        assert found.suffix == ""


def test_a_command_runs_in_its_lists_folder_and_only_when_asked_for(tmp_path, temporary):
    write(tmp_path / "a.wav", subtype="PCM_16")
    scp = tmp_path / "wav.scp"
    one = utterance(scp, command="echo run >> ran; cat a.wav")
    with Recordings() as opened:
        assert opened.duration_s(one) == 0.0
        assert not (tmp_path / "ran").exists()
        found = opened.path(one)
        assert found.read_bytes() == (tmp_path / "a.wav").read_bytes()
        opened.release(found)
    assert (tmp_path / "ran").read_text() == "run\n"
    assert left_over(temporary) == []


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("echo first >&2; echo 'no such disk' >&2; exit 3", r"the command .echo first.* ended with 3: no such disk$"),
        ("printf 'half'; kill -9 $$", r"ended with -9$"),
        ("true", r"the command 'true' printed nothing$"),
        ("nosuchprogram_", r"ended with 127: .*nosuchprogram_"),
        ("x" * 200_000, r"Argument list too long|ended with 12[67]"),
    ],
)
def test_a_command_that_fails_is_one_line(tmp_path, temporary, command, message):
    with Recordings() as opened:
        with pytest.raises(AudioError, match=message) as caught:
            opened.path(utterance(tmp_path / "wav.scp", command=command))
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 1000
        assert left_over(next(temporary.iterdir())) == []


def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(recordings, "COMMAND_TIMEOUT_S", 0.3)
    start = time.monotonic()
    with Recordings() as opened, pytest.raises(AudioError, match=r"took too long"):
        opened.path(utterance(tmp_path / "wav.scp", command="(sleep 3; touch survived) | cat"))
    assert time.monotonic() - start < 2.5  # not the 3 s that the command takes
    time.sleep(3.2)
    assert not (tmp_path / "survived").exists()


def test_parts_of_a_commands_output_run_it_once_while_it_is_kept(tmp_path, temporary, monkeypatch):
    monkeypatch.setattr(recordings, "COMMANDS_KEPT", 2)
    samples, _ = soundfile.read(write(tmp_path / "a.wav", subtype="PCM_16"), dtype="int16")
    with Recordings() as opened:
        for number in (0, 1, 0, 2, 0, 1):
            one = utterance(tmp_path / "x", command=f"echo {number} >> ran; cat a.wav", start_s=1, end_s=2)
            found = opened.path(one)
            assert np.array_equal(soundfile.read(found, dtype="int16")[0], samples[RATE : 2 * RATE])
            opened.release(found)
        assert len(left_over(next(temporary.iterdir()))) == 2
    assert (tmp_path / "ran").read_text().split() == ["0", "1", "2", "1"]
    assert left_over(temporary) == []


def test_messages_name_the_recording_and_not_a_temporary_file(tmp_path, temporary):
    # A journal that is compared with another run's must not hold random names.
    with Recordings() as opened, pytest.raises(AudioError) as caught:
        opened.path(utterance(tmp_path / "wav.scp", command="echo noise", start_s=0, end_s=1))
    assert str(caught.value).startswith(f"{tmp_path}/wav.scp: 'echo noise': is text, not audio")
    assert str(temporary) not in str(caught.value)


def test_nothing_is_left_after_an_exception(tmp_path, temporary):
    path = write(tmp_path / "a.wav")
    opened = Recordings()

    def fail() -> None:
        with opened:
            opened.path(utterance(path, start_s=0, end_s=1))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert left_over(temporary) == []
    with pytest.raises(RuntimeError, match="outside its `with` block"):
        opened.path(utterance(path, start_s=0, end_s=1))


def test_an_interrupted_cut_leaves_no_half_file(tmp_path, temporary, monkeypatch):
    def interrupt(source, one, target, decode):
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(recordings, "write_part", interrupt)
    with Recordings() as opened:
        with pytest.raises(KeyboardInterrupt):
            opened.path(utterance(tmp_path / "a.wav", start_s=0, end_s=1))
        assert left_over(next(temporary.iterdir())) == []


def test_a_full_disk_is_not_the_recordings_fault(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(recordings, "write_part", full)
    with Recordings() as opened, pytest.raises(OutputError, match="No space left on device; set TMPDIR"):
        opened.path(utterance(tmp_path / "a.wav", start_s=0, end_s=1))


def test_release_deletes_only_what_path_gave(tmp_path):
    path = write(tmp_path / "a.wav")
    with Recordings() as opened:
        part = opened.path(utterance(path, start_s=0, end_s=1))
        for other in (path, part.parent, part.parent / ".." / "a.wav", Path("/")):
            opened.release(other)
        assert path.exists()
        assert part.exists()
        opened.release(part)
        opened.release(part)  # twice is once
        assert not part.exists()


def test_durations(tmp_path):
    path = write(tmp_path / "a.wav")
    with Recordings() as opened:
        assert opened.duration_s(utterance(path)) == 4.0
        assert opened.duration_s(utterance(path, start_s=1.5)) == 2.5
        assert opened.duration_s(utterance(tmp_path / "absent.wav", start_s=1.5, end_s=2.0)) == 0.5
        assert opened.duration_s(utterance(tmp_path / "absent.wav", duration_s=7.5)) == 7.5
        assert opened.duration_s(utterance(tmp_path / "absent.wav")) == 0.0
        assert opened.duration_s(utterance(path, start_s=9.0)) == 0.0


def test_many_threads_each_get_their_own_part(tmp_path, temporary):
    ramp = np.arange(RATE, dtype=np.int16)
    path = write(tmp_path / "a.wav", ramp, subtype="PCM_16")
    tar = shard(tmp_path / "0.tar", path)
    (tmp_path / "list").write_text("")
    ready = threading.Barrier(8)

    def one(number: int) -> list[int]:
        if number < 8:
            ready.wait(10)
        times = {"start_s": number / 100, "end_s": (number + 10) / 100}
        kinds = ({"path": path}, {"path": tar, "member": "a.wav"}, {"path": tmp_path / "list", "command": "cat a.wav"})
        found = opened.path(Utterance(utt_id="u", text="", **kinds[number % 3], **times))
        first = int(soundfile.read(found, dtype="int16")[0][0])
        opened.release(found)
        return [number, first]

    with Recordings() as opened, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(60))) == [[number, 160 * number] for number in range(60)]
        assert len(left_over(next(temporary.iterdir()))) == 1  # the command's output, kept for its other parts
    assert left_over(temporary) == []


def test_the_limits_are_kaldis():
    assert parts.MAX_OVERSHOOT_S == 0.5  # extract-segments --max-overshoot
