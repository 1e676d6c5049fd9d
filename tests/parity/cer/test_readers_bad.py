"""What strangers put into lists: every reader gives a Dataset or a DatasetError of one line, and never waits.

Hypothesis makes the lists up: arbitrary bytes, lines of awkward characters, and good lists with damage in them.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model.errors import DatasetError
from parity.cer.datasets import Dataset, fingerprint, read_dataset
from parity.cer.readers import KINDS
from tests.parity.cer.test_datasets import contents, jsonl, put
from tests.parity.cer.test_readers import segment


def made_tar() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("a.wav", "a.txt", f"{'long' * 40}.wav", f"{'long' * 40}.txt", "你.wav", "你.txt"):
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = 4, {"comment": "x"}
            archive.addfile(info, io.BytesIO(b"text"))
    return content.getvalue()


SEGMENTS = [segment("S", 0, 1, "好", "DEV"), segment("T", 1, 2, "x", "L")]
WENETSPEECH = {"audios": [{"path": "a.wav", "segments": SEGMENTS}]}
# kind -> (what to read, the lists that are made up, each with a good one to damage)
LISTS: dict[str, tuple[str, dict[str, bytes]]] = {
    "aishell": (".", {"transcript/t.txt": "a 你 好\nb 再 见\n".encode()}),
    "aishell2": (".", {"wav.scp": b"a\twav/C1/a.wav\n", "trans.txt": "a\t你好\n".encode()}),
    "librispeech": (".", {"dev/1/2/1-2.trans.txt": b"1-2-3 HELLO\n"}),
    "kaldi": (
        ".",
        {
            "wav.scp": b"a a.wav\nb /x/b.wav\nc cat c.wav |\n",
            "text": "a 你好\nb 再见\nc\n".encode(),
            "segments": b"a a 0 1.5\nb b 1 -1 0\nc c 0 1\n",
            "utt2spk": b"a S\nb S\n",
            "utt2dur": b"a 1.5\nb 2\n",
        },
    ),
    "wenetspeech": ("WenetSpeech.json#DEV", {"WenetSpeech.json": json.dumps(WENETSPEECH).encode()}),
    "wenet": ("data.list", {"data.list": jsonl({"key": "a", "wav": "a.wav", "txt": "你", "start": 1}).encode()}),
    "shards": ("data.list", {"0.tar": made_tar()}),
    "jsonl": ("set.jsonl", {"set.jsonl": jsonl({"key": "a", "source": "a.wav", "target": "你"}).encode()}),
    "tsv": ("set.tsv", {"set.tsv": "id\tpath\ttext\tstart\tend\na\ta.wav\t你\t1\t2\n".encode()}),
    "csv": ("set.csv", {"set.csv": 'id,path,text,duration\na,a.wav,"你,""好",1.5\nb,"b\n.wav",x,2\n'.encode()}),
    "manifest": ("set.jsonl", {"set.jsonl": jsonl({"path": "a.wav", "text": "你", "duration": 2}).encode()}),
}
AUDIO = {
    **dict.fromkeys(("wav/a.wav", "wav/test/S/b.wav", "a.wav", "wav/C1/a.wav", "dev/1/2/1-2-3.flac"), ""),
    "data.list": "0.tar\n",
}

AWKWARD = "ab 好ａ１é\u0301\t \u3000\u00a0\n\r\0\x0b\x1c\x85\u2028\ufeff\u200f\u202e\U0001f600\"',|/.\\#{}[]:-0159e"
CHARACTERS = st.one_of(st.sampled_from(AWKWARD), st.characters(exclude_categories=("Cs",)))
TEXT = st.text(CHARACTERS, max_size=60).map(str.encode)
JSON_VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)
NAMES = st.sampled_from(["key", "source", "target", "wav", "txt", "id", "path", "text", "speaker", "start", "end"])
OBJECTS = st.lists(st.dictionaries(NAMES, JSON_VALUE, max_size=5), max_size=3).map(
    lambda rows: "\n".join(map(json.dumps, rows)).encode()
)


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Return the good list with up to four of its stretches replaced, dropped or doubled."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(good)))
        end = min(len(good), at + draw(st.integers(0, 12)))
        good = good[:at] + draw(st.one_of(st.binary(max_size=6), TEXT, st.just(good[at:end] * 2))) + good[end:]
    return good


def assert_read_or_refused(folder: Path, inside: str, kind: str, files: dict[str, bytes]) -> None:
    path = os.path.normpath(folder / inside)
    names = {Path(name).name for name in files} | {folder.name}
    try:
        dataset = read_dataset(path, allow_pipes=True)
    except DatasetError as error:
        message = str(error)
        assert "\n" not in message, message
        assert len(message) < 5000
        assert message.encode()  # no lone surrogate: it can be printed
        # What a list names is looked for in the folders above, too: in /tmp a file of that name may be there.
        found = Path(message.split(": ", 1)[0])
        named = found.exists() and found.name.encode() in b"".join(files.values())
        assert named or any(name in message for name in names), message
        return
    assert isinstance(dataset, Dataset)
    assert dataset.kind in {item.name for item in KINDS}
    assert len(fingerprint(dataset)) == 64
    for item in dataset.utterances:
        assert not any(character.isspace() for character in item.utt_id)
        assert (item.utt_id + item.text + (item.speaker or "")).encode()
        assert item.end_s is None or item.end_s > (item.start_s or 0.0) >= 0.0
        if not os.path.isabs(item.path.relative_to(folder) if item.path.is_relative_to(folder) else item.path):
            assert ".." not in item.path.relative_to(folder).parts
    assert all("\n" not in note and note.encode() for note in dataset.notes)


@pytest.mark.parametrize("kind", LISTS)
@settings(max_examples=60, deadline=timedelta(seconds=5))
@given(data=st.data())
def test_made_up_lists_are_read_or_refused(kind, data):
    inside, files = LISTS[kind]
    with tempfile.TemporaryDirectory(prefix="made-up-") as name:
        folder = Path(name)
        put(folder, AUDIO if kind in ("aishell", "aishell2", "librispeech", "shards") else {"a.wav": ""})
        made = {
            file: data.draw(st.one_of(st.just(good), damaged(good), TEXT, OBJECTS, st.binary(max_size=200)), label=file)
            for file, good in files.items()
        }
        for file, content in made.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)
        assert_read_or_refused(folder, inside, kind, made)


@settings(max_examples=150, deadline=timedelta(seconds=5))
@given(data=st.data())
def test_damaged_shards_are_read_or_refused(data):
    # Damage where tar headers are: sizes, checksums mended so that the damage is looked at.
    content = bytearray(made_tar())
    header = 512 * data.draw(st.integers(0, len(content) // 512 - 1))
    at, patch = data.draw(st.integers(0, 260)), data.draw(st.one_of(st.binary(max_size=13), st.just(b"\xff" * 12)))
    content[header + at : header + at + len(patch)] = patch
    content[header + 148 : header + 156] = b" " * 8
    content[header + 148 : header + 156] = f"{sum(content[header : header + 512]):06o}\0 ".encode()
    with tempfile.TemporaryDirectory(prefix="made-up-") as name:
        folder = put(Path(name), {"data.list": "0.tar\n"})
        (folder / "0.tar").write_bytes(content)
        assert_read_or_refused(folder, "data.list", "shards", {"0.tar": b""})


@given(text=st.one_of(st.text(max_size=40), st.text(AWKWARD, max_size=20)))
@settings(deadline=timedelta(seconds=5))
def test_no_path_given_makes_another_exception(text):
    if text.startswith(("hf:", "ms:")):
        return
    with tempfile.TemporaryDirectory(prefix="made-up-") as name, pytest.raises(DatasetError) as caught:
        read_dataset(os.path.join(name, "none", text.replace("/", "_")))
    assert "\n" not in str(caught.value)


LONG = "好" * 1_000_000


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("text", f"b {LONG}"),
        ("set.jsonl", json.dumps({"key": "b", "source": "a.wav", "target": LONG})),
        ("set.tsv", f"b\ta.wav\t{LONG}"),
    ],
)
def test_a_transcript_of_a_million_characters_is_read(tmp_path, name, line):
    files = {"set.jsonl": "", "set.tsv": "id\tpath\ttext\n", "text": ""}
    folder = put(tmp_path, {"a.wav": "", **({"wav.scp": "b a.wav\n"} if name == "text" else {})})
    dataset = read_dataset(put(folder, {name: files[name] + line + "\n"}))
    assert contents(dataset) == [("b", LONG, None)]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"wav.scp": f"a {LONG}|\n", "text": "a b\n"}, r"wav\.scp:1: '好{80}'\.\.\. \(1000001 characters\) is a"),
        ({"wav.scp": f"a b.wav\na {LONG}\n", "text": "a b\n"}, r"wav\.scp:2: id 'a' says '好{80}'\.\.\. \(1000000"),
        ({"set.jsonl": LONG}, r"set\.jsonl:1: not JSON"),
        ({"set.jsonl": jsonl({"key": f"{LONG} b", "source": "a", "target": ""})}, r"set\.jsonl:1: key '好{80}'\.\.\."),
        ({"set.tsv": f"id\tpath\ttext\n{LONG}\n"}, r"set\.tsv:2: 1 columns, but the header has 3"),
    ],
)
def test_errors_about_a_line_of_a_million_characters_stay_short(tmp_path, files, message):
    with pytest.raises(DatasetError, match=message) as caught:
        read_dataset(put(tmp_path, files))
    assert len(str(caught.value)) < 1000


def test_a_path_of_a_million_characters_is_audio_that_does_not_exist(tmp_path):
    dataset = read_dataset(put(tmp_path, {"wav.scp": f"a {LONG}\n", "text": "a 好\n"}))
    assert dataset.notes[0].startswith("1 of 1 listed audio files do not exist and count as failed (first: a, looked")
    assert len(dataset.notes[0]) < 1000
    assert len(fingerprint(dataset)) == 64


def test_characters_are_kept_as_they_are_and_ids_compared_exactly(tmp_path):
    # Normalising is the normaliser's work; here U+00E9 and e + U+0301 are two ids, as two files may be.
    texts = {"é": "Ａ１\u200f好\u0301", "e\u0301": "\u202e再见", "ａ": "a\ufeffb"}
    files = {"wav.scp": "".join(f"{key} a.wav\n" for key in texts), "a.wav": ""}
    files["text"] = "".join(f"{key}\t{text}\r\n" for key, text in texts.items())
    dataset = read_dataset(put(tmp_path, files))
    assert {item.utt_id: item.text for item in dataset.utterances} == texts
    assert dataset.notes == ()


@pytest.mark.parametrize(
    "name", ["text", "wav.scp", "segments", "set.jsonl", "data.list", "WenetSpeech.json", "set.csv"]
)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_in_the_place_of_a_list_is_not_waited_for(tmp_path, name):
    put(tmp_path, {"wav.scp": "a a.wav\n", "text": "a b\n"} if name in ("text", "wav.scp", "segments") else {})
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(DatasetError):
            read_dataset(path)


def test_a_folder_that_may_not_be_read_is_an_error_and_not_a_smaller_set(tmp_path, monkeypatch):
    put(tmp_path, {"wav/S1/a.wav": "", "wav/S2/b.wav": "", "transcript/t.txt": "a 好\nb 见\n"})
    scandir = os.scandir

    def refuse(path):  # in place of chmod, which root is not bound by
        if os.fspath(path).endswith("S2"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DatasetError, match=r"S2: cannot be read: Permission denied"):
        read_dataset(tmp_path)


def test_names_that_are_not_utf8_are_counted_and_can_be_printed(tmp_path):
    put(tmp_path, {"wav/S1/a.wav": "", "transcript/t.txt": "a 好\n"})
    shutil.copy(tmp_path / "wav/S1/a.wav", os.fsencode(tmp_path) + b"/wav/S1/\xff\xfe.wav")
    dataset = read_dataset(tmp_path)
    assert dataset.notes[0] == r"1 of 2 recordings have no transcript: left out (first: '\udcff\udcfe')"


PLACES: dict[str, Callable[[str], dict[str, str]]] = {
    "wav.scp": lambda path: {"wav.scp": f"a {path}\n", "text": "a b\n"},
    "trans.txt": lambda path: {"wav.scp": f"a\t{path}\n", "trans.txt": "a\tb\n"},
    "set.jsonl": lambda path: {"set.jsonl": jsonl({"key": "a", "source": path, "target": "b"})},
    "data.list": lambda path: {"data.list": jsonl({"key": "a", "wav": path, "txt": "b"})},
    "set.tsv": lambda path: {"set.tsv": f"id\tpath\ttext\na\t{path}\tb\n"},
    "set.csv": lambda path: {"set.csv": f"id,path,text\na,{path},b\n"},
}


@pytest.mark.parametrize("place", PLACES)
def test_relative_paths_stay_inside_the_folder_and_absolute_ones_are_the_users_own(tmp_path, place):
    folder = tmp_path / "set"
    put(tmp_path, {"secret.wav": "", "set/wav/a.wav": ""})
    for outside in ("../secret.wav", "wav/../../secret.wav", "./wav/./../../set/../secret.wav", ".."):
        with pytest.raises(DatasetError, match=r":[12]: '[^']*' climbs out of .*/set; expected a path inside"):
            read_dataset(put(folder, PLACES[place](outside)))
    for inside in ("wav/a.wav", "./wav/a.wav", "wav/../wav/a.wav"):
        dataset = read_dataset(put(folder, PLACES[place](inside)))
        assert dataset.utterances[0].path == folder / "wav/a.wav"
    dataset = read_dataset(put(folder, PLACES[place](str(tmp_path / "secret.wav"))))
    assert dataset.utterances[0].path == tmp_path / "secret.wav"
