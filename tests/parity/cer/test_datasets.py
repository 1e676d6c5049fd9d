"""Test sets on disk: how a kind is chosen, AISHELL trees, Kaldi directories, FunASR lists, the fingerprint.

Trees are built in tmp_path (an empty file stands for audio: no audio is opened when a list is read); the real AISHELL
speaker in ../shared is read through its four list forms, which must name the same 500 utterances. The other kinds
have test_cer_readers.py.
"""

import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mlx_model.errors import DatasetError, UsageError
from parity.cer.datasets import Dataset, Utterance, fingerprint, read_dataset
from parity.cer.readers import KINDS

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "aishell_s0150"


def put(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, "utf-8")
    return root


def contents(dataset: Dataset) -> list[tuple[str, str, str | None]]:
    return [(item.utt_id, item.text, item.speaker) for item in dataset.utterances]


def aishell(root: Path) -> Path:
    return put(
        root,
        {
            "wav/train/S0002/T2.wav": "",
            "wav/train/S0002/T1.flac": "",
            "wav/test/S0764/E1.wav": "",
            "wav/test/S0764/E2.WAV": "",
            "wav/test/S0764/._E1.wav": "",
            "wav/test/S0764/notes.txt": "",
            "wav/S0765.tar.gz": "",
            "transcript/aishell_transcript_v0.8.txt": "T1 你 好\nT2 再 见\nE1 开 灯\nGONE 关 灯\n",
        },
    )


def test_aishell_tree_pairs_audio_and_transcript_and_counts_the_rest(tmp_path):
    dataset = read_dataset(aishell(tmp_path / "data_aishell"))
    assert dataset.kind == "aishell"
    assert dataset.name == "data_aishell"
    assert contents(dataset) == [("E1", "开 灯", "S0764"), ("T1", "你 好", "S0002"), ("T2", "再 见", "S0002")]
    assert dataset.notes == (
        f"{tmp_path}/data_aishell/wav: 1 archives (.tar.gz) are not unpacked; their audio is not in this set",
        "1 of 4 recordings have no transcript: left out (first: E2)",
        "1 of 4 transcripts have no audio here: left out (first: GONE)",
        "utterances: wav/test 1, wav/train 2",
    )


@pytest.mark.parametrize(
    ("inside", "ids"), [("wav", ["E1", "T1", "T2"]), ("wav/test", ["E1"]), ("wav/train/S0002", ["T1", "T2"])]
)
def test_a_folder_inside_wav_picks_a_part_of_the_tree(tmp_path, inside, ids):
    dataset = read_dataset(aishell(tmp_path / "data_aishell") / inside)
    assert [item.utt_id for item in dataset.utterances] == ids
    assert {item.condition for item in dataset.utterances} == {{"E": "test", "T": "train"}[utt_id[0]] for utt_id in ids}
    assert dataset.name == f"data_aishell/{inside}"


def test_a_link_to_a_parent_folder_does_not_go_round_for_ever(tmp_path):
    root = aishell(tmp_path / "data_aishell")
    (root / "wav/train/S0002/again").symlink_to(root / "wav")
    dataset = read_dataset(root)
    assert [item.utt_id for item in dataset.utterances] == ["E1", "T1", "T2"]
    assert not any("repeat" in note for note in dataset.notes)  # nothing was seen twice


def test_aishell_repeated_stems_are_counted(tmp_path):
    dataset = read_dataset(put(aishell(tmp_path), {"wav/train/S0002/E1.wav": ""}))
    assert "1 audio files repeat the name of another one (the id is the file's stem): left out" in dataset.notes
    assert [item.path.parent.name for item in dataset.utterances if item.utt_id == "E1"] == ["S0764"]


