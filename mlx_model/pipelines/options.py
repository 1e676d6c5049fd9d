"""What a caller may ask of `transcribe` and `vad`: ranges, NaN, sense, and the options of a model's family.

An option that does nothing where it stands is refused by its name, in the command line's words, before a model is
loaded; one that the model's family does not have, or a value that it does not take, as soon as the family is known.
Stdlib only.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
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
    "--nbest": (1, 100),
    "--num-speakers": (1, 1000),
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
        UsageError: names the option, and what it needs; or one is out of its range.
    """
    check_ranges({option: value for option, value in given.items() if option in RANGES})
    refuse(given, ("--second-pass",), "needs --stream: the second pass hears what a stream's --vad has found")
    refuse(given, ("--rate",), "is the rate of a pipe: it needs - as AUDIO; files say theirs")
    if given["--vad"] is None:
        refuse(given, ("--merge-seconds", "--dynamic-silence", "--speakers", "--out"), "needs --vad VAD_MODEL")
    if given["--speakers"] is None:
        refuse(given, ("--num-speakers", "--spk-mode"), "needs --speakers SPEAKER_MODEL")
        if format == "rttm":
            raise UsageError("--format rttm says who speaks when: it needs --speakers SPEAKER_MODEL")
    if given["--out"] is None:
        refuse(given, ("--overwrite",), "is for --out: nothing is written without it")
    if len(audio) > 1:
        refuse(given, ("--html",), f"is the page of one recording, not {len(audio)}; run once for each")
    if format not in ("srt", "vtt"):
        refuse(given, ("--cue-seconds", "--cue-chars", "--cue-chars-cjk"), "is for subtitles: --format srt or vtt")
    if format not in ("json", "tsv"):
        refuse(given, ("--words",), f"is for json and tsv; {format} {_has_words(format)}")
    if format != "json":
        refuse(given, ("--nbest",), "needs --json: no other format has room for several readings")
    if not given["--dither"]:
        refuse(given, ("--seed",), "needs --dither above 0: nothing else is drawn at random")


def _has_words(format: str) -> str:
    return "is made of them" if format in ("srt", "vtt", "textgrid", "ctm") else "has no times"


def check_vad(audio: Sequence[str], stream: bool, given: Mapping[str, Any]) -> None:
    """Refuse what means nothing together; arguments and errors as for `check_transcribe`."""
    check_ranges({option: value for option, value in given.items() if option in RANGES})
    if not check_pipe(audio, given) and not stream:
        refuse(given, ("--chunk-ms",), "needs --stream, or - as AUDIO: a file is decided on as a whole")
    if given["--dynamic-silence"]:
        replaced = ("--max-end-silence-ms", "--threshold")
        refuse(given, replaced, "means nothing beside --dynamic-silence, which sets it: leave one of them out")


def check_pipe(audio: Sequence[Any], given: Mapping[str, Any]) -> bool:
    """Return whether - (standard input) is to be read; UsageError where it does not stand alone."""
    piped = [str(item) for item in audio].count("-")
    if piped > 1:
        raise UsageError("- (standard input) is given twice; it can be read once")
    if piped and len(audio) > 1:
        raise UsageError("- (standard input) stands alone; run once more for the files")
    if not piped:
        refuse(given, ("--rate",), "is the rate of a pipe: it needs - as AUDIO; files say theirs")
    return bool(piped)


def refuse(given: Mapping[str, Any], options: Sequence[str], why: str) -> None:
    """Raise UsageError for the first of these options that was given."""
    for option in options:
        value = given[option]
        if value is not None:
            raise UsageError(f"{'--no-' + option[2:] if value is False else option} {why}")


# Options of families that the command line has by names of their own; every other one is --option NAME=VALUE.
FLAGS = {
    "language": "--language", "use_itn": "--itn", "as_funasr": "--as-funasr", "hotwords": "--hotwords",
    "chunk_size": "--chunk", "encoder_chunk_look_back": "--look-back", "decoder_chunk_look_back": "--look-back",
}  # fmt: skip
SWITCHES = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}


