"""Chinese cut into words by a dictionary of the model's own, for punctuation models whose vocabulary is of words.

FunASR loads the dictionary into jieba's module-wide one, where every later model of the process sees it; here each
model has a `jieba.Tokenizer` of its own. jieba is an optional package, asked for at the first text.
"""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlx_model.errors import AssetError, DependencyError

FILE = "jieba_usr_dict"
MAX_BYTES = 64 << 20


class JiebaWords:
    """Cuts texts by jieba's dictionary with a model's own words added, without jieba's model of unknown words."""

    def __init__(self, path: Path):
        self.path = path

    def __call__(self, text: str) -> list[str]:
        """Return the words of a text, which together are the text.

        Raises:
            DependencyError: jieba is not installed.
            AssetError: the dictionary cannot be read.
        """
        return list(self._cut(text, HMM=False))

    @functools.cached_property
    def _cut(self) -> Callable[..., Any]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what jieba imports
                import jieba
        except ImportError as error:
            raise DependencyError(
                f"{self.path} is a dictionary of words, which needs jieba: pip install 'mlx-funasr[punctuation]'"
            ) from error
        logging.getLogger("jieba").setLevel(logging.WARNING)  # it tells how long its dictionary took to load
        tokenizer: Any = jieba.Tokenizer()
        try:
            if self.path.stat().st_size > MAX_BYTES:
                raise AssetError(f"{self.path}: more than {MAX_BYTES} bytes is too large for a dictionary of words")
            with self.path.open("rb") as stream:  # jieba leaves a file that it opened open
                tokenizer.load_userdict(stream)
        except OSError as error:
            raise AssetError(f"{self.path}: cannot be read: {error.strerror}") from None
        except ValueError as error:  # jieba's own, and what is not UTF-8
            raise AssetError(f"{self.path}: no dictionary of jieba, WORD [FREQUENCY] [TAG] a line: {error}") from None
        return tokenizer.cut
