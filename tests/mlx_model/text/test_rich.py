"""SenseVoice's tags and the text without them. Oracle: FunASR's rich_transcription_postprocess, and by hand."""

from __future__ import annotations

import random

import pytest

from mlx_model.text.rich import Tags, is_tag, plain_text, rich_text, tags_of


@pytest.mark.reference
def test_to_the_letter_as_funasr():
    from funasr.utils.postprocess_utils import emoji_dict, rich_transcription_postprocess

    rng = random.Random(7)
    tags = [*emoji_dict, "<|OTHER|>", "<|minnan|>", "<|/Speech|>", "<|SPECIAL_TOKEN_1|>"]
    words = ["你好", " hello", "The.", " ", "  ", "x", "😊", "🎼", "。", "❓", "the"]
    for _ in range(4000):
        raw = "".join(rng.choice(tags if rng.random() < 0.5 else words) for _ in range(rng.randint(0, 9)))
        assert rich_text(raw, as_funasr=True) == rich_transcription_postprocess(raw), raw


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("<|en|><|HAPPY|><|BGM|><|withitn|>Hello there.", "🎼Hello there.😊"),
        ("<|zh|><|NEUTRAL|><|Speech|><|woitn|>你好", "你好"),
        ("<|nospeech|><|Event_UNK|>", "❓"),
        ("<|nospeech|><|EMO_UNKNOWN|><|Event_UNK|><|woitn|>", ""),
        ("<|zh|><|SAD|><|BGM|><|woitn|>一<|en|><|SAD|><|BGM|><|woitn|>two", "🎼一two😔"),
        ("", ""),
    ],
)
def test_emojis_stand_for_tags(raw: str, expected: str):
    assert rich_text(raw) == expected


@pytest.mark.parametrize(
    ("raw", "right", "theirs"),
    [
        ("<|en|><|NEUTRAL|><|Speech|><|withitn|>We saw The. Who", "We saw The. Who", "We saw   Who"),
        ("<|en|><|OTHER|><|Speech|><|woitn|>yes", "yes", "<|OTHER|>yes"),
        ("<|BGM|>a<|zh|><|BGM|>b", "🎼ab", "🎼a🎼b"),
    ],
)
def test_where_funasr_is_wrong(raw: str, right: str, theirs: str):
    assert (rich_text(raw), rich_text(raw, as_funasr=True)) == (right, theirs)


def test_words_alone():
    assert plain_text("<|en|><|HAPPY|><|BGM|><|withitn|>The. Hello <|/Speech|>world") == "The. Hello world"
    assert plain_text("a <b> |> <|") == "a <b> |> <|"  # no tags


def test_what_tags_say():
    pieces = ["<|zh|>", "<|HAPPY|>", "<|BGM|>", "<|woitn|>", "▁a", "<|Cough|>", "<|BGM|>", "<|en|>", "<|SAD|>"]
    assert tags_of(pieces) == Tags(language="zh", emotion="HAPPY", events=["BGM", "Cough"])
    assert tags_of(["▁a", "<unk>"]) == Tags(language=None, emotion=None, events=[])
    assert is_tag("<|minnan|>")
    assert not is_tag("<unk>")
