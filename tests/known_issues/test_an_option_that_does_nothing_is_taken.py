"""`transcribe --merge-seconds 10` without --vad, `vad --rate 8000` of files, NaN: taken, and nothing happens."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer.testing

import mlx_funasr
from mlx_model.errors import UsageError


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("transcribe", "M", "a.wav", "--merge-seconds", "10"), "--merge-seconds needs --vad"),
        (("transcribe", "M", "a.wav", "--no-dynamic-silence"), "--no-dynamic-silence needs --vad"),
        (("transcribe", "M", "a.wav", "--seed", "1"), "--seed needs --dither"),
        (("transcribe", "M", "a.wav", "--cue-chars", "30"), "--cue-chars is for subtitles"),
        (("transcribe", "M", "a.wav", "--batch-seconds", "nan"), "--batch-seconds nan: expected"),
        (("transcribe", "M", "a.wav", "--batch-size", "0"), "--batch-size 0: expected"),
        (("transcribe", "M", "a.wav", "--dither", "nan"), "--dither nan: expected"),
        (("transcribe", "M", "a.wav", "--dither", "1", "--seed", "-1"), "--seed -1: expected"),
        (("transcribe", "M", "a.wav", "--vad", "V", "--merge-seconds", "inf"), "--merge-seconds inf: expected"),
        (("transcribe", "M", "a.wav", "--json", "--format", "srt"), "contradict"),
        (("transcribe", "M", "-", "a.wav"), "stands alone"),
        (("vad", "M", "a.wav", "--rate", "8000"), "--rate is the rate of a pipe"),
        (("vad", "M", "a.wav", "--chunk-ms", "100"), "--chunk-ms needs --stream"),
        (("vad", "M", "-", "a.wav"), "stands alone"),
        (("vad", "M", "-", "-"), "given twice"),
        (("vad", "M", "a.wav", "--threshold", "nan"), "--threshold nan: expected"),
        (("vad", "M", "a.wav", "--threshold", "1.5"), "--threshold 1.5: expected 0 to 1"),
        (("vad", "M", "a.wav", "--dynamic-silence", "--threshold", "0.5"), "--threshold means nothing beside"),
    ],
)
def test_it_is_refused_by_name_before_a_model_is_looked_for(words: tuple[str, ...], says: str, tmp_path: Path):
    """The model does not exist, and that is not what is said."""
    done = typer.testing.CliRunner().invoke(mlx_funasr.app, words)
    assert isinstance(done.exception, UsageError)
    assert says in str(done.exception)
    assert "\n" not in str(done.exception)