def test_kaldi_directory_with_relative_and_absolute_paths(tmp_path):
    absolute = put(tmp_path / "elsewhere", {"b c.wav": ""}) / "b c.wav"
    folder = put(
        tmp_path / "kaldi",
        {
            "wav.scp": f"a wav/a.wav\nb {absolute}\nc wav/c.wav\nd wav/a.wav\n",
            "text": "b 再 见\na 你好\nc\ne 多余\n",
            "utt2spk": "a S1\nb S2\n",
            "wav/a.wav": "",
        },
    )
    dataset = read_dataset(folder)
    assert dataset.kind == "kaldi"
    assert contents(dataset) == [("a", "你好", "S1"), ("b", "再 见", "S2"), ("c", "", None)]
    assert [item.path for item in dataset.utterances] == [folder / "wav/a.wav", absolute, folder / "wav/c.wav"]
    assert dataset.notes == (
        "utt2spk: 2 of 4 utterances have no speaker there",
        "1 of 4 recordings have no transcript: left out (first: d)",
        "1 of 4 transcripts have no audio here: left out (first: e)",
        f"1 of 3 listed audio files do not exist and count as failed (first: c, looked for at {folder}/wav/c.wav)",
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"wav.scp": "a a.wav\nb sox b.wav -t wav - |\n"}, r"wav\.scp:2: .*pipe `\|`.*not run unless .*--allow-pipes"),
        ({"wav.scp": "a\n"}, r"wav\.scp:1: id 'a' without a path"),
        ({"wav.scp": "a raw.ark:17\n"}, r"wav\.scp:1: 'raw\.ark:17' points into a Kaldi archive"),
        ({"wav.scp": "a x/../../a.wav\n"}, r"wav\.scp:1: 'x/\.\./\.\./a\.wav' climbs out of .*absolute"),
        ({"wav.scp": "r a.wav\n", "segments": "a r 0\n"}, r"segments:1: 3 columns; expected `utterance recording"),
        ({"wav.scp": "r a.wav\n", "segments": "a r 0 x\n"}, r"segments:1: the end is 'x'; expected seconds"),
        ({"wav.scp": "r a.wav\n", "segments": "a r 2 1\n"}, r"segments:1: ends at 1\.0 s, but begins at 2\.0 s"),
        ({"wav.scp": "r a.wav\n", "segments": "a r 0 1 left\n"}, r"segments:1: channel 'left'; expected 0, 1"),
        ({"wav.scp": "r a.wav\n", "segments": "a r 0 1\na r 0 2\n"}, r"segments:2: id 'a' says 'r 0 2', but"),
        ({"wav.scp": "a a.wav\n", "utt2dur": "a long\n"}, r"utt2dur:1: the duration is 'long'; expected seconds"),
        ({"wav.scp": "a a.wav\na b.wav\n"}, r"wav\.scp:2: id 'a' says 'b\.wav', but .*wav\.scp:1 says 'a\.wav'"),
        ({"wav.scp": "x a.wav\n"}, r"no utterance with both .*1 of 1 recordings have no transcript"),
        ({"wav.scp": ""}, r"no utterance with both audio and transcript"),
    ],
)
def test_kaldi_lists_that_cannot_be_used_are_refused(tmp_path, files, message):
    put(tmp_path, {"text": "a 你好\nb 再见\n", **files})
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path)


def test_kaldi_directory_without_text_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"wav\.scp without text"):
        read_dataset(put(tmp_path, {"wav.scp": "a a.wav\n"}))


