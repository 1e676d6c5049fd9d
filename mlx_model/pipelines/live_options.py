"""What a caller may ask of a stream of text: which options mean something there, and how `--chunk` is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlx_model.errors import UsageError
from mlx_model.pipelines.options import RANGES, check_pipe, check_ranges, refuse

FORMATS = ("text", "json")
# Of recordings that are heard as wholes, in batches.
NOT_LIVE = (
    "--batch-size", "--batch-seconds", "--merge-seconds", "--dither", "--seed", "--words", "--nbest",
    "--cue-seconds", "--cue-chars", "--cue-chars-cjk", "--speakers", "--num-speakers", "--spk-mode", "--html",
    "--out", "--overwrite",
)  # fmt: skip


def is_live(audio: Sequence[Any], stream: bool) -> bool:
    """Return whether text is wanted as it comes: `--stream`, or - (a pipe) as AUDIO."""
    return stream or any(str(item) == "-" for item in audio)


def check_live(audio: Sequence[Any], format: str, given: Mapping[str, Any]) -> None:
    """Refuse what means nothing together; see `options.check_transcribe`.

    Raises:
        UsageError: names the option, and what it needs; or one is out of its range.
    """
    check_ranges({option: value for option, value in given.items() if option in RANGES})
    check_pipe(audio, given)
    if format not in FORMATS:
        raise UsageError(f"--stream gives {' or '.join(FORMATS)}, not {format}: other formats are of whole recordings")
    refuse(given, NOT_LIVE, "is for recordings that are heard as wholes: leave it out, or --stream")
    if given["--vad"] is None:
        of_segments = ("--dynamic-silence", "--second-pass", "--punc")
        refuse(given, of_segments, "needs --vad VAD_MODEL, which finds where segments end")


def chunking(chunk: str | None, look_back: str | None) -> dict[str, Any]:
    """Return the options that `--chunk 0,10,5` and `--look-back 4,1` are; empty where neither is given.

    Raises:
        UsageError: one is not so many whole numbers. What numbers a stream can be made of, the family says.
    """
    found: dict[str, Any] = {}
    if chunk is not None:
        found["chunk_size"] = _numbers("--chunk", chunk, 3, "left,stride,right in frames of 60 ms, such as 0,10,5")
    if look_back is not None:
        numbers = _numbers("--look-back", look_back, 2, "chunks of encoder,decoder, such as 4,1")
        found |= zip(("encoder_chunk_look_back", "decoder_chunk_look_back"), numbers, strict=True)
    return found


def _numbers(option: str, text: str, count: int, meaning: str) -> list[int]:
    parts = text.split(",")
    try:
        found = [int(part) for part in parts]
    except ValueError:
        found = []
    if len(found) != count:
        raise UsageError(f"{option} {text}: expected {count} whole numbers, {meaning}")
    return found
