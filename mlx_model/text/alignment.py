"""What comes of recordings whose text is known: words with times, and how that is written down. Stdlib only.

The formats are those of transcripts (formats.py), where words have times; text and tsv have a line a word.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from mlx_model.errors import UsageError
from mlx_model.text import formats
from mlx_model.text.formats import name, tsv_row
from mlx_model.text.results import Segment, Transcript, Word
from mlx_model.text.subtitles import CueLimits


class Timed(NamedTuple):
    """A text's words with times, FunASR's beside them, how far all can be trusted, and what there is to say.

    `confidence` is 0 to 1, None where there is no word; `error` says why there are none.
    """

    words: list[Word]
    funasr_words: list[Word]
    confidence: float | None
    notes: list[str]
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """What came of one recording and its text. `path` is None for a waveform; `error` is None, or one line.

    `words` are those of the text, marks left out; `written` has them with the marks beside them. `funasr_words` are
    the words and times that FunASR gives the same text: as long as its own list is, which may be shorter than its
    words are. `confidence` says how well the text as a whole fits the recording, 0 to 1.
    """

    path: str | None
    text: str
    duration_s: float = 0.0
    error: str | None = None
    words: list[Word] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    funasr_words: list[Word] = field(default_factory=list)
    confidence: float | None = None
    notes: list[str] = field(default_factory=list)

    def transcript(self, *, marks: bool) -> Transcript:
        """Return the same as a transcript of one segment; `marks`: words with the marks that stand beside them."""
        words = self.words
        if marks:
            pairs = zip(words, self.written or [word.text for word in words], strict=True)
            words = [replace(word, text=written) for word, written in pairs]
        segments = []
        if words:
            start, end = words[0].start_ms, words[-1].end_ms
            segments = [Segment(start_ms=start, end_ms=end, text=self.text, token_ids=[], words=words)]
        return Transcript(
            path=self.path, text=self.text, token_ids=[], duration_s=self.duration_s, error=self.error, words=words,
            segments=segments, notes=self.notes,
        )  # fmt: skip


def to_document(results: Sequence[Alignment], **about: Any) -> dict[str, Any]:
    """Return the `--json` document: schema, results in input order (paths as `names.written` has them), numerics."""
    rows = [
        {
            "path": name(item.path),
            "text": item.text,
            "duration_s": item.duration_s,
            "error": item.error,
            "notes": item.notes,
            "confidence": item.confidence,
            "words": formats._words(item.words),
            "funasr_words": [[word.text, word.start_ms, word.end_ms] for word in item.funasr_words],
        }
        for item in results
    ]
    return {"schema": "align/1", "results": rows, **about}


def _as_text(results: Sequence[Alignment]) -> str:
    """A line a word: start and end in seconds, the word; with several recordings each one's path above its words."""
    lines: list[str] = []
    for item in results:
        lines += [f"# {name(item.path)}"] if len(results) > 1 else []
        lines += [f"{word.start_ms / 1000:.3f} {word.end_ms / 1000:.3f} {word.text}" for word in item.words]
    return "\n".join(lines)


def _as_tsv(results: Sequence[Alignment]) -> str:
    rows = [
        tsv_row(name(item.path), word.start_ms, word.end_ms, word.text, _rounded(word.confidence))
        for item in results
        for word in item.words
    ]
    return "\n".join(["path\tstart_ms\tend_ms\ttext\tconfidence", *rows])


def _rounded(confidence: float | None) -> str | None:
    return None if confidence is None else f"{confidence:.3f}"


OWN: dict[str, Callable[..., str]] = {  # only "json" takes more than results, see `to_document`
    "text": _as_text,
    "json": lambda results, **about: json.dumps(to_document(results, **about), ensure_ascii=False, indent=1),
    "tsv": _as_tsv,
}
# An aligner does not know who speaks.
FORMATS = tuple(name for name in dict.fromkeys([*OWN, *formats.FORMATS]) if name != "rttm")


def document(wanted: str, results: Sequence[Alignment], limits: CueLimits, **about: Any) -> str:
    """Return the results in a format; `limits` are those of subtitles, `about` what JSON says beside the results."""
    if wanted in OWN:
        return OWN[wanted](results, **about)
    marks = wanted in formats.SUBTITLES
    return formats.document(wanted, [item.transcript(marks=marks) for item in results], limits)


def check_format(wanted: str, recordings: int) -> None:
    """Raise UsageError for an unknown format, or for several recordings in one that holds one."""
    if wanted not in FORMATS:
        raise UsageError(f"unknown format {wanted!r}; use {', '.join(FORMATS)}")
    if wanted in formats.SINGLE and recordings != 1:
        raise UsageError(f"{wanted} is for one recording, not {recordings}; run once for each")