def options_given(model: Any, texts: Sequence[str] | None, **flags: Any) -> dict[str, Any]:
    """Return the values that a command line gives to options of a model's family, by their names, checked.

    Args:
        model: a model, or the class of one.
        texts: of every `--option NAME=VALUE`.
        flags: what FLAGS were given; None is a flag that was not.

    Raises:
        UsageError: see `options_from` and `options_of_text`; or an option is given twice.
    """
    found = options_of_text(model, texts or ())
    spelt = {name: f"--option {name}" for name in found}
    for name, value in flags.items():
        if value is None:
            continue
        if name in found:
            raise UsageError(f"--option {name} and {FLAGS[name]} say the same: leave one of them out")
        found[name] = value
        spelt[name] = FLAGS[name].replace("--", "--no-", 1) if value is False else FLAGS[name]
    made = options_from(model, found, spelt)
    return {name: getattr(made, name) for name in found}  # what was read of a file or a pipe is not read again


def loose_options(texts: Sequence[str] | None, **flags: Any) -> dict[str, Any]:
    """Return the same for a program that has options of its own: on and off are switches, whole numbers numbers."""
    pairs = [text.partition("=") for text in texts or ()]
    if wrong := [name for name, equals, _ in pairs if not (name and equals)]:
        raise UsageError(f"--option {wrong[0]}: expected NAME=VALUE")
    found = {name: int(value) if value.isdecimal() else SWITCHES.get(value.lower(), value) for name, _, value in pairs}
    return found | {name: value for name, value in flags.items() if value is not None}


def options_from(model: Any, given: Mapping[str, Any], spelt: Mapping[str, str] | None = None) -> Any:
    """Return a family's options with these values, checked; the others are as they are by default.

    Args:
        model: a model, or the class of one: its `Options` is a frozen dataclass.
        given: values by the options' names; None is an option that was not given.
        spelt: how the caller wrote an option, for errors; by its name.

    Raises:
        UsageError: the family has no such option (the message lists those it has), or it does not take the value.
    """
    kinds = option_kinds(model)
    values = {name: value for name, value in given.items() if value is not None}
    for name, value in values.items():
        said = (spelt or {}).get(name, name)
        if name not in kinds:
            raise UsageError(f"{said}: a {_family(model)} has no such option; it has {listing(model)}")
        if not _is_of(value, kinds[name]):
            raise UsageError(f"{said} = {value!r}: expected {_kind(kinds[name])}")
    return model.Options(**values)


def option_kinds(model: Any) -> dict[str, Any]:
    """Return the types of a family's options, by their names."""
    hints = typing.get_type_hints(model.Options)
    return {field.name: hints[field.name] for field in dataclasses.fields(model.Options)}


def listing(model: Any) -> str:
    """Return a family's options and what they are by default, in words."""
    fields = dataclasses.fields(model.Options)
    return ", ".join(f"{field.name} ({_shown(field.default)})" for field in fields) or "none"


def options_of_text(model: Any, texts: Sequence[str]) -> dict[str, Any]:
    """Return the values of `--option NAME=VALUE ...`, each read as the type that the family's option has.

    Raises:
        UsageError: one is not NAME=VALUE, comes twice, or is no value of that type.
    """
    kinds, found = option_kinds(model), {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--option {text}: expected NAME=VALUE; a {_family(model)} has {listing(model)}")
        if name in found:
            raise UsageError(f"--option {name} is given twice")
        found[name] = _read(name, value, kinds.get(name, str))
    return found


def _family(model: Any) -> str:
    return model.__module__.rpartition(".")[2]  # a family's module has its name


def _read(name: str, text: str, kind: Any) -> Any:
    wanted = _simple(kind)
    try:
        if wanted == (Sequence[int],):
            return [int(part) for part in text.split(",")]
        return SWITCHES[text.lower()] if bool in wanted else next(iter(wanted))(text)
    except (KeyError, ValueError):
        raise UsageError(f"--option {name}={text}: expected {_kind(kind)}") from None


def _simple(kind: Any) -> tuple[type[Any], ...]:
    """Return the types that a value may have, None left out."""
    kinds = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    return tuple(one for one in kinds if one is not type(None))


def _is_of(value: Any, kind: Any) -> bool:
    wanted = _simple(kind)
    if not {*wanted} <= {bool, int, float, str}:
        return True  # the dataclass knows
    if isinstance(value, bool):
        return bool in wanted
    return isinstance(value, wanted) or (float in wanted and isinstance(value, int))


def _kind(kind: Any) -> str:
    names = {bool: "on or off", int: "a whole number", float: "a number", str: "text", Sequence[int]: "whole numbers"}
    return " or ".join(names.get(one, one.__name__) for one in _simple(kind))


def _shown(default: object) -> str:
    return {True: "on", False: "off"}[default] if isinstance(default, bool) else str(default)
