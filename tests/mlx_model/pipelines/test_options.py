"""Options that mean nothing, or are out of range. Oracle: the list, by hand."""

from __future__ import annotations

import math

import pytest

from mlx_model.errors import UsageError
from mlx_model.pipelines.options import RANGES, check_ranges, check_transcribe, check_vad, chosen_format

NONE_ASR = dict.fromkeys(
    ("--vad", "--merge-seconds", "--dynamic-silence", "--dither", "--seed", "--cue-seconds", "--cue-chars",
     "--cue-chars-cjk", "--words", "--nbest", "--rate", "--second-pass", "--punc", "--speakers", "--num-speakers",
     "--spk-mode", "--html", "--out", "--overwrite")
)  # fmt: skip
NONE_VAD = {
    **dict.fromkeys(("--chunk-ms", "--rate", "--max-end-silence-ms", "--threshold")),
    "--dynamic-silence": False,
}


@pytest.mark.parametrize("option", RANGES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1, -0.001, 1e300, 10**30])
def test_no_option_takes_nan_or_what_lies_outside(option: str, value: float):
    with pytest.raises(UsageError, match=f"^{option} .*: expected") as caught:
        check_ranges({"--batch-size": None, option: value})
    assert "\n" not in str(caught.value)


def test_borders():
    for option, (least, most, *beyond) in RANGES.items():
        check_ranges({option: most, "--seed": None})
        if beyond:
            with pytest.raises(UsageError, match="above 0"):
                check_ranges({option: least})
        else:
            check_ranges({option: least})


@pytest.mark.parametrize(
    ("changed", "format", "says"),
    [
        ({"--merge-seconds": 5.0}, "text", "--merge-seconds needs --vad"),
        ({"--dynamic-silence": True}, "text", "--dynamic-silence needs --vad"),
        ({"--dynamic-silence": False}, "text", "--no-dynamic-silence needs --vad"),
        ({"--seed": 3}, "text", "--seed needs --dither"),
        ({"--seed": 0, "--dither": 0.0}, "text", "--seed needs --dither"),
        ({"--cue-seconds": 5.0, "--vad": "m"}, "json", "--cue-seconds is for subtitles"),
        ({"--cue-chars": 5}, "text", "--cue-chars is for subtitles"),
        ({"--cue-chars-cjk": 5}, "tsv", "--cue-chars-cjk is for subtitles"),
        ({"--words": True}, "text", "--words is for json and tsv; text has no times"),
        ({"--words": True}, "ctm", "--words is for json and tsv; ctm is made of them"),
        ({"--nbest": 5}, "tsv", "--nbest needs --json"),
        ({"--nbest": 0}, "json", "--nbest 0: expected 1 to 100"),
        ({"--rate": 8000}, "json", "--rate is the rate of a pipe"),
        ({"--second-pass": "m", "--vad": "v"}, "json", "--second-pass needs --stream"),
        ({"--speakers": "s"}, "json", "--speakers needs --vad"),
        ({"--out": "o"}, "json", "--out needs --vad"),
        ({"--overwrite": True, "--vad": "v"}, "json", "--overwrite is for --out"),
        ({"--num-speakers": 2, "--vad": "v"}, "json", "--num-speakers needs --speakers"),
        ({"--spk-mode": "default", "--vad": "v"}, "json", "--spk-mode needs --speakers"),
        ({"--vad": "v"}, "rttm", "rttm says who speaks when: it needs --speakers"),
        ({"--num-speakers": 0, "--vad": "v", "--speakers": "s"}, "json", "--num-speakers 0: expected 1 to 1000"),
    ],
)
def test_transcribe_refuses_by_name_what_means_nothing(changed: dict, format: str, says: str):
    with pytest.raises(UsageError, match=says):
        check_transcribe(["a.wav"], format, {**NONE_ASR, **changed})


def test_transcribe_takes_what_means_something():
    check_transcribe(["a.wav"], "text", NONE_ASR)
    check_transcribe(["a.wav"], "text", {**NONE_ASR, "--seed": 3, "--dither": 1.0})
    given = {"--vad": "m", "--merge-seconds": 5.0, "--dynamic-silence": False, "--cue-seconds": 5.0, "--cue-chars": 30}
    check_transcribe(["a.wav"], "srt", {**NONE_ASR, **given})


@pytest.mark.parametrize(
    ("audio", "stream", "changed", "says"),
    [
        (["a.wav"], False, {"--rate": 8000}, "--rate is the rate of a pipe"),
        (["a.wav"], True, {"--rate": 8000}, "--rate is the rate of a pipe"),
        (["a.wav"], False, {"--chunk-ms": 100}, "--chunk-ms needs --stream"),
        (["-", "-"], False, {}, "given twice"),
        (["-", "a.wav"], False, {}, "stands alone"),
        (["a.wav"], False, {"--threshold": 0.5, "--dynamic-silence": True}, "--threshold means nothing beside"),
        (
            ["a.wav"],
            False,
            {"--max-end-silence-ms": 5, "--dynamic-silence": True},
            "--max-end-silence-ms means nothing",
        ),
    ],
)
def test_vad_refuses_by_name_what_means_nothing(audio: list[str], stream: bool, changed: dict, says: str):
    with pytest.raises(UsageError, match=says):
        check_vad(audio, stream, {**NONE_VAD, **changed})


def test_vad_takes_what_means_something():
    check_vad(["a.wav", "b.wav"], False, {**NONE_VAD, "--threshold": 0.4, "--max-end-silence-ms": 500})
    check_vad(["-"], False, {**NONE_VAD, "--rate": 8000, "--chunk-ms": 100})
    check_vad(["a.wav"], True, {**NONE_VAD, "--chunk-ms": 100})


def test_json_is_a_format():
    assert [chosen_format(None, as_json, "tsv") for as_json in (False, True)] == ["tsv", "json"]
    assert [chosen_format("json", as_json, "tsv") for as_json in (False, True)] == ["json", "json"]
    assert chosen_format("srt", False, "tsv") == "srt"
    with pytest.raises(UsageError, match="--json and --format srt contradict"):
        chosen_format("srt", True, "text")
