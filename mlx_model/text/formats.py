r"""How results are written down: fields of tables, names in documents, and the transcripts' own formats.

tsv: a header line, then one row a recording (`transcribe`), a word (`transcribe --words`) or a segment (`vad`). Within
a field a tab is written `\t`, a line feed `\n`, a carriage return `\r`, a backslash `\\`, and every other control
character or separator of lines `\uXXXX`; so a row has as many fields as the header, and reading it back is undoing
these. ctm: see ctm.py. Stdlib only.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

from mlx_model.errors import UsageError
from mlx_model.files.names import written
from mlx_model.text import subtitles
from mlx_model.text.ctm import ctm
from mlx_model.text.results import Segment, Transcript, Word
from mlx_model.text.subtitles import CueLimits
from mlx_model.text.textgrid import Interval, textgrid

_CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029]
_ESCAPED = {code: f"\\u{code:04x}" for code in _CONTROLS} | str.maketrans(
    {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
)


def tsv_field(text: str) -> str:
    """Return a field of a tsv row; see above. Half a surrogate pair, which no encoder takes, becomes ?."""
    return text.translate(_ESCAPED).encode("utf-8", "replace").decode("utf-8") if _is_odd(text) else text


def tsv_row(*fields: object) -> str:
    """Return one row, without a line break at its end; None is an empty field."""
    return "\t".join("" if value is None else tsv_field(str(value)) for value in fields)


def _is_odd(text: str) -> bool:
    return not text.isprintable() or "\\" in text


def name(path: str | None) -> str | None:
    """Return a recording's path as documents hold it (`names.written`), None for a waveform."""
    return None if path is None else written(path)


def to_document(results: Sequence[Transcript], **about: Any) -> dict[str, Any]:
    """Return the `--json` document: schema, results in input order (paths as `names.written` has them), numerics."""
    return {"schema": "transcribe/1", "results": [_row(result) for result in results], **about}


def _row(result: Transcript) -> dict[str, Any]:
    return {
        "path": name(result.path),
        "text": result.text,
        "token_ids": result.token_ids,
        "duration_s": result.duration_s,
        "error": result.error,
        "notes": result.notes,
        "words": _words(result.words),
        **_sureness(result),
        "sentences": result.sentences and [dataclasses.asdict(sentence) for sentence in result.sentences],
        "segments": result.segments and [segment_row(part) for part in result.segments],
        "language": result.language,
        "emotion": result.emotion,
        "events": result.events,
    }


def segment_row(part: Segment) -> dict[str, Any]:
    """Return a segment as documents hold it."""
    return {
        "start_ms": part.start_ms,
        "end_ms": part.end_ms,
        "text": part.text,
        "token_ids": part.token_ids,
        "error": part.error,
        "words": _words(part.words),
        **_sureness(part),
        "language": part.language,
        "emotion": part.emotion,
        "events": part.events,
    }


def _sureness(heard: Transcript | Segment) -> dict[str, Any]:
    """How sure the model is, where that was asked for."""
    others = heard.alternatives and [dataclasses.asdict(one) for one in heard.alternatives]
    return {
        "confidence": heard.confidence,
        "confidences": heard.confidences,
        "entropies": heard.entropies,
        "alternatives": others,
        "flags": heard.flags,
    }


def _words(words: Sequence[Word] | None) -> list[dict[str, Any]] | None:
    """Words as documents have them: text, times, confidence."""
    fields = ("text", "start_ms", "end_ms", "confidence")
    return None if words is None else [{field: getattr(word, field) for field in fields} for word in words]


def _as_textgrid(results: Sequence[Transcript]) -> str:
    """Praat's TextGrid of one recording: a tier of segments where a VAD found some, and one of words with times.

    Nothing of one that could not be read: Praat opens no grid of 0 s.
    """
    (item,) = results
    if item.error and not item.duration_s:
        return ""
    tiers: dict[str, Sequence[Segment | Word]] = {} if item.segments is None else {"segments": item.segments}
    words = spoken(item)
    tiers |= {"words": words} if words or not tiers else {}
    return textgrid(item.duration_s, {tier: [_interval(one) for one in found] for tier, found in tiers.items()})


