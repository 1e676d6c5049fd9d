"""NIST's ctm: one line a word, `FILE CHANNEL START DURATION WORD [CONFIDENCE]`, sorted as sclite wants it. Stdlib only.

Where speakers were told apart, as in NIST's evaluations of who said what: `... CONFIDENCE lex SPEAKER`, `NA` for a
confidence that nobody knows.

FILE is the recording's name without folders and extension, as NIST has it; where two recordings would have the same,
their paths. White space in it, and in words, would be read as the end of the field, and `;;` as a comment: white space,
`%` and a leading `;` are written as URLs write them (`%20`), so that undoing it (urllib.parse.unquote) gives the name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from mlx_model.text.results import Word
from mlx_model.text.speaker_names import speaker_id

CHANNEL = "1"  # every recording is mixed to one
_BREAKING = re.compile(r"[\s%\x00-\x1f\x7f-\x9f]|^;")
Timed = tuple[str | None, Sequence[Word]]  # a recording's name, None for a waveform; its words


def ctm(recordings: Sequence[Timed]) -> str:
    """Return the lines of all recordings; one without a word has none. Seconds to the millisecond."""
    named = zip(names([path for path, _ in recordings]), recordings, strict=True)
    return "\n".join(
        _line(name, word)
        for name, (_, words) in sorted(named, key=lambda pair: pair[0])
        for word in sorted(words, key=lambda word: word.start_ms)
    )


def names(paths: Sequence[str | None]) -> list[str]:
    """Return what stands for each recording in the first field; a waveform is `waveform-` and its number."""
    given = [f"waveform-{number}" if path is None else path for number, path in enumerate(paths, 1)]
    short = [PurePath(path).stem or path for path in given]
    return [escaped(name) for name in (short if len(set(short)) == len(short) else given)]


def escaped(text: str) -> str:
    """Return a text that is one field, whatever it is; nothing at all is `%00`."""
    found = _BREAKING.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "replace")), text)
    return found.encode("utf-8", "replace").decode("utf-8") or "%00"


def _line(name: str, word: Word) -> str:
    length = max(word.end_ms - word.start_ms, 0) / 1000
    sure = "" if word.confidence is None else f" {word.confidence:.4f}"
    if word.speaker is not None:
        sure = f"{sure or ' NA'} lex {speaker_id(word.speaker)}"
    return f"{name} {CHANNEL} {word.start_ms / 1000:.3f} {length:.3f} {escaped(word.text)}{sure}"
