"""The other kinds of test sets: AISHELL-2, LibriSpeech, WenetSpeech, WeNet, manifests, each from a small copy of its
public layout. Expectations are by hand; an empty file stands for audio. Shards have test_cer_readers_shards.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlx_model.errors import DatasetError
from parity.cer.datasets import Dataset, Utterance, read_dataset
from parity.cer.readers import wenetspeech
from tests.parity.cer.test_datasets import contents, jsonl, put


def parts(dataset: Dataset) -> list[tuple[str, str, str | None, str | None]]:
    return [(item.utt_id, item.text, item.speaker, item.condition) for item in dataset.utterances]


def aishell2(folder: Path, prefix: str) -> Path:
    return put(
        folder,
        {
            "wav.scp": f"{prefix}C1W1\twav/C1/{prefix}C1W1.wav\n{prefix}C1W2\twav/C1/{prefix}C1W2.wav\n",
            "trans.txt": f"{prefix}C1W1\t换首歌\n{prefix}C1W3\t几点了\n",
            f"wav/C1/{prefix}C1W1.wav": "",
        },
    )


@pytest.mark.parametrize("given", [".", "iOS", "iOS/data", "iOS/data/wav.scp", "iOS/data/trans.txt"])
def test_aishell2_corpus(tmp_path, given):
    aishell2(tmp_path / "AISHELL-2/iOS/data", "I")
    dataset = read_dataset(tmp_path / "AISHELL-2" / given)
    assert dataset.kind == "aishell2"
    assert [row[:3] for row in parts(dataset)] == [("IC1W1", "换首歌", "C1")]
    assert dataset.utterances[0].path == tmp_path / "AISHELL-2/iOS/data/wav/C1/IC1W1.wav"
    assert dataset.notes == (
        "1 of 2 recordings have no transcript: left out (first: IC1W2)",
        "1 of 2 transcripts have no audio here: left out (first: IC1W3)",
    )


def test_aishell2_development_and_test_sets_are_conditions(tmp_path):
    for channel, prefix in (("iOS", "I"), ("Android", "A"), ("Mic", "M")):
        aishell2(tmp_path / channel / "test", prefix)
    aishell2(tmp_path / "Mic/dev", "MD")
    dataset = read_dataset(tmp_path)
    assert parts(dataset) == [
        ("IC1W1", "换首歌", "C1", "iOS/test"),
        ("AC1W1", "换首歌", "C1", "Android/test"),
        ("MDC1W1", "换首歌", "C1", "Mic/dev"),
        ("MC1W1", "换首歌", "C1", "Mic/test"),
    ]
    assert dataset.notes[-1] == "utterances: iOS/test 1, Android/test 1, Mic/dev 1, Mic/test 1"
    assert parts(read_dataset(tmp_path / "Mic/test")) == [("MC1W1", "换首歌", "C1", "Mic/test")]


def librispeech(root: Path) -> Path:
    return put(
        root,
        {
            "test-clean/1089/134686/1089-134686.trans.txt": "1089-134686-0000 HE HOPED\n1089-134686-0001 STUFF IT\n",
            "test-clean/1089/134686/1089-134686-0000.flac": "",
            "test-clean/1089/134686/1089-134686-0002.flac": "",
            "test-other/367/130732/367-130732.trans.txt": "367-130732-0000 LOBSTERS\n",
            "test-other/367/130732/367-130732-0000.flac": "",
            "SPEAKERS.TXT": "",
        },
    )


def test_librispeech(tmp_path):
    dataset = read_dataset(librispeech(tmp_path / "LibriSpeech"))
    assert dataset.kind == "librispeech"
    assert parts(dataset) == [
        ("1089-134686-0000", "HE HOPED", "1089", "test-clean"),
        ("367-130732-0000", "LOBSTERS", "367", "test-other"),
    ]
    assert dataset.notes == (
        "1 of 3 recordings have no transcript: left out (first: 1089-134686-0002)",
        "1 of 3 transcripts have no audio here: left out (first: 1089-134686-0001)",
        "utterances: test-clean 1, test-other 1",
    )


@pytest.mark.parametrize("inside", ["test-clean", "test-clean/1089", "test-clean/1089/134686"])
def test_a_part_of_librispeech(tmp_path, inside):
    dataset = read_dataset(librispeech(tmp_path / "LibriSpeech") / inside)
    assert parts(dataset) == [("1089-134686-0000", "HE HOPED", "1089", "test-clean")]


def test_one_chapter_in_two_splits_is_refused(tmp_path):
    copy = "copy/1089/134686/1089-134686"
    put(librispeech(tmp_path), {f"{copy}.trans.txt": "", f"{copy}-0000.flac": ""})
    with pytest.raises(DatasetError, match=r"1089-134686-0000\.flac: another file has this id, .*read one split"):
        read_dataset(tmp_path)


def segment(sid: str, begin: float, end: float, text: str, *subsets: str) -> dict:
    return {"sid": sid, "begin_time": begin, "end_time": end, "text": text, "subsets": list(subsets), "confidence": 1.0}


LONG = "再见" * 30  # longer than any word of JSON: it is cut inside when little is read ahead


def wenet_speech(root: Path, indent: int | None = None) -> Path:
    audios = [
        {"aid": "Y1", "path": "audio/a.opus", "segments": [segment("Y1_S0", 0.5, 2, "大\u200f家", "L", "M")]},
        {
            "aid": "T1",
            "path": "audio/b.opus",
            "segments": [segment("T1_S0", 1, 2.25, "你好", "TEST_NET"), segment("T1_S1", 3, 4, LONG, "TEST_NET")],
        },
    ]
    document = {"language": "zh", "comment": '"audios": [', "audios": audios}
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    return put(root, {"WenetSpeech.json": text, "audio/a.opus": "", "audio/b.opus": ""}) / "WenetSpeech.json"


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_wenetspeech_is_read_subset_by_subset(tmp_path, monkeypatch, chunk, indent):
    # Read ahead by one character at a time too: a value cut anywhere must read the same.
    monkeypatch.setattr(wenetspeech, "_CHUNK", chunk)
    path = wenet_speech(tmp_path, indent)
    dataset = read_dataset(f"{path}#TEST_NET")
    assert dataset.kind == "wenetspeech"
    assert dataset.name == f"{tmp_path.name}/WenetSpeech.json#TEST_NET"
    file = tmp_path / "audio/b.opus"
    assert dataset.utterances == (
        Utterance(utt_id="T1_S0", path=file, text="你好", condition="TEST_NET", start_s=1.0, end_s=2.25),
        Utterance(utt_id="T1_S1", path=file, text=LONG, condition="TEST_NET", start_s=3.0, end_s=4.0),
    )
    assert dataset.notes == ()
    assert read_dataset(f"{tmp_path}#TEST_NET") == dataset
    assert parts(read_dataset(f"{path}#M")) == [("Y1_S0", "大\u200f家", None, "M")]
    with pytest.raises(DatasetError, match=r"holds several subsets \(L, M, \.\.\.\); choose one, .*json#TEST_NET"):
        read_dataset(path)
    with pytest.raises(DatasetError, match=r"no subset 'DEV'; there are: L, M, TEST_NET"):
        read_dataset(f"{path}#DEV")


def test_wenetspeech_of_one_subset_needs_no_choice(tmp_path):
    audio = {"path": "a.opus", "segments": [segment("S", 0, 1, "好", "DEV"), segment("N", 0, 1, "无")]}
    dataset = read_dataset(put(tmp_path, {"WenetSpeech.json": json.dumps({"audios": [audio]}), "a.opus": ""}))
    assert parts(dataset) == [("S", "好", None, "DEV")]


GOOD = '{"path": "a.opus", "segments": []}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r'WenetSpeech\.json: no "audios"'),
        ('{"audio": []}', r'WenetSpeech\.json: no "audios"'),
        (f'{{"audios": [{GOOD},\n\n{{"path" "a"}}]}}', r"WenetSpeech\.json:3: not JSON \(Expecting ':' delimiter\)"),
        (f'{{"audios": [{GOOD},\n', r'WenetSpeech\.json:2: ends inside "audios"; it was cut short'),
        (f'{{"audios": [{GOOD},\n{GOOD[:-5]}', r"WenetSpeech\.json:2: not JSON"),
        ('{"audios": [7]}', r"audios\[0\]: 'path' is missing; expected a str"),
        ('{"audios": [{"path": "../a", "segments": []}]}', r"audios\[0\]: '\.\./a' climbs out of"),
        ('{"audios": [{"path": "/a", "segments": []}]}', r"audios\[0\]: '/a' is absolute; a downloaded list"),
        ('{"audios": [{"path": "a", "segments": {}}]}', r"audios\[0\]: 'segments' is \{\}; expected a list"),
        ('{"audios": [{"path": "a", "segments": [[]]}]}', r"audios\[0\]\.segments\[0\]: 'subsets' is missing"),
        ('{"audios": [' + "[" * 100_000, r"WenetSpeech\.json:1: not usable JSON \(nested too deeply\)"),
        (f'{{"audios": [{GOOD}]}}', r"no utterance with both audio and transcript"),
    ],
)
def test_a_wenetspeech_file_that_cannot_be_used(tmp_path, text, message):
    with pytest.raises(DatasetError, match=message):
        read_dataset(put(tmp_path, {"WenetSpeech.json": text}))


@pytest.mark.parametrize("chunk", [1, 40, 1 << 20])
def test_a_wenetspeech_error_names_its_line_however_much_was_read_ahead(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(wenetspeech, "_CHUNK", chunk)
    text = f'{{"audios":\n[{GOOD},\n{GOOD},\n\n{GOOD} {GOOD},\n{{"path": nothing}}]}}'
    with pytest.raises(DatasetError, match=r"WenetSpeech\.json:6: not JSON \(Expecting value\)"):
        read_dataset(put(tmp_path, {"WenetSpeech.json": text}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"begin_time": "soon"}, r"segments\[0\]: begin_time is 'soon'; expected seconds"),
        ({"begin_time": 5}, r"segments\[0\]: ends at 1\.0 s, but begins at 5\.0 s"),
        ({"end_time": float("inf")}, r"segments\[0\]: end_time is inf; expected seconds"),
        ({"sid": "a b"}, r"segments\[0\]: sid 'a b'; expected an id"),
        ({"text": None}, r"segments\[0\]: 'text' is None; expected a str"),
        ({"text": "\ud800"}, r"segments\[0\]: holds half of a surrogate pair"),
        ({"subsets": [1]}, r"segments\[0\]: subsets are \[1\]; expected names"),
    ],
)
def test_a_wenetspeech_segment_that_cannot_be_used(tmp_path, change, message):
    audio = {"path": "a.opus", "segments": [{**segment("S", 0, 1, "好", "DEV"), **change}]}
    with pytest.raises(DatasetError, match=message):
        read_dataset(put(tmp_path, {"WenetSpeech.json": json.dumps({"audios": [audio]})}))


def test_wenet_raw_list(tmp_path):
    whole = {"key": "a", "wav": "wav/a.wav", "txt": "你好"}
    part = {"key": "b", "wav": "/data/long.wav", "txt": "再见", "start": 1.5, "end": 3}
    dataset = read_dataset(put(tmp_path, {"data.list": jsonl(whole, part, whole), "wav/a.wav": ""}))
    assert dataset.kind == "wenet"
    assert dataset.utterances == (
        Utterance(utt_id="a", path=tmp_path / "wav/a.wav", text="你好"),
        Utterance(utt_id="b", path=Path("/data/long.wav"), text="再见", start_s=1.5, end_s=3.0),
    )
    assert dataset.notes[0] == "data.list: 1 duplicate lines (same id, same content) counted once"
    renamed = put(tmp_path / "other", {"train.jsonl": jsonl(part)}) / "train.jsonl"
    assert (read_dataset(renamed).kind, contents(read_dataset(renamed))) == ("wenet", [("b", "再见", None)])


TABLE = [
    ("id", "audio", "sentence", "speaker", "condition", "start", "end", "client"),
    ("a", "wav/a.wav", '你,"好"', "S1", "noisy", "", "", "x"),
    ("b", "/abs/b.wav", "", "", "", "1.5", "3", "y"),
]
EXPECTED = [
    {"utt_id": "a", "text": '你,"好"', "speaker": "S1", "condition": "noisy"},
    {"utt_id": "b", "text": "", "path": Path("/abs/b.wav"), "start_s": 1.5, "end_s": 3.0},
]


def as_csv(rows: list[tuple]) -> str:
    return "".join(",".join('"' + field.replace('"', '""') + '"' for field in row) + "\r\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("set.tsv", "\ufeff" + "".join("\t".join(row) + "\r\n" for row in TABLE) + "\n"),
        ("set.csv", "\ufeff" + as_csv(TABLE) + "\n"),
        ("set.jsonl", jsonl(*(dict(zip(TABLE[0], row, strict=True)) for row in TABLE[1:]))),
    ],
)
def test_manifests_of_all_three_forms_read_the_same(tmp_path, name, text):
    path = put(tmp_path, {name: text, "wav/a.wav": ""}) / name
    dataset = read_dataset(path)
    assert dataset == read_dataset(tmp_path)
    assert dataset.kind == "manifest"
    assert dataset.utterances == tuple(Utterance(**{"path": tmp_path / "wav/a.wav", **fields}) for fields in EXPECTED)
    assert len(dataset.notes) == 1  # /abs/b.wav does not exist


def test_a_manifest_without_ids_takes_the_names_of_its_files(tmp_path):
    text = "path\tsentence\nclips/common_1.mp3\t你好\nclips/common_2.mp3\t再见\n"
    dataset = read_dataset(put(tmp_path, {"test.tsv": text, "clips/common_1.mp3": "", "clips/common_2.mp3": ""}))
    assert contents(dataset) == [("common_1", "你好", None), ("common_2", "再见", None)]
    assert dataset.notes == ("test.tsv: no id column (id, utt_id, key): the audio files' names are the ids",)


def test_durations_of_a_manifest(tmp_path):
    rows = [
        {"audio_filepath": "a.wav", "duration": 2.5, "text": "一"},
        {"audio_filepath": "b.wav", "start": 1, "duration": "0.5", "text": "二"},
        {"audio_filepath": "c.wav", "start": 1, "end": 1.5, "duration": 0.505, "text": "三"},
    ]
    dataset = read_dataset(put(tmp_path, {"nemo.jsonl": jsonl(*rows), "a.wav": "", "b.wav": "", "c.wav": ""}))
    assert [(item.start_s, item.end_s, item.duration_s) for item in dataset.utterances] == [
        (None, None, 2.5),
        (1.0, 1.5, 0.5),
        (1.0, 1.5, 0.505),
    ]


def test_a_text_with_a_line_break_in_csv_keeps_the_line_numbers_right(tmp_path):
    text = 'id,path,text\na,a.wav,"你\n好"\nb,b.wav\n'
    with pytest.raises(DatasetError, match=r"set\.csv:4: 2 columns, but the header has 3; is a comma missing"):
        read_dataset(put(tmp_path, {"set.csv": text}))
    put(tmp_path, {"set.csv": text.replace("b,b.wav\n", "b,b.wav,再见\n")})
    assert contents(read_dataset(tmp_path / "set.csv")) == [("a", "你\n好", None), ("b", "再见", None)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.tsv", "path\tname\n", r"x\.tsv:1: no column for the text among \['path', 'name'\]; expected one of text,"),
        ("x.tsv", "a\ta.wav\t你好\n", r"x\.tsv:1: no column for the path and the text among"),
        ("x.tsv", "id\tpath\twav\ttext\n", r"x\.tsv:1: columns 'path' and 'wav' both mean the path; rename"),
        ("x.tsv", "id\tpath\ttext\ttext\n", r"x\.tsv:1: columns 'text' and 'text' both mean the text"),
        ("x.tsv", "id\tpath\ttext\na\ta.wav\t你\t好\n", r"x\.tsv:2: 4 columns, but the header has 3; is a tab missing"),
        ("x.tsv", "id path text\na a.wav 你好\n", r"x\.tsv:1: no column for the path and the text among"),
        ("x.tsv", "id\tpath\ttext\na b\ta.wav\t你好\n", r"x\.tsv:2: id 'a b'; expected an id, and no white space"),
        ("x.tsv", "path\ttext\na b.wav\t你好\n", r"x\.tsv:2: the file's name, which is the id here, is 'a b'"),
        ("x.tsv", "path\ttext\nx/a.wav\t你\ny/a.wav\t好\n", r"x\.tsv:3: id 'a' has path '.*/y/a\.wav', but"),
        ("x.tsv", "path\ttext\tstart\na.wav\t你\t-1\n", r"x\.tsv:2: 'start' is '-1'; expected seconds, 0 or more"),
        ("x.tsv", "path\ttext\tend\na.wav\t你\tnan\n", r"x\.tsv:2: 'end' is 'nan'; expected seconds"),
        ("x.tsv", "path\ttext\tstart\tend\na.wav\t你\t2\t1\n", r"x\.tsv:2: ends at 1\.0 s, but begins at 2\.0 s"),
        (
            "x.tsv",
            "path\ttext\tstart\tend\tduration\na.wav\t你\t1\t2\t3\n",
            r"x\.tsv:2: duration 3\.0 is not the time from start 1\.0 to end 2\.0",
        ),
        ("x.csv", 'id,path,text\na,a.wav,"你好\n', r"x\.csv:2: not CSV \(unexpected end of data\); is a quote missing"),
        ("x.csv", "id,path,text\na,a.wav," + "好" * 200_000, r"x\.csv:2: not CSV \(field larger than field limit"),
        ("x.jsonl", jsonl({"path": "a", "text": ""}, {"id": "", "path": "b", "text": ""}), r"x\.jsonl:2: some lines"),
        ("x.jsonl", jsonl({"path": "a", "text": ""}, {"path": "b"}), r"x\.jsonl:2: no column for the text among"),
        ("x.jsonl", '{"id": 7, "path": "a.wav", "text": ""}', r"x\.jsonl:1: 'id' is 7, not a string"),
        ("x.jsonl", '{"id": "a", "path": {"bytes": 1}, "text": ""}', r"x\.jsonl:1: 'path' is \{'bytes': 1\}, not"),
        ("x.jsonl", '{"path": "a.wav", "text": "\\udcff"}', r"x\.jsonl:1: holds half of a surrogate pair"),
        ("x.jsonl", '{"path": "a.wav", "text": "", "start": true}', r"x\.jsonl:1: 'start' is True; expected seconds"),
    ],
)
def test_a_manifest_that_cannot_be_used(tmp_path, name, text, message):
    with pytest.raises(DatasetError, match=message):
        read_dataset(put(tmp_path, {name: text}) / name)
