"""Text lists: ids, empty texts, encodings, line numbers. All files are written here; expectations are by hand."""

from pathlib import Path

import pytest

from mlx_model.errors import DatasetError
from parity.cer.lists import merge_repeated, read_id_lines


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
