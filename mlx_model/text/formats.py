r"""How results are written down: fields of tables, names in documents, and the transcripts' own formats.

tsv: a header line, then one row a recording (`transcribe`) or a segment (`vad`). Within a field a tab is written `\t`,
a line feed `\n`, a carriage return `\r`, a backslash `\\`, and every other control character or separator of lines
`\uXXXX`; so a row has as many fields as the header, and reading it back is undoing these. Stdlib only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from mlx_model.errors import UsageError
from mlx_model.files.names import written
from mlx_model.text import subtitles
from mlx_model.text.results import Transcript
from mlx_model.text.subtitles import CueLimits

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
    segments = result.segments and [
        {
            "start_ms": part.start_ms,
            "end_ms": part.end_ms,
            "text": part.text,
            "token_ids": part.token_ids,
            "error": part.error,
        }
        for part in result.segments
    ]
    return {
        "path": name(result.path),
        "text": result.text,
        "token_ids": result.token_ids,
        "duration_s": result.duration_s,
        "error": result.error,
        "notes": result.notes,
        "segments": segments,
    }


def _as_tsv(results: Sequence[Transcript]) -> str:
    rows = [tsv_row(name(r.path), f"{r.duration_s:.3f}", r.text, r.error) for r in results]
    return "\n".join(["path\tduration_s\ttext\terror", *rows])


def _as_text(results: Sequence[Transcript]) -> str:
    """One line a recording."""
    return "\n".join(" ".join(result.text.splitlines()) for result in results)


FORMATS: dict[str, Callable[..., str]] = {  # only "json" takes more than results, see `to_document`
    "text": _as_text,
    "json": lambda results, **about: json.dumps(to_document(results, **about), ensure_ascii=False, indent=1),
    "tsv": _as_tsv,
    "srt": subtitles.srt,
    "vtt": subtitles.vtt,
}
SUBTITLES: dict[str, Callable[[Sequence[Transcript], CueLimits], str]] = {"srt": subtitles.srt, "vtt": subtitles.vtt}
NEED_TIMES = tuple(SUBTITLES)


def cue_limits(seconds: float | None, chars: int | None, wide_chars: int | None) -> CueLimits:
    """Return the limits of a cue; None leaves a default."""
    given = {"seconds": seconds, "chars": chars, "wide_chars": wide_chars}
    return CueLimits(**{key: value for key, value in given.items() if value is not None})  # pyright: ignore[reportArgumentType]


def document(name: str, results: Sequence[Transcript], limits: CueLimits, **about: Any) -> str:
    """Return the results in a format; `limits` are those of subtitles, `about` what JSON says beside the results."""
    return SUBTITLES[name](results, limits) if name in SUBTITLES else FORMATS[name](results, **about)


def check_format(name: str, timed_recordings: int = 0) -> None:
    """Raise UsageError for an unknown format, or for subtitles of anything but one recording with segments."""
    if name not in FORMATS:
        raise UsageError(f"unknown format {name!r}; use {', '.join(FORMATS)}")
    if name in NEED_TIMES and not timed_recordings:
        others = ", ".join(other for other in FORMATS if other not in NEED_TIMES)
        raise UsageError(f"{name} needs times: add --vad VAD_MODEL, or use {others}")
    if name in NEED_TIMES and timed_recordings > 1:
        raise UsageError(f"{name} is for one recording, not {timed_recordings}; run once for each")
