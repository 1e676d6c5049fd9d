"""What a stream of text may be asked. Oracle: the list, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from mlx_model.errors import UsageError
from mlx_model.pipelines.live_options import NOT_LIVE, check_live, chunking, is_live

NONE: dict[str, Any] = dict.fromkeys((*NOT_LIVE, "--vad", "--dynamic-silence", "--rate", "--second-pass", "--punc"))


def test_a_pipe_is_live_and_a_file_where_it_is_asked_for():
    assert [is_live(["-"], False), is_live(["a.wav"], True), is_live(["a.wav", "./-"], False)] == [True, True, False]


@pytest.mark.parametrize(
    ("audio", "format", "changed", "says"),
    [
        (["-"], "srt", {}, "--stream gives text or json, not srt"),
        (["-", "a.wav"], "text", {}, "- .standard input. stands alone"),
        (["-", "-"], "text", {}, "given twice"),
        (["a.wav"], "text", {"--rate": 8000}, "--rate is the rate of a pipe"),
        (["-"], "text", {"--rate": 5}, "--rate 5: expected 1000 to 768000"),
        (["-"], "text", {"--second-pass": "m"}, "--second-pass needs --vad"),
        (["-"], "text", {"--dynamic-silence": False}, "--no-dynamic-silence needs --vad"),
        *((["-"], "json", {option: 1}, f"{option} is for recordings that are heard as wholes") for option in NOT_LIVE),
    ],
)
def test_what_means_nothing_is_refused_by_name(audio: list[str], format: str, changed: dict[str, Any], says: str):
    with pytest.raises(UsageError, match=says):
        check_live(audio, format, NONE | changed)


def test_what_means_something_passes():
    check_live(["-"], "json", NONE | {"--rate": 8000, "--vad": "v", "--second-pass": "m", "--dynamic-silence": True})
    check_live(["a.wav", "b.wav"], "text", NONE)


def test_windows():
    assert chunking(None, None) == {}
    assert chunking("0,10,5", "4,-1") == {
        "chunk_size": [0, 10, 5], "encoder_chunk_look_back": 4, "decoder_chunk_look_back": -1,
    }  # fmt: skip
    for chunk, look_back, says in (
        ("1,2", None, "--chunk 1,2: expected 3 whole numbers"),
        ("", None, "--chunk : expected 3"),
        ("0,1.5,5", None, "--chunk 0,1.5,5: expected 3"),
        (None, "x", "--look-back x: expected 2 whole numbers"),
        (None, "4", "--look-back 4: expected 2"),
    ):
        with pytest.raises(UsageError, match=says):
            chunking(chunk, look_back)