def test_kaldi_segments_durations_and_channels(tmp_path):
    folder = put(
        tmp_path / "kaldi",
        {
            "wav.scp": "call call.wav\nidle idle.wav\n",
            "segments": "call-1 call 0.00 1.5\ncall-2 call 1.5 -1 1\nlost other 0 1\nmute call 3 4\n",
            "text": "call-1 你好\ncall-2 再见\n",
            "utt2spk": "call-1 A\ncall-2 B\nmute A\n",
            "utt2dur": "call-1 1.5\ncall-2 7.25\nmute 1\n",
            "call.wav": "",
            "idle.wav": "",
        },
    )
    dataset = read_dataset(folder)
    common = {"path": folder / "call.wav"}
    assert dataset.utterances == (
        Utterance(utt_id="call-1", text="你好", speaker="A", start_s=0.0, end_s=1.5, duration_s=1.5, **common),
        Utterance(utt_id="call-2", text="再见", speaker="B", start_s=1.5, channel=1, duration_s=7.25, **common),
    )
    assert dataset.notes == (
        "1 of 4 segments are of recordings that wav.scp lacks: left out (first: lost)",
        "1 of 2 recordings have no segment: left out (first: idle)",
        "1 of 3 segments have no transcript: left out (first: mute)",
    )


def test_kaldi_commands_are_kept_where_allowed_and_not_run(tmp_path):
    folder = put(tmp_path, {"wav.scp": "a touch ran; cat a.wav |\nb b.wav\n", "text": "a 你好\nb 再见\n", "b.wav": ""})
    dataset = read_dataset(folder, allow_pipes=True)
    assert [(item.command, item.path.name) for item in dataset.utterances] == [
        ("touch ran; cat a.wav", "wav.scp"),
        (None, "b.wav"),
    ]
    assert dataset.notes == ()
    assert not (folder / "ran").exists()
    put(tmp_path, {"wav.scp": "a cat a.wav | sox -\n"})
    with pytest.raises(DatasetError, match=r"wav\.scp:1: 'cat a\.wav \| sox -' is no command to read from"):
        read_dataset(folder, allow_pipes=True)


def jsonl(*entries: object) -> str:
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)


def test_funasr_jsonl(tmp_path):
    entry = {"key": "a", "source": "wav/a.wav", "source_len": 90, "target": "你 好", "target_len": 2}
    other = {"key": "b", "source": "/absent/b.wav", "target": ""}
    path = put(tmp_path, {"set.jsonl": jsonl(entry, other, entry), "wav/a.wav": ""}) / "set.jsonl"
    dataset = read_dataset(path)
    assert dataset == read_dataset(tmp_path)  # the folder's only list
    assert dataset.kind == "jsonl"
    assert contents(dataset) == [("a", "你 好", None), ("b", "", None)]
    assert [item.path for item in dataset.utterances] == [tmp_path / "wav/a.wav", Path("/absent/b.wav")]
    assert dataset.notes == (
        "set.jsonl: 1 duplicate lines (same id, same content) counted once",
        "1 of 2 listed audio files do not exist and count as failed (first: b, looked for at /absent/b.wav)",
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'key': 1}", r"set\.jsonl:2: not JSON \(.* at column 2\)"),
        ('["a"]', r"set\.jsonl:2: holds a list; expected an object"),
        ('{"key": "b", "source": "b.wav"}', r"set\.jsonl:2: 'target' is missing"),
        ('{"key": 7, "source": "b.wav", "target": ""}', r"set\.jsonl:2: 'key' is 7, not a string"),
        ('{"key": "b c", "source": "b.wav", "target": ""}', r"set\.jsonl:2: key 'b c'.*no white space in it"),
        ('{"key": "b", "source": "", "target": ""}', r"set\.jsonl:2: '' is no path"),
        ('{"key": "b", "source": "../b.wav", "target": ""}', r"set\.jsonl:2: '\.\./b\.wav' climbs out of"),
        (
            '{"key": "a", "source": "a.wav", "target": "再见"}',
            r"set\.jsonl:2: id 'a' has text '再见', but '你好' in .*set\.jsonl:1; keep one",
        ),
        ('{"key": "a", "source": "b.wav", "target": "你好"}', r"set\.jsonl:2: id 'a' has path '.*/b\.wav', but"),
        ('{"key": "b", "source": "b.wav", "target": "\\ud800"}', r"set\.jsonl:2: holds half of a surrogate pair"),
    ],
)
def test_malformed_jsonl_lines_are_refused_with_their_number(tmp_path, line, message):
    first = jsonl({"key": "a", "source": "a.wav", "target": "你好"})
    with pytest.raises(DatasetError, match=message):
        read_dataset(put(tmp_path, {"set.jsonl": first + line + "\n"}) / "set.jsonl")


