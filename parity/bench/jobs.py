"""What a family makes of files: texts, segments of speech, or when the words of a known text are said.

Both sides are asked for the same, as FunASR does it by default, and what comes of it is compared as numbers: token ids,
or milliseconds. Imports mlx_model in its functions, for this project's side only; must not import mlx or torch.
"""

from __future__ import annotations

import dataclasses
import wave
from collections.abc import Sequence
from typing import Any

TRANSCRIBE, DETECT, ALIGN = "transcribe", "detect", "align"
COMMANDS = {TRANSCRIBE: "transcribe", DETECT: "vad", ALIGN: "align"}
OF_CLASS = {"FsmnVADStreaming": DETECT, "MonotonicAligner": ALIGN}  # FunASR's; all others write text
AS_FUNASR = {"as_funasr": True, "dynamic_silence": True}  # options that make a family do as FunASR does unasked
DIGITS, PER_S = "一二三四五六七八九零", 2  # what an aligner is told was said: it times any text


def job_of(model: type[Any]) -> str:
    """Return what one of this project's families does with files."""
    from mlx_model import roles

    if roles.fulfils(model, roles.Recognizer):
        return TRANSCRIBE
    return DETECT if roles.fulfils(model, roles.Detector) else ALIGN


def as_funasr(model: Any) -> dict[str, Any]:
    """Return those of AS_FUNASR that a family has."""
    known = {field.name for field in dataclasses.fields(model.Options)}
    return {name: value for name, value in AS_FUNASR.items() if name in known}


def known_text(path: str) -> str:
    """Return the text of a recording of the bench: as many digits as fit its length."""
    with wave.open(path, "rb") as file:
        count = max(1, round(PER_S * file.getnframes() / file.getframerate()))
    return "".join(DIGITS[number % len(DIGITS)] for number in range(count))


def ours(model: Any, job: str, files: Sequence[str]) -> tuple[list[list[int]], list[str]]:
    """Return (numbers, text) of every file, by the project's own pipeline."""
    options = as_funasr(model)
    if job == TRANSCRIBE:
        results = model.transcribe(list(files), **options)
        return [result.token_ids for result in results], [result.text for result in results]
    if job == DETECT:
        from mlx_model.pipelines.detect import detect

        found = detect(model, list(files), options=model.Options(**options))
        return [flat(result.segments) for result in found], ["" for _ in found]
    from mlx_model.pipelines.align import align

    aligned = align(model, list(files), [known_text(path) for path in files], **options)
    times = [[(word.start_ms, word.end_ms) for word in result.words] for result in aligned]
    return [flat(row) for row in times], ["" for _ in aligned]


def flat(pairs: Sequence[Sequence[int]]) -> list[int]:
    """Return [start, end, start, end, ...], ms."""
    return [int(value) for pair in pairs for value in pair]
