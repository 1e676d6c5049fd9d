"""What is done to both texts before they are compared: named, versioned normalisers made of named steps.

Stdlib and mlx_model.errors only. A normaliser is one row of `_TABLE`; a report prints its steps, so that a rate can be
read without knowing this file. Changing what a row does means raising its version.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass

from mlx_model.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One text -> text function and the words a report shows for it."""

    name: str
    apply: Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalizer:
    """Steps applied in order to reference and hypothesis alike."""

    name: str
    version: int
    steps: tuple[Step, ...]

    def __call__(self, text: str) -> str:
        """Return the text after every step."""
        for step in self.steps:
            text = step.apply(text)
        return text

    @property
    def step_names(self) -> list[str]:
        """The steps in words, in the order they are applied."""
        return [step.name for step in self.steps]


def _remove(pattern: str, name: str) -> Step:
    compiled = re.compile(pattern)
    return Step(name=f"{name} ({pattern})", apply=lambda text: compiled.sub("", text))


# The end of a line is no speech: jiwer's own default for characters strips it too.
_STRIP = Step(name="strip white space at both ends", apply=str.strip)
_NO_WHITE_SPACE = _remove(r"\s", "remove white space")
# FunASR's scoring, benchmarks/benchmark_pipeline_cer.md: re.sub(r'[^\w一-鿿]','',t).upper(), letter for letter.
_WORD_CHARACTERS_ONLY = _remove(r"[^\w一-鿿]", "remove all but word characters")
_UPPER_CASE = Step(name="upper case", apply=str.upper)

_TABLE = (
    Normalizer(name="none", version=1, steps=(_STRIP,)),
    Normalizer(name="aishell", version=1, steps=(_NO_WHITE_SPACE,)),
    Normalizer(name="funasr", version=1, steps=(_WORD_CHARACTERS_ONLY, _UPPER_CASE)),
)
NORMALIZERS: dict[str, Normalizer] = {row.name: row for row in _TABLE}
DEFAULT = "aishell"


def find_normalizer(name: str) -> Normalizer:
    """Return the normaliser of that name.

    Raises:
        UsageError: there is none; the message names the nearest and all that exist.
    """
    if name in NORMALIZERS:
        return NORMALIZERS[name]
    near = difflib.get_close_matches(name.lower(), NORMALIZERS, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"no normaliser is called {name!r}{hint} (there are: {', '.join(NORMALIZERS)})")