def test_a_folder_of_several_kinds_says_which_one_was_read(tmp_path):
    files = {"wav.scp": "T1 wav/train/S0002/T1.flac\n", "text": "T1 别 的\n", "set.jsonl": ""}
    aishell(put(tmp_path, files))
    first = read_dataset(tmp_path)
    assert first.kind == "aishell"
    assert first.notes[0].startswith("read as an AISHELL-1 tree; the folder also holds wav.scp, set.jsonl")
    assert contents(read_dataset(tmp_path / "wav.scp")) == [("T1", "别 的", None)]
    with pytest.raises(DatasetError, match=r"set\.jsonl: no utterance .*its lists hold no line"):
        read_dataset(tmp_path / "set.jsonl")


@pytest.mark.parametrize(
    ("files", "given", "message"),
    [
        ({"readme.md": ""}, ".", r"holds no test set; expected an AISHELL-1 tree .*Kaldi.*jsonl"),
        ({"a.jsonl": "", "b.jsonl": ""}, ".", r"2 jsonl lists \(a\.jsonl, b\.jsonl\); give the path"),
        ({"list.txt": ""}, "list.txt", r"list\.txt: not a list of a known kind"),
        ({"list.csv": ""}, "list.csv", r"list\.csv: no utterance .*its lists hold no line"),
        ({"a.jsonl": ""}, "a.jsonl#TEST", r"a\.jsonl: a FunASR list has no subsets; leave out '#TEST'"),
        ({}, "absent", r"absent: no such file or folder"),
        (
            {"wav/x.tar": "", "transcript/t.txt": "a b\n"},
            ".",
            r"no utterance .*1 archives \(\.tar\.gz\) are not unpacked",
        ),
        ({"wav/a.wav": "", "transcript/readme": ""}, ".", r"transcript: no \*\.txt"),
    ],
)
def test_what_is_no_test_set_is_refused(tmp_path, files, given, message):
    with pytest.raises(DatasetError, match=message):
        read_dataset(put(tmp_path, files) / given)


def test_errors_name_every_kind_of_the_table(tmp_path):
    with pytest.raises(DatasetError) as caught:
        read_dataset(tmp_path)
    assert all(f"{kind.title} ({kind.layout})" in str(caught.value) for kind in KINDS)
    assert "\n" not in str(caught.value)


def test_a_kind_given_by_name_is_the_only_one_tried(tmp_path):
    lines = jsonl({"key": "a", "source": "a.wav", "target": "你好"})
    put(aishell(tmp_path), {"wav.scp": "T1 a.wav\n", "text": "T1 别 的\n", "some.list.txt": lines})
    assert contents(read_dataset(tmp_path, kind="kaldi")) == [("T1", "别 的", None)]
    assert contents(read_dataset(tmp_path / "some.list.txt", kind="jsonl")) == [("a", "你好", None)]
    with pytest.raises(DatasetError, match=r"holds no test set; expected a LibriSpeech tree \(SPLIT"):
        read_dataset(tmp_path, kind="librispeech")
    with pytest.raises(UsageError, match=r"no kind of test set is called 'kaldy'; did you mean 'kaldi'\?"):
        read_dataset(tmp_path, kind="kaldy")


