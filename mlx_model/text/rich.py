"""SenseVoice's tags: what they say of a recording, and the text with emojis in their place. Stdlib only.

Mirrors funasr/utils/postprocess_utils.py::rich_transcription_postprocess. Tags are pieces of the vocabulary like any
other (`<|zh|>`), so a text carries them as it is read out; most stand at its beginning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

LANGUAGES = ("zh", "en", "yue", "ja", "ko", "nospeech")
EMOTIONS = {
    "HAPPY": "😊", "SAD": "😔", "ANGRY": "😡", "NEUTRAL": "", "FEARFUL": "😰", "DISGUSTED": "🤢", "SURPRISED": "😮",
}  # fmt: skip
EVENTS = {
    "BGM": "🎼", "Speech": "", "Applause": "👏", "Laughter": "😀", "Cry": "😭", "Sneeze": "🤧", "Breath": "",
    "Cough": "🤧",
}  # fmt: skip
UNKNOWN_EMOTION = "EMO_UNKNOWN"  # what `ban_emo_unk` rules out
UNPRINTED = ("Sing", "Speech_Noise", "withitn", "woitn", "GBG", "Event_UNK")  # known to FunASR, and without an emoji
NOTHING, QUESTION = "<|nospeech|><|Event_UNK|>", "❓"
_LABELLED_EMOTIONS = frozenset((*EMOTIONS, "OTHER", UNKNOWN_EMOTION))
_LABELLED_EVENTS = frozenset((*EVENTS, "Sing", "Speech_Noise", "GBG", "Event_UNK"))
_DIALECTS = ("zh/en", "en/zh", "minnan", "wuyu", "dialect")  # languages of the released vocabulary without a query
_TAG = re.compile(r"<\|[^|<>]*\|>")
_LANGUAGE_TAG = re.compile("|".join(re.escape(f"<|{name}|>") for name in LANGUAGES))
_FUNASR_TAGS = tuple(f"<|{name}|>" for name in (*EMOTIONS, *EVENTS, UNKNOWN_EMOTION, *UNPRINTED))
_EMOTION_SIGNS = "😊😔😡😰🤢😮"
_EVENT_SIGNS = "🎼👏😀😭🤧😷"
_SPACED_SIGN = re.compile(f" ?([{_EMOTION_SIGNS}{_EVENT_SIGNS}]) ?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """What the tags of a recording say: the first language and emotion, every event once, in order."""

    language: str | None = None
    emotion: str | None = None
    events: list[str]


def is_tag(piece: str) -> bool:
    """Return whether a piece of the vocabulary is a tag."""
    return _TAG.fullmatch(piece) is not None


def tags_of(pieces: Iterable[str]) -> Tags:
    """Return what the tags among a recording's pieces say, by their names without brackets."""
    names = [piece[2:-2] for piece in pieces if is_tag(piece)]
    return Tags(
        language=next((name for name in names if name in LANGUAGES or name in _DIALECTS), None),
        emotion=next((name for name in names if name in _LABELLED_EMOTIONS), None),
        events=list(dict.fromkeys(name for name in names if name in _LABELLED_EVENTS)),
    )


def plain_text(raw: str) -> str:
    """Return the words alone, without tags."""
    return _TAG.sub("", raw).strip()


def rich_text(raw: str, *, as_funasr: bool = False) -> str:
    """Return the text with emojis for events (in front) and emotions (behind), without tags.

    Each language tag begins a part; an event or emotion that is the part before's own, too, is shown once.

    Args:
        raw: text with tags.
        as_funasr: to the letter: "The." disappears wherever it stands, tags that have no emoji stay where FunASR's list
            lacks them, and an event that the first part begins with is shown again in front of the second.
    """
    if not as_funasr:
        known = {*_FUNASR_TAGS, *(f"<|{name}|>" for name in LANGUAGES)}
        raw = _TAG.sub(lambda found: found[0] if found[0] in known else "", raw)
    first, *others = [_part(part) for part in _LANGUAGE_TAG.split(raw.replace(NOTHING, QUESTION))]
    text = f" {first}"
    event = _event(text if as_funasr else first)
    for part in others:
        if part and _event(part) == event is not None:
            part = part[1:]
        if not part:
            continue
        event = _event(part)
        if _emotion(part) is not None and _emotion(part) == _emotion(text):
            text = text[:-1]
        text += part.strip()
    return (text.replace("The.", " ") if as_funasr else text).strip()


def _part(text: str) -> str:
    """Mirrors format_str_v2: tags are counted and taken out, emojis put at both ends."""
    counts: dict[str, int] = {}
    for tag in _FUNASR_TAGS:
        counts[tag[2:-2]] = text.count(tag)
        text = text.replace(tag, "")
    strongest = max(EMOTIONS, key=lambda name: (counts[name], name == "NEUTRAL"))
    for name, sign in EVENTS.items():
        if counts[name]:
            text = sign + text
    return _tight(text + EMOTIONS[strongest]).strip()


def _tight(text: str) -> str:
    """Without the space on either side of an emoji."""
    return _SPACED_SIGN.sub(r"\1", text)


def _event(text: str) -> str | None:
    return text[:1] if text and text[0] in _EVENT_SIGNS else None


def _emotion(text: str) -> str | None:
    return text[-1:] if text and text[-1] in _EMOTION_SIGNS else None
