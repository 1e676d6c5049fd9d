"""Hotwords of a comparison: as a trace or a journal carries them, and as each side is given them. Stdlib only.

FunASR takes a phrase from a file's line alone, and a text that looks like a file or an address for one. So a list of
plain words travels as the text that it takes, every other one as a list, which it is given as a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_model.decoding.hotword_files import Words

OPTIONS = ("hotwords", "hotword")  # ours, and FunASR's name
FILE = "hotwords.txt"  # FunASR reads files of this ending


def carried(words: Sequence[str]) -> str | list[str]:
    """Return hotwords as JSON keeps them: a text where FunASR would split it into these words, else their list."""
    text = " ".join(words)
    plain = not any(len(word.split()) != 1 for word in words)
    return text if plain and not text.startswith("http") and not text.endswith(".txt") else list(words)


def of_funasr(options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a run's options as FunASR takes them: a list is written into the folder, and its file named."""
    return {name: _written(value, folder) if name in OPTIONS else value for name, value in options.items()}


def _written(value: Any, folder: Path) -> Any:
    if not isinstance(value, list):
        return value
    path = folder / FILE
    path.write_text("".join(f"{word}\n" for word in value), "utf-8")
    return str(path)


def of_ours(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's options as our models take them also where they follow FunASR: a list is what a file held."""
    return {
        name: Words(value) if name in OPTIONS and isinstance(value, list) else value for name, value in options.items()
    }
