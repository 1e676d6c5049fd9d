"""Test sets on disk: the three kinds, what is counted, what is refused.

Trees are built in tmp_path (an empty file stands for audio: no audio is opened when a list is read); the real AISHELL
speaker in ../shared is read through its three list forms, which must name the same 500 utterances.
"""

import json
from pathlib import Path

import pytest

from mlx_model.errors import DatasetError
from parity.cer.datasets import Dataset, Utterance, read_dataset

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "aishell_s0150"


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
    assert dataset.name == f"data_aishell/{inside}"


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
        ({"wav.scp": "a a.wav\nb sox b.wav -t wav - |\n"}, r"wav\.scp:2: .*pipe `\|`.*never run"),
        ({"wav.scp": "a\n"}, r"wav\.scp:1: id 'a' without a path"),
        ({"wav.scp": "a raw.ark:17\n"}, r"wav\.scp:1: 'raw\.ark:17' points into a Kaldi archive"),
        ({"wav.scp": "a a.wav\n", "segments": "a r 0 1\n"}, r"segments: lists with segments are not supported"),
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
        ('{"key": "b c", "source": "b.wav", "target": ""}', r"set\.jsonl:2: key 'b c'.*no white space in the key"),
        ('{"key": "b", "source": "", "target": ""}', r"set\.jsonl:2: key 'b', source ''"),
        (
            '{"key": "a", "source": "a.wav", "target": "再见"}',
            r"set\.jsonl:2: key 'a' stands before with another target",
        ),
        ('{"key": "a", "source": "b.wav", "target": "你好"}', r"set\.jsonl:2: id 'a' says 'b\.wav', but"),
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
    assert first.notes[0].startswith("read as an AISHELL tree; the folder also holds wav.scp, set.jsonl")
    assert contents(read_dataset(tmp_path / "wav.scp")) == [("T1", "别 的", None)]
    with pytest.raises(DatasetError, match=r"set\.jsonl: no utterance .*its lists hold no line"):
        read_dataset(tmp_path / "set.jsonl")


@pytest.mark.parametrize(
    ("files", "given", "message"),
    [
        ({"readme.md": ""}, ".", r"holds no test set; expected an AISHELL directory .*Kaldi.*jsonl"),
        ({"a.jsonl": "", "b.jsonl": ""}, ".", r"2 jsonl lists \(a\.jsonl, b\.jsonl\); give the path"),
        ({"list.csv": ""}, "list.csv", r"list\.csv: not a list of a known kind"),
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


def test_a_dataset_built_by_hand_may_not_repeat_an_id(tmp_path):
    one = Utterance(utt_id="a", path=tmp_path / "a.wav", text="你好")
    with pytest.raises(DatasetError, match="id 'a' stands for several utterances"):
        Dataset(name="mine", kind="jsonl", utterances=(one, one))


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is absent")
def test_the_real_aishell_speaker_reads_the_same_through_its_three_lists():
    # Oracle: its README (500 utterances, 6678 characters); three lists made by different tools must agree.
    tree, kaldi, funasr = (read_dataset(SHARED / name) for name in ("", "wav.scp", "audio_datasets.jsonl"))
    assert [item.kind for item in (tree, kaldi, funasr)] == ["aishell", "kaldi", "jsonl"]
    expected = {(item.utt_id, item.path, item.text.replace(" ", "")) for item in tree.utterances}
    assert len(expected) == 500
    assert sum(len(text) for _, _, text in expected) == 6678
    for other in (kaldi, funasr):
        assert {(item.utt_id, item.path, item.text) for item in other.utterances} == expected
        assert other.notes == ()
    assert {item.speaker for item in (*tree.utterances, *kaldi.utterances)} == {"S0150"}
    assert all(item.path.is_file() for item in tree.utterances)