def test_a_dataset_built_by_hand_may_not_repeat_an_id(tmp_path):
    one = Utterance(utt_id="a", path=tmp_path / "a.wav", text="你好")
    with pytest.raises(DatasetError, match="id 'a' stands for several utterances"):
        Dataset(name="mine", kind="jsonl", utterances=(one, one))


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is absent")
def test_the_real_aishell_speaker_reads_the_same_through_its_four_forms():
    # Oracle: its README (500 utterances, 6678 characters, 2378.5 s); four lists made by different tools must agree.
    names = ("", "wav.scp", "data.list", "audio_datasets.jsonl")
    tree, kaldi, wenet, funasr = (read_dataset(SHARED / name) for name in names)
    assert [item.kind for item in (tree, kaldi, wenet, funasr)] == ["aishell", "kaldi", "wenet", "jsonl"]
    expected = {(item.utt_id, item.path, item.text.replace(" ", "")) for item in tree.utterances}
    assert len(expected) == 500
    assert sum(len(text) for _, _, text in expected) == 6678
    for other in (kaldi, wenet, funasr):
        assert {(item.utt_id, item.path, item.text) for item in other.utterances} == expected
        assert other.notes == ()
    assert {item.speaker for item in (*tree.utterances, *kaldi.utterances)} == {"S0150"}
    assert all(item.path.is_file() for item in tree.utterances)
    # utt2dur was made by another tool: its sum differs from the README's by up to its rounding.
    assert abs(sum(item.duration_s or 0.0 for item in kaldi.utterances) - 2378.5) < 0.5
    assert len({fingerprint(item) for item in (tree, kaldi, wenet, funasr)}) == 4


def small_set(folder: Path) -> Dataset:
    put(folder, {"wav.scp": "a a.wav\nb b.wav\n", "text": "a 你好\nb 再见\n", "a.wav": "1", "b.wav": "22"})
    for name in ("a.wav", "b.wav"):
        os.utime(folder / name, (1000, 1000))
    return read_dataset(folder)


def test_the_fingerprint_sees_what_its_docstring_says(tmp_path):
    dataset = small_set(tmp_path / "one")
    first = fingerprint(dataset)
    assert re.fullmatch("[0-9a-f]{64}", first)
    assert fingerprint(small_set(tmp_path / "two")) == first  # where the set lies is not part of it
    a, b = dataset.utterances
    changed = [(b, a), (a,), *((replace(a, **change), b) for change in CHANGES)]
    prints = {fingerprint(replace(dataset, utterances=utterances)) for utterances in changed}
    assert len(prints) == len(changed)
    assert first not in prints
    assert fingerprint(replace(dataset, kind="jsonl")) != first
    for unseen in ({"speaker": "S"}, {"condition": "noisy"}, {"duration_s": 1.0}):
        assert fingerprint(replace(dataset, utterances=(replace(a, **unseen), b))) == first


CHANGES: tuple[dict, ...] = (
    {"utt_id": "c"},
    {"text": "你号"},
    {"start_s": 0.5},
    {"end_s": 0.5},
    {"channel": 0},
    {"member": "m"},
    {"command": "m"},
)


def test_the_fingerprint_sees_audio_replaced_touched_and_removed(tmp_path):
    dataset = small_set(tmp_path)
    prints = [fingerprint(dataset)]
    (tmp_path / "b.wav").write_text("333")
    os.utime(tmp_path / "b.wav", (1000, 1000))
    prints.append(fingerprint(dataset))
    os.utime(tmp_path / "b.wav", (1000, 1001))
    prints.append(fingerprint(dataset))
    (tmp_path / "b.wav").unlink()
    prints.append(fingerprint(dataset))
    assert len(set(prints)) == 4


def test_the_fingerprint_of_a_large_set_takes_seconds(tmp_path):
    utterances = tuple(
        Utterance(utt_id=f"u{number}", path=tmp_path / f"{number}.wav", text="你好" * 8) for number in range(20_000)
    )
    dataset = Dataset(name="large", kind="kaldi", utterances=utterances)
    start = time.process_time()
    fingerprint(dataset)
    # Measured 0.2 s; ten times that, because the machine may be busy. 100,000 utterances are five times as many.
    assert time.process_time() - start < 2.0
