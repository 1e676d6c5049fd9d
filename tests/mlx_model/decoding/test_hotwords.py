"""Hotword lists. Oracles: FunASR 1.4.16's generate_hotwords_list (both copies), in a process of its own; by hand."""

import http.server
import json
import threading
import time
from pathlib import Path

import pytest

from mlx_model.config.parts import TokenizerConfig
from mlx_model.decoding.hotwords import Hotwords, ids_of, words_of
from mlx_model.errors import AssetError, UsageError
from mlx_model.text.seg_dict import SegDict
from mlx_model.text.tokenizer import Tokenizer
from tests.mlx_model.decoding import hotword_reference

TOKENS = [
    "<blank>", "<s>", "</s>", "阿", "里", "巴", "张", "三", "丰", "2", "0", "hello", "he@@", "llo", "a", "b", "c", "的",
    "x", "é", "ア", "B12", "<unk>",
]  # fmt: skip
SEG_DICT = "阿 阿\n里 里\n巴 巴\n张 张\n三 三\n2 2\n的 的\nhello he@@ llo\n阿巴 阿 巴\nempty\nodd 龘 里\n0 0\n"
ID = {token: number for number, token in enumerate(TOKENS)}


def tokenizer(tokens=TOKENS, **config):
    return Tokenizer(tokens, TokenizerConfig(**config), blank_id=0, sos=1, eos=2)


@pytest.fixture
def seg_dict(tmp_path):
    (tmp_path / "seg_dict").write_text(SEG_DICT, encoding="utf-8")
    return SegDict(tmp_path / "seg_dict")


def found(given, seg_dict=None, **options) -> Hotwords:
    words = words_of(given, **options)
    assert words is not None
    return ids_of(words, tokenizer(), seg_dict, as_funasr=options.get("as_funasr", False))


def spelt(given, seg_dict=None):
    """Return the list by its tokens, a string each, without the last entry, which is checked."""
    *ids, last = found(given, seg_dict).ids
    assert last == (1,)
    return [" ".join(TOKENS[one] for one in word) for word in ids]


# ---------------------------------------------------------------- as FunASR


TEXTS = [
    None, "", "   ", "阿里", "阿里 巴", " 阿里\t巴\n三 ", "阿里 阿里", "龘", "阿龘里", "hello", "HELLO 阿里", "abc123",
    "2020", "x", "阿巴", "odd", "里20", "３", "é", "ア", "<s>", "<unk>", "hello,阿里", "missing.txt",
    "阿里 missing.txt", "empty", "阿里 empty 巴", "A a", "张三丰 2", "\ufeff阿里", "阿\u3000里",
]  # fmt: skip
NO_LIST = (None, "missing.txt", "阿里 missing.txt")
FILES = {
    "plain.txt": "阿里\n巴\n",
    "phrases.txt": "hello 阿里\n张 三\n",
    "weights.txt": "阿里 20\n张三 5\n",
    "no_newline.txt": "阿里\n巴",
    "blank_line.txt": "阿里\n\n巴\n",
    "blank_end.txt": "阿里\n \n",
    "crlf.txt": "阿里\r\n巴 hello\r\n",
    "bom.txt": "\ufeff阿里\n巴\n",
    "nothing.txt": "",
    "separators.txt": "阿里\x0b巴\u2028三\n里\x1c巴\n",
    "other.lst": "阿里\n巴\n",
}


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    for name, text in FILES.items():
        (folder / name).write_bytes(text.encode())
    (folder / "latin.txt").write_bytes(b"\xe9\xff\n")
    (folder / "folder.txt").mkdir()
    return folder


