"""Files that are no texts of utterances, told by what stands in them and refused with a word on what they are.

Stdlib only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlx_model.errors import DatasetError
from parity.cer.lists import IdLine, quoted
from parity.cer.lists import id_of as split_id
from parity.cer.texts import timed
from parity.cer.texts.head import Head
from parity.sides.audio_files import AUDIO_SUFFIXES

_WORDLIKE = 0.8  # of all first words, without a digit or a mark: lines of text begin so, ids seldom do
_LETTERS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_IDEOGRAPHS = re.compile("[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]")
_OTHER_SUFFIXES = (".sph", ".pcm", ".raw", ".amr", ".ark", ".npy", ".pt")  # what else a Kaldi list points to
_EXPECTED = "expected `ID text` lines (or trn, stm, ctm, JSON, a table)"
_BEGINNINGS: tuple[tuple[str, str], ...] = (
    (r"WEBVTT", "WebVTT subtitles, which name no utterance"),
    (r"\d+\s*\Z", "SubRip subtitles, which name no utterance"),
    (r"File type = \"ooTextFile", "a Praat TextGrid"),
    (r"version https://git-lfs", "a pointer of Git LFS, not the file itself (git lfs pull fetches it)"),
    (r"<\?xml|<!doctype|<html|<[a-zA-Z]+[ >]", "markup (HTML or XML)"),
    (r"%PDF|PK\x03\x04", "no text file"),
)


def refuse(head: Head) -> None:
    """Raise DatasetError where the file's beginning says that it is something else."""
    first, second = (*head.lines, "", "")[:2]
    for pattern, what in _BEGINNINGS:
        numbered = "SubRip" in what  # a number alone begins other files, too
        if re.match(pattern, first, re.IGNORECASE) and (not numbered or "-->" in second):
            raise DatasetError(f"{head.where()}: {what}; {_EXPECTED}")
    if all(line.split()[0] == "SPEAKER" and len(line.split()) >= 9 for line in head.lines):
        raise DatasetError(f"{head.where()}: rttm, which holds speakers and no texts; {_EXPECTED}")


def refuse_lists(head: Head) -> None:
    """Raise DatasetError where `ID rest` lines hold something else than texts: paths, times, commands."""
    rows = [line.split() for line in head.lines]
    rests = [split_id(line)[1].strip() for line in head.lines]
    if all(map(_is_path, rests)):
        raise DatasetError(
            f"{head.where()}: {quoted(rests[0])} is a path or a command, as in a wav.scp; expected the texts of the "
            "utterances"
        )
    for fits, what in ((timed.is_segments, "segments (start and end)"), (timed.is_durations, "durations")):
        if fits(rows):
            raise DatasetError(f"{head.where()}: {quoted(head.lines[0])} is a list of {what}; expected texts")


def _is_path(text: str) -> bool:
    if text.endswith("|") or re.search(r"\.ark:\d+$", text):
        return True
    suffix = "." + text.rpartition(".")[2].lower()
    return suffix in (*AUDIO_SUFFIXES, *_OTHER_SUFFIXES) and not re.search(r"\s", text)


def look_like_words(lines: Sequence[IdLine]) -> bool:
    """Whether what was read as ids are the first words of texts: letters only, of the script that follows them.

    One letter alone (a, b, c) is an id, and so is a name before a text of another script.
    """
    found = [line for line in lines if _LETTERS.fullmatch(line.utt_id)]
    if len(found) < _WORDLIKE * len(lines) or all(len(line.utt_id) == 1 for line in found):
        return False
    same = [line for line in found if not line.rest or _script(line.utt_id) == _script(line.rest)]
    return len(same) >= _WORDLIKE * len(lines)


def _script(text: str) -> bool:
    return _IDEOGRAPHS.search(text) is not None
