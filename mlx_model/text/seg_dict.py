"""seg_dict: how words are written in a vocabulary's tokens, for models of characters and `@@` pieces. Stdlib only.

A file beside am.mvn, one word a line, its tokens behind it: "hello he@@ llo". Conversions carry it along as it is.
"""

from __future__ import annotations

import functools
from pathlib import Path

from mlx_model.errors import AssetError

FILE = "seg_dict"
MAX_BYTES = 64 << 20  # the released one has 11 MB


class SegDict:
    """The tokens of each word, read from a file when first asked for; the last line of a word counts.

    Mirrors funasr/models/seaco_paraformer/model.py::load_seg_dict, which keeps a byte order mark, too.
    """

    def __init__(self, path: Path):
        self.path = path

    @property
    def words(self) -> dict[str, tuple[str, ...]]:
        """Return the tokens of every word.

        Raises:
            AssetError: the file cannot be read, is too large, or is not UTF-8.
        """
        return self._read[0]

    @property
    def blank_line(self) -> int | None:
        """Return the number of the first line without a word, over which FunASR fails, or None; errors as `words`."""
        return self._read[1]

    @functools.cached_property
    def _read(self) -> tuple[dict[str, tuple[str, ...]], int | None]:
        found: dict[str, tuple[str, ...]] = {}
        blank: int | None = None
        try:
            if self.path.stat().st_size > MAX_BYTES:
                raise AssetError(f"{self.path}: more than {MAX_BYTES} bytes is too large for a dictionary of words")
            with self.path.open(encoding="utf-8") as stream:
                for number, line in enumerate(stream, 1):
                    word, *tokens = line.split() or [""]
                    if word:
                        found[word] = tuple(tokens)
                    else:
                        blank = blank or number
        except OSError as error:
            raise AssetError(f"{self.path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise AssetError(f"{self.path}: not UTF-8 ({error}); expected a word and its tokens a line") from None
        return found, blank
