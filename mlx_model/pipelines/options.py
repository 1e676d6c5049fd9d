"""What a caller may ask of `transcribe` and `vad`, checked before a model is loaded: ranges, NaN, and sense.

An option that does nothing where it stands is refused by its name, in the command line's words. Stdlib only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mlx_model.audio.plain_wave import MAX_RATE, MIN_RATE
from mlx_model.errors import UsageError

LONGEST_S = 86400.0  # of a batch, or of joined segments: a day
LONGEST_MS = 60_000  # of a chunk (FunASR's own for whole recordings), or of the silence that ends a segment
# option -> (least, most); a tuple's third entry: the least is not allowed itself
RANGES: dict[str, tuple[float, float] | tuple[float, float, bool]] = {
    "--batch-size": (1, 1_000_000),
    "--batch-seconds": (0, LONGEST_S, True),
    "--merge-seconds": (0, LONGEST_S, True),
    "--dither": (0, 32768),
    "--seed": (0, 2**64 - 1),
    "--cue-seconds": (0.5, 3600),
    "--cue-chars": (1, 1000),
    "--cue-chars-cjk": (1, 1000),
    "--chunk-ms": (1, LONGEST_MS),
    "--rate": (MIN_RATE, MAX_RATE),
    "--max-end-silence-ms": (0, LONGEST_MS),
    "--threshold": (0, 1),
}


def check_ranges(given: Mapping[str, float | None]) -> None:
    """Raise UsageError for the first option out of its range, or NaN; None is an option that was not given."""
    for option, value in given.items():
        if value is None:
            continue
        least, most, *beyond = RANGES[option]
        if not (least <= value <= most) or (beyond and value == least) or math.isnan(value):
            low = f"above {_said(least)}, " if beyond else f"{_said(least)} to "
            high = f"at most {_said(most)}" if beyond else _said(most)
            raise UsageError(f"{option} {_said(value)}: expected {low}{high}")


def _said(value: float) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def chosen_format(format: str | None, json: bool, default: str) -> str:
    """Return the format that --format and --json ask for; UsageError where they contradict each other."""
    if json and format not in (None, "json"):
        raise UsageError(f"--json and --format {format} contradict each other: leave one of them out")
    return "json" if json else default if format is None else format


def check_transcribe(audio: Sequence[Any], format: str, given: Mapping[str, Any]) -> None:
    """Refuse what means nothing together.

    Args:
        audio: the recordings as they were named.
        format: of the result.
        given: the options by their names on the command line; None where an option was not given.

    Raises:
        UsageError: names the option, and what it needs.
    """
    if any(str(item) == "-" for item in audio):
        raise UsageError("transcribe reads files; - (samples from a pipe) is for vad. A file of that name is ./-")
    if given["--vad"] is None:
        _refuse(given, ("--merge-seconds", "--dynamic-silence"), "needs --vad VAD_MODEL")
    if format not in ("srt", "vtt"):
        _refuse(given, ("--cue-seconds", "--cue-chars", "--cue-chars-cjk"), "is for subtitles: --format srt or vtt")
    if not given["--dither"]:
        _refuse(given, ("--seed",), "needs --dither above 0: nothing else is drawn at random")


def check_vad(audio: Sequence[str], stream: bool, given: Mapping[str, Any]) -> None:
    """Refuse what means nothing together; arguments and errors as for `check_transcribe`."""
    piped = audio.count("-")
    if piped > 1:
        raise UsageError("- (standard input) is given twice; it can be read once")
    if piped and len(audio) > 1:
        raise UsageError("- (standard input) stands alone; run once more for the files")
    if not piped:
        _refuse(given, ("--rate",), "is the rate of a pipe: it needs - as AUDIO; files say theirs")
    if not piped and not stream:
        _refuse(given, ("--chunk-ms",), "needs --stream, or - as AUDIO: a file is decided on as a whole")
    if given["--dynamic-silence"]:
        replaced = ("--max-end-silence-ms", "--threshold")
        _refuse(given, replaced, "means nothing beside --dynamic-silence, which sets it: leave one of them out")


def _refuse(given: Mapping[str, Any], options: Sequence[str], why: str) -> None:
    for option in options:
        value = given[option]
        if value is not None:
            raise UsageError(f"{'--no-' + option[2:] if value is False else option} {why}")
