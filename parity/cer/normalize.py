"""What is done to both texts before they are compared: named, versioned normalisers made of named steps.

Stdlib, mlx_model.errors and the steps beside it only. A normaliser is one row of `_TABLE`; a report prints its steps,
so that a rate can be read without knowing this file. Changing what a row does means raising its version.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import dataclass

from mlx_model.errors import UsageError
from parity.cer import normalize_steps as steps
from parity.cer.normalize_steps import Step, package_version

__all__ = ["DEFAULT", "NORMALIZERS", "Normalizer", "Step", "find_normalizer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalizer:
    """Steps applied in order to reference and hypothesis alike; `unit` is what is counted unless the caller says so."""

    name: str
    version: int
    steps: tuple[Step, ...]
    unit: str = "char"

    def __call__(self, text: str) -> str:
        """Return the text after every step."""
        for step in self.steps:
            text = step.apply(text)
        return text

    @property
    def step_names(self) -> list[str]:
        """The steps in words, in the order they are applied."""
        return [step.name for step in self.steps]

    @property
    def packages(self) -> dict[str, str]:
        """{distribution: installed version} of the libraries whose version decides the result.

        Raises:
            DependencyError: one of them is not installed; the message names the extra.
        """
        return {step.package: package_version(step.package) for step in self.steps if step.package}

    @property
    def fingerprint(self) -> str:
        """12 hex digits of the sha256 over name, version, steps and package versions: equal where the same was done.

        The unit is not part of it: two runs can be compared where both this and their unit agree.

        Raises:
            DependencyError: as `packages`.
        """
        identity = json.dumps([self.name, self.version, self.step_names, self.packages], sort_keys=True)
        return hashlib.sha256(identity.encode()).hexdigest()[:12]


_TABLE = (
    Normalizer(name="none", version=1, steps=(steps.STRIP,)),
    Normalizer(name="aishell", version=1, steps=(steps.NO_WHITE_SPACE,)),
    Normalizer(name="funasr", version=1, steps=(steps.WORD_CHARACTERS_ONLY, steps.UPPER_CASE)),
    Normalizer(
        name="wenet",
        version=1,
        steps=(
            steps.WENET_UNITS,
            steps.UPPER_CASE,
            steps.NO_TAGS,
            steps.ONE_SPACE,
            steps.CLOSE_UP,
            steps.STRIP,
        ),
        unit="mixed",
    ),
    # Upper case comes last, because the grammar knows km and kg but not KM and KG.
    Normalizer(
        name="speechio",
        version=1,
        steps=(
            steps.HALF_WIDTH,
            steps.NO_FILLERS,
            steps.LONG_NUMBERS,
            steps.CHINESE_WORDS,
            steps.NO_PUNCTUATION,
            steps.NO_WHITE_SPACE,
            steps.UPPER_CASE,
        ),
    ),
    Normalizer(
        name="whisper-en",
        version=1,
        steps=(steps.ONE_SPACE, steps.WHISPER_ENGLISH, steps.STRIP),
        unit="word",
    ),
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
