"""The page of a meeting that `transcribe --html FILE` writes: a Transcript as a report, and the recording within it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from reports.schema import MeetingReport, MeetingSentence, MeetingSpeaker, MeetingTurn

if TYPE_CHECKING:
    from mlx_model.text.results import Sentence, Transcript, Word

LONGEST_S = 3 * 3600  # of a recording that a page holds: some 25 MB an hour
DOUBTED = 0.5  # a word with less confidence is shown as doubtful


def write_page(out: Path, result: Transcript, models: dict[str, str], numerics: dict[str, Any]) -> Path:
    """Write the page of a recording and return its path.

    Raises:
        UsageError: something else than a page of ours is there.
        OutputError: it cannot be written.
    """
    from mlx_model.errors import OutputError, UsageError
    from reports.render import write_page as rendered

    try:
        return rendered(out, report_of(result, models, numerics))
    except ValueError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}") from error


def report_of(result: Transcript, models: dict[str, str], numerics: dict[str, Any]) -> MeetingReport:
    """Return what the page shows; speakers are numbered anew, in the order of their first turn."""
    from mlx_model.files.names import shown
    from mlx_model.text.speaker_names import speaker_name
    from reports.environment import describe

    turns, sentences = result.turns or [], _sentences(result)
    speakers = list(dict.fromkeys(turn.speaker for turn in sorted(turns, key=lambda turn: turn.start_ms)))
    speakers = list(dict.fromkeys([*speakers, *(one.speaker for one in sentences if one.speaker is not None)]))
    place = {speaker: number for number, speaker in enumerate(speakers)}
    said, counted = Counter(one.speaker for one in sentences), Counter(turn.speaker for turn in turns)
    spoken = dict.fromkeys(speakers, 0.0)
    for turn in turns:
        spoken[turn.speaker] += (turn.end_ms - turn.start_ms) / 1000
    total = sum(spoken.values()) or 1.0
    notes = [*result.notes, *([result.error] if result.error else [])]
    return MeetingReport(
        recording=shown(PurePath(result.path or "").name),
        duration_s=result.duration_s,
        sentences=[_row(one, place, words) for one, words in _with_words(sentences, result.words or [])],
        speakers=[
            MeetingSpeaker(
                name=speaker_name(one), seconds=spoken[one], share=spoken[one] / total, turns=counted[one],
                sentences=said[one],
            )
            for one in speakers
        ],
        turns=[
            MeetingTurn(start_s=turn.start_ms / 1000, end_s=turn.end_ms / 1000, speaker=place[turn.speaker])
            for turn in turns
        ],
        confidence=result.confidence,
        least_confidence=DOUBTED,
        audio=_audio(result, notes),
        models=models,
        notes=notes,
        environment=describe(),
        numerics=numerics,
    )  # fmt: skip


def _sentences(result: Transcript) -> list[Sentence]:
    """The sentences, or where nothing cut any the segments, or all of the text."""
    from mlx_model.text.results import Sentence

    if result.sentences is not None:
        return result.sentences
    parts = [(part.text, part.start_ms, part.end_ms, part.confidence) for part in result.segments or ()]
    parts = parts or [(result.text, 0, round(result.duration_s * 1000), result.confidence)]
    return [
        Sentence(text=text, start_ms=start, end_ms=end, confidence=sure)
        for text, start, end, sure in parts
        if text.strip()
    ]


def _with_words(sentences: list[Sentence], words: list[Word]) -> list[tuple[Sentence, list[Word]]]:
    """Each sentence with its words; none where nobody counted them."""
    found, at = [], 0
    for one in sentences:
        found.append((one, words[at : at + one.words]))
        at += one.words
    return found


def _row(one: Sentence, place: dict[int, int], words: list[Word]) -> MeetingSentence:
    return MeetingSentence(
        text=one.text,
        start_s=one.start_ms / 1000,
        end_s=one.end_ms / 1000,
        speaker=None if one.speaker is None else place[one.speaker],
        confidence=one.confidence,
        doubts=_doubts(one.text, words),
    )


def _doubts(text: str, words: list[Word]) -> list[list[int]]:
    """Where in the text the words stand that are not sure, neighbours together."""
    found, at = list[list[int]](), 0
    for word in words:
        start = text.casefold().find(word.text.casefold(), at)
        if start < 0:
            continue
        at = start + len(word.text)
        if word.confidence is None or word.confidence >= DOUBTED:
            continue
        if found and not text[found[-1][1] : start].strip():
            found[-1][1] = at
        else:
            found.append([start, at])
    return [pair for pair in found if pair[1] <= len(text)]


def _audio(result: Transcript, notes: list[str]) -> str | None:
    from mlx_model.audio.files import blocks
    from mlx_model.errors import AudioError
    from parity.cer.clips import RATE, uri_of

    if result.path is None or result.error is not None:
        return None
    if result.duration_s > LONGEST_S:
        notes.append(f"the page holds no recording: it is longer than {LONGEST_S // 3600} hours")
        return None
    try:
        return uri_of(blocks(result.path, RATE))
    except AudioError as error:
        notes.append(f"the page holds no recording: {error}")
        return None