def spoken(result: Transcript) -> list[Word]:
    """Return a recording's words with times, its own or its segments'; none where nobody knows them."""
    if result.words is not None:
        return result.words
    return [word for part in result.segments or () for word in part.words or ()]


def _interval(one: Segment | Word) -> Interval:
    return one.start_ms / 1000, one.end_ms / 1000, one.text


def _as_tsv(results: Sequence[Transcript]) -> str:
    rows = [tsv_row(name(r.path), f"{r.duration_s:.3f}", r.text, r.error) for r in results]
    return "\n".join(["path\tduration_s\ttext\terror", *rows])


def words_tsv(results: Sequence[Transcript]) -> str:
    """Return a table with a row for each word; `confidence` is empty where a family gives none."""
    rows = [
        tsv_row(name(r.path), word.start_ms, word.end_ms, word.text, _rounded(word.confidence))
        for r in results
        for word in spoken(r)
    ]
    return "\n".join(["path\tstart_ms\tend_ms\tword\tconfidence", *rows])


def _rounded(confidence: float | None) -> str | None:
    return None if confidence is None else f"{confidence:.4f}"


def _as_ctm(results: Sequence[Transcript]) -> str:
    return ctm([(name(result.path), spoken(result)) for result in results])


def _as_text(results: Sequence[Transcript]) -> str:
    """One line a recording."""
    return "\n".join(" ".join(result.text.splitlines()) for result in results)


FORMATS: dict[str, Callable[..., str]] = {  # only "json" takes more than results, see `to_document`
    "text": _as_text,
    "json": lambda results, **about: json.dumps(to_document(results, **about), ensure_ascii=False, indent=1),
    "tsv": _as_tsv,
    "srt": subtitles.srt,
    "vtt": subtitles.vtt,
    "textgrid": _as_textgrid,
    "ctm": _as_ctm,
}
SUBTITLES: dict[str, Callable[[Sequence[Transcript], CueLimits], str]] = {"srt": subtitles.srt, "vtt": subtitles.vtt}
NEED_TIMES = (*SUBTITLES, "textgrid", "ctm")  # the first three are of one recording
SINGLE = NEED_TIMES[:3]


def cue_limits(seconds: float | None, chars: int | None, wide_chars: int | None) -> CueLimits:
    """Return the limits of a cue; None leaves a default."""
    given = {"seconds": seconds, "chars": chars, "wide_chars": wide_chars}
    return CueLimits(**{key: value for key, value in given.items() if value is not None})  # pyright: ignore[reportArgumentType]


def document(name: str, results: Sequence[Transcript], limits: CueLimits, *, words: bool = False, **about: Any) -> str:
    """Return the results in a format.

    Args:
        name: of the format.
        results: of all recordings.
        limits: of a subtitle.
        words: of a tsv: a row for each word in place of one for each recording.
        about: what JSON says beside the results.
    """
    if name in SUBTITLES:
        return SUBTITLES[name](results, limits)
    return words_tsv(results) if words and name == "tsv" else FORMATS[name](results, **about)


def check_format(name: str, recordings: int) -> None:
    """Raise UsageError for an unknown format, or for several recordings in one that holds one."""
    if name not in FORMATS:
        raise UsageError(f"unknown format {name!r}; use {', '.join(FORMATS)}")
    if name in SINGLE and recordings > 1:
        raise UsageError(f"{name} is for one recording, not {recordings}; run once for each")


def check_times(name: str, results: Sequence[Transcript], family: str) -> None:
    """Raise UsageError where a text has words and none of them a time, which a format or an option needs."""
    if any(result.text.strip() and result.words is None and result.segments is None for result in results):
        raise UsageError(
            f"{name} needs times, and a {family} does not say when its words are spoken: add --vad VAD_MODEL"
        )
