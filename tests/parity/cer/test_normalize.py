"""Normalisers: each row of the table on text that tells them apart.

Oracles: hand, FunASR's own expression, the rules of WeNet's compute-wer.py restated and its own answers, sentences of
SpeechIO's and OpenAI's own tests.
"""

import hashlib
import json
import re
import sys
import time
import unicodedata
from importlib import metadata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model.errors import DatasetError, DependencyError, MlxFunasrError, UsageError
from parity.cer import normalize_steps
from parity.cer.normalize import DEFAULT, NORMALIZERS, find_normalizer
from parity.cer.units import UNITS, mixed

SPOKEN = "  打开 Wi-Fi，\u3000二十度\u00a0。 \n"
LIBRARY = {"speechio": "wetext", "whisper-en": "whisper_normalizer"}
PURE = [name for name in NORMALIZERS if name not in LIBRARY]
# Everything a transcript may hold that is not plain Chinese: halves of surrogate pairs, marks, controls, emoji.
ODD = "a1 ，<>[]().,!?-%$'\"\\{}儿呃年点\u3000\x00\ud800\udfff\u202e\u200f\u0301\ufeffＡ１\U0001f600\U000e0100ß\n"
ANY_TEXT = st.text(st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=())), max_size=30)


def installed(name: str):
    if name in LIBRARY:
        pytest.importorskip(LIBRARY[name], reason="the extra cer is not installed")
    return find_normalizer(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none", "打开 Wi-Fi，\u3000二十度\u00a0。"),
        ("aishell", "打开Wi-Fi，二十度。"),
        ("funasr", "打开WIFI二十度"),
        ("wenet", "打开WI-FI二十度"),
        ("speechio", "打开WIFI二十度"),
        ("whisper-en", "打开 wi fi 二十度"),
    ],
)
def test_each_normaliser_on_one_sentence(name, expected):
    assert installed(name)(SPOKEN) == expected


def test_the_table_is_named_versioned_and_says_its_steps():
    assert DEFAULT == "aishell"
    table = {name: (row.version, row.unit, row.step_names) for name, row in NORMALIZERS.items()}
    assert list(table) == ["none", "aishell", "funasr", "wenet", "speechio", "whisper-en"]
    assert table["none"] == (1, "char", ["strip white space at both ends"])
    assert table["aishell"] == (1, "char", [r"remove white space (\s)"])
    assert table["funasr"] == (1, "char", [r"remove all but word characters ([^\w一-鿿])", "upper case"])
    assert {name: (version, unit, len(steps)) for name, (version, unit, steps) in table.items()} == {
        "none": (1, "char", 1),
        "aishell": (1, "char", 1),
        "funasr": (1, "char", 2),
        "wenet": (1, "mixed", 6),
        "speechio": (1, "char", 7),
        "whisper-en": (1, "word", 3),
    }
    assert {row.unit for row in NORMALIZERS.values()} <= set(UNITS)


@given(st.text())
def test_funasr_is_the_expression_of_its_benchmark(text):
    # Oracle: FunASR benchmarks/benchmark_pipeline_cer.md, normalize_zh.
    assert find_normalizer("funasr")(text) == re.sub(r"[^\w一-鿿]", "", text).upper()


def test_aishell_removes_what_the_expression_in_its_step_removes():
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    assert find_normalizer("aishell")(every) == re.sub(r"\s", "", every)


@given(st.text(st.sampled_from("a \t\n\u3000\x85")))
def test_runs_of_white_space_become_one_space(text):
    assert normalize_steps.one_space(text) == re.sub(r"\s+", " ", text)


# What differs from WeNet's tool once the text is upper case: letters whose capital is several characters or ASCII, and
# iteration marks (which it glues to ASCII that follows), and separators it does not know.
UNLIKE_WENET = [c for c in map(chr, range(128, sys.maxunicode + 1)) if len(c.upper()) > 1 or c.upper().isascii()]
UNLIKE_WENET += list("\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029々〇〡〢〣〤〥〦〧〨〩〱〲〳〴〵〻ゝゞーヽヾꀕｰﾞﾟ")