@pytest.mark.reference
def test_funasrs_lists_to_the_id(lists, tmp_path):
    cases = [*TEXTS, *[str(lists / name) for name in [*FILES, "latin.txt", "folder.txt"]], ["阿里"], 3]
    folders = [tmp_path / name for name in ("with", "without", "blank")]
    for folder in folders:
        folder.mkdir()
        (folder / "tokens.json").write_text(json.dumps(TOKENS), "utf-8")
    (folders[0] / "seg_dict").write_text(SEG_DICT, encoding="utf-8")
    (folders[2] / "seg_dict").write_text("阿 阿\n\n里 里\n", encoding="utf-8")
    raised = 0
    for folder, answers in zip(folders, hotword_reference.ask(folders, cases), strict=True):
        dictionary = SegDict(folder / "seg_dict") if (folder / "seg_dict").exists() else None
        for case, answer in zip(cases, answers, strict=True):
            if isinstance(answer, dict) and folder.name == "blank" and case in NO_LIST:
                continue  # FunASR reads its dictionary, and fails on it, where there is no word to look up, either
            if isinstance(answer, dict):
                raised += 1
                with pytest.raises(UsageError, match=r"FunASR|directory|UTF-8"):
                    found(case, dictionary, as_funasr=True)
            elif answer is None:
                assert words_of(case, as_funasr=True) is None
            else:
                assert [list(ids) for ids in found(case, dictionary, as_funasr=True).ids] == answer, case
    assert raised > 40


def test_as_funasr_says_where_it_fails(lists, seg_dict):
    with pytest.raises(UsageError, match=r"takes text alone and fails on a list"):
        words_of(["阿里"], as_funasr=True)
    with pytest.raises(UsageError, match="fails on a blank line"):
        found(str(lists / "blank_line.txt"), seg_dict, as_funasr=True)
    with pytest.raises(UsageError, match="'empty', for which seg_dict has no tokens"):
        found("empty", seg_dict, as_funasr=True)
    assert found("abc 阿里", seg_dict, as_funasr=True).notes == (
        "hotwords: 1 of 2 hold <unk>, as FunASR has them: abc",
    )


# ---------------------------------------------------------------- as it was meant


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", ()),
        (" \n", ()),
        ("阿里  巴\t三", ("阿里", "巴", "三")),
        (["hello 阿里", " ", "巴"], ("hello 阿里", "巴")),
        (("阿里",), ("阿里",)),
        ("AC/DC", ("AC/DC",)),
    ],
)
def test_words_and_lists(given, words):
    assert words_of(given) == words
    assert words_of(words_of(given), as_funasr=True) == words  # what was read is not read again


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("phrases.txt", ("hello 阿里", "张 三")),
        ("blank_line.txt", ("阿里", "巴")),
        ("crlf.txt", ("阿里", "巴 hello")),
        ("bom.txt", ("阿里", "巴")),
        ("other.lst", ("阿里", "巴")),
        ("weights.txt", ("阿里", "张三")),
    ],
)
def test_files(lists, name, words):
    assert words_of(str(lists / name)) == words_of(lists / name) == words


