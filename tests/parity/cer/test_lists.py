"""Text lists: ids, empty texts, encodings, line numbers. All files are written here; expectations are by hand."""

from pathlib import Path

import pytest

from mlx_model.errors import DatasetError
from parity.cer.lists import decoded_lines, merge_repeated, parse_json, quoted, read_id_lines, read_json_lines, shown


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def test_a_line_with_an_id_only_is_an_empty_text_and_not_dropped(tmp_path):
    lines = read_id_lines(write(tmp_path / "text", "a 你好\nb\nc \nd 再见\n"))
    assert [(line.number, line.utt_id, line.rest) for line in lines] == [
        (1, "a", "你好"),
        (2, "b", ""),
        (3, "c", ""),
        (4, "d", "再见"),
    ]


def test_only_a_line_feed_ends_a_line_and_blank_lines_keep_the_numbering(tmp_path):
    # U+2028, form feed and NEL are line ends to str.splitlines, but text to every tool that wrote such lists.
    lines = read_id_lines(write(tmp_path / "text", "a 你\u2028好\x0c吗\x85\r\n\r\nb\t再 见\r\n"))
    assert [(line.number, line.utt_id, line.rest) for line in lines] == [
        (1, "a", "你\u2028好\x0c吗\x85"),
        (3, "b", "再 见"),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_id(tmp_path):
    assert read_id_lines(write(tmp_path / "text", "\ufeffa 你好\n"))[0].utt_id == "a"


def test_bad_utf8_is_refused_with_file_line_and_a_way_out(tmp_path):
    path = write(tmp_path / "text", "a 你好\n".encode() + "b 再见\n".encode("gb18030"))
    with pytest.raises(DatasetError, match=r"text:2: not UTF-8 \(byte 0xd4\).*iconv -f GB18030"):
        read_id_lines(path)


def test_a_line_that_begins_with_white_space_has_no_id(tmp_path):
    with pytest.raises(DatasetError, match=r"text:2: begins with white space"):
        read_id_lines(write(tmp_path / "text", "a 你好\n  再见\n"))


def test_an_unreadable_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"absent: cannot be read: No such file"):
        read_id_lines(tmp_path / "absent")


def test_repeated_lines_are_counted_and_contradicting_ones_refused(tmp_path):
    notes: list[str] = []
    same = read_id_lines(write(tmp_path / "same", "a 你好\nb 再见\na 你好\na 你好\n"))
    assert [line.rest for line in merge_repeated(same, notes).values()] == ["你好", "再见"]
    assert notes == ["same: 2 duplicate lines (same id, same content) counted once"]
    differ = read_id_lines(write(tmp_path / "differ", "a 你好\na 再见\n"))
    with pytest.raises(DatasetError, match=r"differ:2: id 'a' says '再见', but .*differ:1 says '你好'"):
        merge_repeated(differ, [])


def test_utf16_is_refused_with_its_own_way_out(tmp_path):
    with pytest.raises(DatasetError, match=r"text:1: not UTF-8 \(byte 0xff\).*iconv -f UTF-16"):
        read_id_lines(write(tmp_path / "text", "a 你好\n".encode("utf-16")))


def test_decoded_lines_keep_blank_ones_and_what_ends_no_line(tmp_path):
    path = write(tmp_path / "list", "\ufeffa\r\n\nb\rc\ufeff")
    assert list(decoded_lines(path)) == [(1, "a\r"), (2, ""), (3, "b\rc\ufeff")]


def test_json_lines(tmp_path):
    path = write(tmp_path / "x.jsonl", '\ufeff{"a": 1}\r\n\n{"a": "\\u4f60"}\n')
    assert list(read_json_lines(path)) == [(f"{path}:1", {"a": 1}), (f"{path}:3", {"a": "你"})]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"^here:7: not JSON \(Expecting property name.* at column 2\)"),
        ("[" * 100_000, r"^here:7: not usable JSON \(nested too deeply\)"),
        ("1" * 5000, r"^here:7: not usable JSON \(a number is too long\)"),
    ],
)
def test_json_that_breaks_its_reader_is_an_error_with_its_line(text, message):
    with pytest.raises(DatasetError, match=message):
        parse_json(text, "here:7")


def test_what_messages_quote_stays_short_and_on_one_line():
    assert quoted("你\u202eb\n") == r"'你\u202eb\n'"
    assert quoted("x" * 1_000_000, 3) == "'xxx'... (1000000 characters)"
    assert quoted([1, 2], 3) == "[1,... (6 characters)"
    assert shown(Path("a b/你好.wav")) == "a b/你好.wav"
    assert shown("a\nb\udcff") == r"'a\nb\udcff'"