def wenet_tokens(text: str) -> list[str]:
    """The rules of WeNet's compute-wer.py --char=1, one character at a time."""
    tokens, open_token, tag = [], False, False
    for character in text:
        ascii_text = ord(character) < 128 and character not in " \t\r\n"
        if open_token and ascii_text:
            tokens[-1] += character
            open_token = not (tag and character == ">")
            continue
        open_token = tag = False
        kind = unicodedata.category(character)
        if character in " \t\r\n!,?、。！，；？：「」︰『』《》" or kind in ("Zs", "Cn"):
            continue
        tokens.append(character)
        open_token, tag = kind != "Lo", character == "<"
    return [token for token in (re.sub("<[^>]*>?", "", token.upper()) for token in tokens) if token]


@settings(max_examples=500)
@given(
    st.text(
        st.one_of(
            st.sampled_from("ab,!?<> \t\n.(“é１你好，。！Ａ（）\u0301"),
            st.characters(exclude_characters=UNLIKE_WENET, exclude_categories=()),
        )
    )
)
def test_wenet_with_mixed_units_is_the_tokens_of_its_tool(text):
    assert mixed(find_normalizer("wenet")(text)) == wenet_tokens(text)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        # Oracle: what tools/compute-wer.py --char=1 itself answers (wenet @0e1042b8).
        ("<unk>hello, world你好<NOISE>ok!", ["HELLO,", "WORLD", "你", "好", "OK!"]),
        ("我有a<laugh>b  iPhone15", ["我", "有", "AB", "IPHONE15"]),
        ("naïve １２ <噪音>嗯", ["NA", "ÏVE", "１", "２", "噪", "音", ">", "嗯"]),
        ("，,好!?a,b ,c", ["好", "A,B", "C"]),
    ],
)
def test_wenet_on_sentences_given_to_its_tool(text, tokens):
    assert mixed(find_normalizer("wenet")(text)) == tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Oracle: by hand; most sentences are those of SpeechIO's own nsw_test.
        ("日期：1999年2月20日或09年3月15号。", "日期一九九九年二月二十日或零九年三月十五号"),
        ("固话：0595-23865596", "固话零五九五二三八六五五九六"),
        ("编号：31520181154418。", "编号三一五二零一八一一五四四一八"),
        ("纯数：2983.07克", "纯数两千九百八十三点零七克"),
        ("金钱：12块5，34.5元，20.1万", "金钱十二块五三十四点五元二十点一万"),
        ("3456万吨", "三千四百五十六万吨"),
        ("今天吃了115个小笼包231个馒头", "今天吃了一百一十五个小笼包两百三十一个馒头"),
        ("有62％的概率，1,234元", "有百分之六十二的概率一千二百三十四元"),
        ("12:30跑5km，25℃", "十二点三十分跑五公里二十五摄氏度"),
        ("他女儿在那边儿玩儿", "他女儿在那边玩"),
        ("呃ｗｉｆｉ啊《乔治·布什》“好”…", "WIFI乔治布什好"),
        ("第１２３届", "第一百二十三届"),
    ],
)
def test_speechio_reads_numbers_as_they_are_spoken(text, expected):
    assert installed("speechio")(text) == expected
    assert installed("speechio")(expected) == expected


def test_speechio_reads_long_text_in_pieces_that_tear_no_number():
    # 17,000 characters at once took the grammar 600 MB; the pieces of 200 characters must not show in the result.
    text = "今天吃了115个小笼包和20.5公斤米" * 30
    assert installed("speechio")(text) == "今天吃了一百一十五个小笼包和二十点五公斤米" * 30
    assert installed("speechio")("7" * 1_000_000) == "七" * 1_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Oracle: openai/whisper tests/test_normalizer.py.
        ("he's like", "he is like"),
        ("she's been like", "she has been like"),
        ("10km", "10 km"),
        ("RC232", "rc 232"),
        ("Mr. Park visited Assoc. Prof. Kim Jr.", "mister park visited associate professor kim junior"),
        # By hand: brackets, fillers, white space, British spelling, money.
        ("  [noise] The (uh)\tcolour, um, cost $20 million. ", "the color cost $20000000"),
    ],
)
def test_whisper_english_is_openais(text, expected):
    assert installed("whisper-en")(text) == expected