def test_a_weight_column_is_told_from_a_name_with_a_number(tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("阿里 20\n张三 5\nhello\n", encoding="utf-8")
    words = words_of(listed)
    assert words == ("阿里", "张三", "hello")
    assert words.notes == (f"hotwords: {listed}: the weights of 2 of 3 lines were set aside; models have none",)
    listed.write_text("hello 2\n阿里\n巴\n", encoding="utf-8")
    words = words_of(listed)
    assert words == ("hello 2", "阿里", "巴")
    assert "1 of 3 lines end in a number" in words.notes[0]


def test_an_empty_file_is_a_list_of_none_and_is_said(lists):
    words = words_of(lists / "nothing.txt")
    assert words == ()
    assert "holds none" in words.notes[0]


@pytest.mark.parametrize("given", ["missing.txt", "阿里 missing.txt", "./missing", "/nowhere/words.lst", "words.CSV"])
def test_a_missing_file_is_an_error(given):
    with pytest.raises(UsageError, match="is no file"):
        words_of(given)
    with pytest.raises(UsageError, match="No such file"):
        words_of(Path(given))


@pytest.mark.parametrize("given", [["阿里", 3], [None], [b"x"]])
def test_entries_that_are_no_text(given):
    with pytest.raises(UsageError, match="is no text"):
        words_of(given)


def test_other_encodings_name_the_line(tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_bytes("hello\n阿里\n".encode("gb18030"))
    with pytest.raises(UsageError, match="line 2 is not UTF-8"):
        words_of(listed)


def test_addresses_are_fetched_only_when_asked_for(tmp_path):
    (tmp_path / "list.txt").write_text("阿里\nhello 三\n", encoding="utf-8")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(tmp_path), **kwargs)

        def log_message(self, format, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/list.txt"
        for as_funasr in (False, True):
            with pytest.raises(UsageError, match="only when asked for"):
                words_of(url, as_funasr=as_funasr)
            assert words_of(url, as_funasr=as_funasr, allow_urls=True) == ("阿里", "hello 三")
        with pytest.raises(UsageError, match="cannot be fetched: HTTP Error 404"):
            words_of(url + "x", allow_urls=True)
        server.shutdown()
    with pytest.raises(UsageError, match="no address of the web"):
        words_of("httpd", as_funasr=True, allow_urls=True)  # FunASR takes every such word for an address
    assert words_of("httpd") == ("httpd",)


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        ("阿里 张三丰", ["阿 里", "张 三 丰"]),
        ("HELLO", ["he@@ llo"]),  # the dictionary's way of writing it
        (["Hello 阿里", "阿里 hello"], ["he@@ llo 阿 里", "阿 里 he@@ llo"]),
        ("阿里hello", ["阿 里 he@@ llo"]),
        ("abc", ["a b c"]),  # a word that neither has is spelt, as FunASR's tokenizer did in training
        ("2020 三20", ["2 0 2 0", "三 2 0"]),
        ("b12", ["B12"]),
        ("ア é É", ["ア", "é"]),
        ("阿巴 阿里 阿巴", ["阿 巴", "阿 里"]),  # once each
        ("龘 阿龘 odd 里", ["里"]),
        ("<s> <unk> </s> 里", ["里"]),  # tokens that are never printed are no words
        ("", []),
    ],
)
def test_spelling(given, tokens, seg_dict):
    assert spelt(given, seg_dict) == tokens


def test_without_a_dictionary_words_are_tokens_or_characters():
    assert spelt("hello HELLO 阿里 abc") == ["hello", "阿 里", "a b c"]


def test_what_the_vocabulary_lacks_is_said(seg_dict):
    hotwords = found("阿里 龘 里龘 hello", seg_dict)
    assert hotwords.words == ("阿里", "hello")
    assert hotwords.unknown == ("龘", "里龘")
    assert hotwords.notes == ("hotwords: 2 of 4 left out, for the model has no token for parts of them: 龘, 里龘",)
    many = found([f"龘{number}" for number in range(30)], seg_dict)
    assert many.ids == ((1,),)
    assert many.notes[0].endswith(" and 20 more")


def test_sentencepiece_models_are_refused():
    pieces = tokenizer(["<unk>", "<s>", "</s>", "▁a"], kind="SentencepiecesTokenizer")
    with pytest.raises(UsageError, match="for models of characters"):
        ids_of(("a",), pieces, None)


def test_ten_thousand_entries(tmp_path, seg_dict):
    listed = tmp_path / "list.txt"
    signs = [chr(0x4E00 + number) for number in range(8000)]
    entries = [signs[number % 8000] + signs[number * 7 % 8000] + signs[number // 3] for number in range(10000)]
    listed.write_text("\n".join(entries), encoding="utf-8")
    model = tokenizer(["<blank>", "<s>", "</s>", *signs, "<unk>"])
    start = time.perf_counter()
    hotwords = ids_of(words_of(listed) or (), model, seg_dict)
    took_s = time.perf_counter() - start
    assert len(hotwords.ids) == len(set(entries)) + 1
    assert hotwords.ids[4711] == tuple(3 + ord(sign) - 0x4E00 for sign in entries[4711])
    assert took_s < 2  # 0.08 s here; a quadratic step would take a minute


def test_seg_dict_that_cannot_be_read(tmp_path):
    (tmp_path / "seg_dict").write_bytes(b"\xff\xfe")
    with pytest.raises(AssetError, match="not UTF-8"):
        _ = SegDict(tmp_path / "seg_dict").words
    with pytest.raises(AssetError, match="No such file"):
        _ = SegDict(tmp_path / "none").words
