r"""How results are written down: fields of tables, names in documents, and the transcripts' own formats.

tsv: a header line, then one row a recording (`transcribe`), a sentence (`transcribe --speakers`), a word (`transcribe
--words`) or a segment (`vad`). Within
a field a tab is written `\t`, a line feed `\n`, a carriage return `\r`, a backslash `\\`, and every other control
character or separator of lines `\uXXXX`; so a row has as many fields as the header, and reading it back is undoing
these. ctm: see ctm.py. Stdlib only.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any

from mlx_model.errors import UsageError
from mlx_model.files.names import written
from mlx_model.text import subtitles
from mlx_model.text.ctm import ctm
from mlx_model.text.results import Segment, Sentence, SentenceInfo, Transcript, Word
from mlx_model.text.speaker_names import speaker_name
from mlx_model.text.speakers import Diarization, Turn, rttm
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
        "sentences": result.sentences and [_sentence(sentence) for sentence in result.sentences],
        "segments": result.segments and [segment_row(part) for part in result.segments],
        "language": result.language,
        "emotion": result.emotion,
        "events": result.events,
        **_whole(result),
    }


def _sentence(one: Sentence) -> dict[str, Any]:
    fields = ("text", "start_ms", "end_ms", "speaker", "confidence")
    return {field: getattr(one, field) for field in fields}


def _whole(result: Transcript) -> dict[str, Any]:
    """What the whole pipeline says beside, FunASR's fields by their names among it; nothing where it did not run."""
    if result.sentence_info is None and result.raw_text is None and result.turns is None:
        return {}
    return {
        "turns": result.turns and [dataclasses.asdict(turn) for turn in result.turns],
        **funasr_fields(result),
    }


def funasr_fields(result: Transcript) -> dict[str, Any]:
    """Return a recording's entry of what FunASR's `generate` returns: key; timestamp, sentence_info where there are.

    `key` is the file's name without its extension; of a waveform FunASR draws one at random, here it is empty.
    """
    times = result.timestamp
    if times is None and result.words is not None:
        times = [[word.start_ms, word.end_ms] for word in result.words]
    info = result.sentence_info
    rows = None if info is None else [_info(one) for one in info]
    raw = {} if result.raw_text is None else {"raw_text": result.raw_text}
    return raw | {"key": "" if result.path is None else PurePath(result.path).stem} | {
        field: value for field, value in (("timestamp", times), ("sentence_info", rows)) if value is not None
    }


def _info(one: SentenceInfo) -> dict[str, Any]:
    optional = {"spk", "raw_text", "sentence"}
    rows = dataclasses.asdict(one).items()
    return {field: value for field, value in rows if value is not None or field not in optional}


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
    if words is None:
        return None
    fields = ["text", "start_ms", "end_ms", "confidence"]
    fields += ["speaker"] if any(word.speaker is not None for word in words) else []
    return [{field: getattr(word, field) for field in fields} for word in words]


def _as_textgrid(results: Sequence[Transcript]) -> str:
    """Praat's TextGrid of one recording: a tier of segments where a VAD found some, and one of words with times.

    Nothing of one that could not be read: Praat opens no grid of 0 s.
    """
    (item,) = results
    if item.error and not item.duration_s:
        return ""
    if item.turns is not None:
        return textgrid(item.duration_s, _tiers_of_speakers(item))
    tiers: dict[str, Sequence[Segment | Word]] = {} if item.segments is None else {"segments": item.segments}
    words = spoken(item)
    tiers |= {"words": words} if words or not tiers else {}
    return textgrid(item.duration_s, {tier: [_interval(one) for one in found] for tier, found in tiers.items()})


def _tiers_of_speakers(item: Transcript) -> dict[str, list[Interval]]:
    """A tier of sentences for each speaker, in the order in which they speak first, then one of all words."""
    tiers: dict[str, list[Interval]] = {}
    for one in item.sentences or ():
        tiers.setdefault(speaker_name(one.speaker), []).append((one.start_ms / 1000, one.end_ms / 1000, one.text))
    return {**tiers, "words": [_interval(word) for word in spoken(item)]}


def spoken(result: Transcript) -> list[Word]:
    """Return a recording's words with times, its own or its segments'; none where nobody knows them."""
    if result.words is not None:
        return result.words
    return [word for part in result.segments or () for word in part.words or ()]


def _interval(one: Segment | Word) -> Interval:
    return one.start_ms / 1000, one.end_ms / 1000, one.text


def _as_tsv(results: Sequence[Transcript]) -> str:
    if any(r.turns is not None for r in results):
        return _sentences_tsv(results)
    rows = [tsv_row(name(r.path), f"{r.duration_s:.3f}", r.text, r.error) for r in results]
    return "\n".join(["path\tduration_s\ttext\terror", *rows])


def words_tsv(results: Sequence[Transcript]) -> str:
    """Return a table with a row for each word; `confidence` is empty where a family gives none.

    Where speakers were told apart the last column names them.
    """
    told = any(r.turns is not None for r in results)
    rows = [
        tsv_row(
            name(r.path), word.start_ms, word.end_ms, word.text, _rounded(word.confidence),
            *([speaker_name(word.speaker)] if told else []),
        )
        for r in results
        for word in spoken(r)
    ]  # fmt: skip
    return "\n".join(["path\tstart_ms\tend_ms\tword\tconfidence" + "\tspeaker" * told, *rows])


def _sentences_tsv(results: Sequence[Transcript]) -> str:
    """A table with a row for each sentence, and one with the reason for each recording that has none."""
    rows = []
    for r in results:
        for one in r.sentences or ():
            said = speaker_name(one.speaker), one.text, _rounded(one.confidence), None
            rows.append(tsv_row(name(r.path), one.start_ms, one.end_ms, *said))
        if r.error:
            rows.append(tsv_row(name(r.path), None, None, None, None, None, r.error))
    return "\n".join(["path\tstart_ms\tend_ms\tspeaker\ttext\tconfidence\terror", *rows])


def _rounded(confidence: float | None) -> str | None:
    return None if confidence is None else f"{confidence:.4f}"


def _as_ctm(results: Sequence[Transcript]) -> str:
    return ctm([(name(result.path), spoken(result)) for result in results])


def _as_text(results: Sequence[Transcript]) -> str:
    """One line a recording; where speakers were told apart, one a sentence, with its time and its speaker."""
    return "\n".join(line for result in results for line in _lines(result))


def _lines(result: Transcript) -> list[str]:
    if result.turns is None or not result.sentences:
        return [" ".join(result.text.splitlines())]
    return [
        f"[{subtitles.clock(one.start_ms, '.')}] {speaker_name(one.speaker)}: {' '.join(one.text.splitlines())}"
        for one in result.sentences
    ]


def _as_rttm(results: Sequence[Transcript]) -> str:
    """Who speaks when; `speakers.py` has the format."""
    return rttm(
        [
            Diarization(
                path=name(result.path),
                turns=[Turn(one.start_ms / 1000, one.end_ms / 1000, one.speaker) for one in result.turns or ()],
            )
            for result in results
        ]
    )


FORMATS: dict[str, Callable[..., str]] = {  # only "json" takes more than results, see `to_document`
    "text": _as_text,
    "json": lambda results, **about: json.dumps(to_document(results, **about), ensure_ascii=False, indent=1),
    "tsv": _as_tsv,
    "srt": subtitles.srt,
    "vtt": subtitles.vtt,
    "textgrid": _as_textgrid,
    "ctm": _as_ctm,
    "rttm": _as_rttm,
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