@given(ANY_TEXT, st.sampled_from(["none", "aishell", "wenet"]))
def test_normalising_twice_changes_nothing(text, name):
    normalizer = find_normalizer(name)
    once = normalizer("".join(character for character in text if character not in UNLIKE_WENET))
    assert normalizer(once) == once


@pytest.mark.parametrize("name", list(NORMALIZERS))
def test_whatever_the_text_the_answer_is_text_or_an_error_of_ours(name):
    normalizer = installed(name)

    @settings(max_examples=60, deadline=None)
    @given(ANY_TEXT)
    def check(text):
        try:
            result = normalizer(text)
        except MlxFunasrError:
            assert name in LIBRARY
        else:
            assert isinstance(result, str)

    check()


MILLION = 1_000_000
LONG_LINES = [
    part * (MILLION // len(part)) for part in ("打开", " ", "<", "(", ",a", "\u0301", "a<b ", "ＡＢ，", "\ud800", "é")
]


@pytest.mark.parametrize("name", [*PURE, "speechio"])
@pytest.mark.parametrize("text", LONG_LINES, ids=[repr(text[:4]) for text in LONG_LINES])
def test_a_million_characters_take_linear_time(name, text):
    normalizer = installed(name)
    start = time.process_time()
    normalizer(text)
    # About a second on an idle core; a quadratic step would take hours.
    assert time.process_time() - start < 10


def test_what_would_take_whisper_minutes_is_refused():
    normalizer = installed("whisper-en")
    for bracket in "<[(":
        with pytest.raises(DatasetError, match="never close; mend the text"):
            normalizer(bracket * 100_000)
    assert normalizer("(a" * 50 + "<b> c" + " " * 100_000 + "d") == "a " * 50 + "c d"


def test_a_text_the_library_cannot_take_is_shown():
    with pytest.raises(DatasetError, match=r"'a\\ud8001' holds half of a surrogate pair"):
        installed("speechio")("a\ud8001")
    with pytest.raises(DatasetError, match=r"whisper-normalizer cannot normalise '9{60}…' \(AssertionError"):
        installed("whisper-en")("9" * 5000)


@pytest.mark.parametrize(("name", "text"), [("speechio", "2个"), ("whisper-en", "two")])
def test_a_missing_library_names_the_extra(name, text, monkeypatch):
    for cached in (normalize_steps._wetext, normalize_steps._whisper, normalize_steps._read_clause):
        cached.cache_clear()
    for module in ("wetext", "whisper_normalizer", "whisper_normalizer.english"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DependencyError, match=r"needs (wetext|whisper-normalizer): pip install 'mlx-funasr\[cer\]'"):
        find_normalizer(name)(text)


def test_without_its_library_a_normaliser_has_no_fingerprint(monkeypatch):
    def absent(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(DependencyError, match=r"needs wetext: pip install 'mlx-funasr\[cer\]'"):
        _ = find_normalizer("speechio").fingerprint
    assert find_normalizer("aishell").packages == {}


def test_fingerprints_tell_apart_what_was_done(monkeypatch):
    identity = json.dumps(["aishell", 1, [r"remove white space (\s)"], {}])
    assert find_normalizer("aishell").fingerprint == hashlib.sha256(identity.encode()).hexdigest()[:12]
    monkeypatch.setattr(metadata, "version", {"wetext": "0.1.8", "whisper-normalizer": "0.1.15"}.__getitem__)
    before = {name: row.fingerprint for name, row in NORMALIZERS.items()}
    assert len(set(before.values())) == len(NORMALIZERS)
    monkeypatch.setattr(metadata, "version", {"wetext": "0.1.9", "whisper-normalizer": "0.1.15"}.__getitem__)
    changed = [name for name, row in NORMALIZERS.items() if row.fingerprint != before[name]]
    assert changed == ["speechio"]


@pytest.mark.parametrize(
    ("name", "near"), [("aishel", "aishell"), ("FunASR", "funasr"), ("None", "none"), ("whisper", "whisper-en")]
)
def test_an_unknown_name_is_refused_with_the_nearest(name, near):
    listed = r"\(there are: none, aishell, funasr, wenet, speechio, whisper-en\)"
    with pytest.raises(UsageError, match=rf"'{name}'; did you mean '{near}'\? {listed}"):
        find_normalizer(name)
