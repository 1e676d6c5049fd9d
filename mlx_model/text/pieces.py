"""Text to SentencePiece's pieces, by the bpe.model that lies beside the weights; needs the `bpe` extra.

Recognition goes the other way and needs neither (tokenizer.py). FunASR's times of words do: it cuts the text into
pieces again, and aligns those. sentencepiece is imported when a text is cut, not before.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from mlx_model.errors import AssetError, DependencyError

FILE = "bpe.model"


class SentencePieces:
    """A SentencePiece model, read at the first use. `path` need not exist before."""

    def __init__(self, path: Path):
        self.path = path

    @cached_property
    def _processor(self) -> Any:
        try:
            import sentencepiece
        except ImportError as error:
            raise DependencyError(
                "FunASR's times of words need sentencepiece: pip install 'mlx-funasr[bpe]'"
            ) from error
        if not self.path.is_file():
            raise AssetError(f"{self.path}: missing; FunASR's times of words need it. Convert the source again")
        processor = sentencepiece.SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(self.path.read_bytes())
        except (OSError, RuntimeError) as error:
            raise AssetError(f"{self.path} is not a SentencePiece model: {error}") from error
        return processor

    def cut(self, text: str) -> list[str]:
        """Return the pieces of a text. Mirrors funasr's SentencepiecesTokenizer.text2tokens.

        Raises:
            AssetError: bpe.model is missing or broken.
            DependencyError: sentencepiece is not installed.
        """
        return self._processor.EncodeAsPieces(text)

    def ids(self, pieces: list[str]) -> list[list[int]]:
        """Return the ids of each piece, taken for a text of its own. Mirrors tokens2ids of the same class."""
        return [self._processor.EncodeAsIds(piece) for piece in pieces]
