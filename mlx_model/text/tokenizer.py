"""Token ids to text, exactly as FunASR prints it. Stdlib only; must not import mlx, torch, funasr or sentencepiece.

Three joiners: `join_tokens` for vocabularies of Chinese characters and `@@` word pieces (FunASR's CharTokenizer),
`join_pieces` for the piece list of a SentencePiece model (SentencepiecesTokenizer), `join_words` for a tokens.json of
such pieces, in whatever order (Paraformer-en). All reproduce what FunASR does where that is surprising too, since
parity is judged on the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from mlx_model.config.parts import TokenizerConfig
from mlx_model.errors import AssetError, ConfigError

MAX_VOCABULARY_BYTES = 64 << 20  # the largest released vocabulary is 3 MB; a bigger file is not a vocabulary

NEVER_PRINTED = ("<s>", "</s>", "<unk>", "<OOV>")
_INVISIBLE = (" ", "</s>", "<s>", "<unk>", "<OOV>")  # stripped, in this order, before a token is classified
_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class Part(NamedTuple):
    """A word of a sentence, or the space behind one, and the first and the last of the tokens that it is made of."""

    text: str
    first: int
    last: int


class Tokenizer:
    """A vocabulary and the way its tokens are joined.

    `tokens[i]` is the text of id i; `blank_id`, `sos` and `eos` are never printed. Raises ConfigError for a tokenizer
    class that is not supported, AssetError for a vocabulary that FunASR would refuse too. `words`: a SentencePiece
    vocabulary's ids are the network's own, to be read as words; else they are SentencePiece's, read as it reads them.
    """

    def __init__(
        self, tokens: list[str], config: TokenizerConfig, *, blank_id: int, sos: int, eos: int, words: bool = False
    ):
        if config.kind not in ("CharTokenizer", "SentencepiecesTokenizer"):
            raise ConfigError(
                f"tokenizer {config.kind!r} is not supported (only CharTokenizer or SentencepiecesTokenizer)"
            )
        if config.kind == "CharTokenizer":
            _check_vocabulary(tokens, config.unk_symbol)
        self.tokens = tokens
        self.config = config
        self.silent = frozenset((blank_id, sos, eos))
        self.words = words

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        config: TokenizerConfig,
        *,
        blank_id: int,
        sos: int,
        eos: int,
        words: bool = False,
    ) -> Self:
        """Return the tokenizer of a tokens.json: one JSON list of strings, in id order.

        Raises:
            AssetError: the file is missing, too large, not JSON, or not a list of strings fit for `config`.
        """
        tokens = _read_tokens(Path(path))
        try:
            return cls(tokens, config, blank_id=blank_id, sos=sos, eos=eos, words=words)
        except AssetError as error:
            raise AssetError(f"{path}: {error}") from None

    def __len__(self) -> int:
        return len(self.tokens)

    def decode(self, token_ids: Sequence[int], *, as_funasr: bool = False) -> str:
        """Return the text of `token_ids`, without blank, sos and eos; `as_funasr` where `join_words` differs from it.

        Mirrors funasr/models/paraformer/model.py::Paraformer.inference, from the removal of the special ids onwards.
        `space_symbol` plays no part: FunASR overwrites the text it was used for.

        Raises:
            AssetError: an id outside the vocabulary, i.e. weights and tokens.json of different models.
        """
        kept = [int(token_id) for token_id in token_ids if token_id not in self.silent]
        for token_id in kept:
            if not 0 <= token_id < len(self.tokens):
                raise AssetError(
                    f"token id {token_id} is outside the vocabulary of {len(self.tokens)} tokens; "
                    "the weights and tokens.json belong to different models"
                )
        tokens = [self.tokens[token_id] for token_id in kept]
        if self.config.kind == "SentencepiecesTokenizer":
            if self.words:
                return join_words(tokens, as_funasr=as_funasr)
            return join_pieces(tokens, self.config.unk_symbol)
        return join_tokens(tokens)


def join_tokens(tokens: Sequence[str]) -> str:
    """Return the sentence of Chinese characters, words and `@@` word pieces.

    Mirrors funasr/utils/postprocess_utils.py::sentence_postprocess (without timestamps). Chinese is written solid,
    words are followed by a space, and single letters in a row become an abbreviation ("a b c" -> "ABC"). The three
    cases differ for tokens that mix scripts, because a whole token is compared in the first two and its characters
    in the third.
    """
    text = "".join(tokens)
    if text and all(map(len, tokens)) and len(text) == len(tokens) and "\u4e00" <= min(text) <= max(text) <= "\u9fff":
        return text  # Chinese characters alone, which most sentences are
    return "".join(part.text for part in word_parts(tokens)).strip()


def word_parts(tokens: Sequence[str]) -> list[Part]:
    """Return the words and single spaces of the sentence that `join_tokens` makes, with the tokens each is made of."""
    printed = [Part(token, index, index) for index, token in enumerate(tokens) if token not in NEVER_PRINTED]
    if printed and all(is_chinese(visible(part.text)) for part in printed):
        words = [part._replace(text=part.text.replace(" ", "")) for part in printed]
    elif printed and all(is_alpha(visible(part.text)) for part in printed):
        words = [each for part in printed for each in (part, part._replace(text=" "))]
    else:
        words = _mixed_parts(printed)
    return _with_initials(words)


def _mixed_parts(tokens: Sequence[Part]) -> list[Part]:
    """Words and single spaces of a sentence with pieces, digits or both scripts.

    Surprises kept from FunASR: a digit piece ("3@@") counts as Chinese and keeps its mark; an unfinished piece waits
    for the next *word*, past any Chinese in between, and is lost when none comes; the first Chinese after a word
    removes whatever was written last, which is a symbol rather than the space where one came in between.
    """
    words: list[Part] = []
    piece: Part | None = None  # of a word that is not complete
    after_word = False
    for token in tokens:
        if every_character(token.text, is_chinese):
            if after_word:
                words.pop()
            words.append(token)
            after_word = False
        elif "@@" in token.text:
            piece = _joined(piece, token._replace(text=token.text.replace("@@", "")))
            after_word = False
        elif every_character(token.text, is_alpha):
            word = _joined(piece, token)
            words += [word, word._replace(text=" ")]
            piece, after_word = None, True
        else:
            words.append(token)
    return words


def _joined(piece: Part | None, token: Part) -> Part:
    return token if piece is None else Part(piece.text + token.text, piece.first, token.last)


def _with_initials(words: list[Part]) -> list[Part]:
    """Write every run of single ASCII letters with one space between them as one upper-case word.

    Mirrors funasr/utils/postprocess_utils.py::abbr_dispose.
    """
    joined: list[Part] = []
    start = 0
    while start < len(words):
        end = start + 1
        if _is_initial(words[start].text):
            while end + 1 < len(words) and words[end].text == " " and _is_initial(words[end + 1].text):
                end += 2
        run = words[start:end:2]
        text = "".join(part.text for part in run)
        joined.append(run[0] if len(run) == 1 else Part(text.upper(), run[0].first, run[-1].last))
        start = end
    return joined


def _is_initial(word: str) -> bool:
    return len(word) == 1 and word.isascii() and word.isalpha()


def visible(text: str) -> str:
    """Return a token without the marks that are not printed."""
    for mark in _INVISIBLE:
        text = text.replace(mark, "")
    return text


def is_chinese(text: str) -> bool:
    """Return whether FunASR takes a text for Chinese.

    It is compared as a whole, so that "3@@" and "4.5" fall between "0" and "9", and "9@@" does not.
    """
    return "\u4e00" <= text <= "\u9fff" or "0" <= text <= "9" or text == "@"


def is_alpha(text: str) -> bool:
    """Return whether FunASR takes a token for a word of letters."""
    return text == "'" or (text.isalpha() and not is_chinese(text))


def every_character(token: str, holds: Callable[[str], bool]) -> bool:
    """Return whether something holds for all characters of a token, and there are any."""
    # Of the invisible marks only the space is one character long; it belongs to neither script.
    return bool(token) and all(holds(character) for character in token)


def join_pieces(pieces: Sequence[str], unk_symbol: str = "<unk>") -> str:
    """Return the sentence of SentencePiece pieces, as SentencePieceProcessor.DecodeIds writes it.

    Mirrors funasr/tokenizer/sentencepiece_tokenizer.py::SentencepiecesTokenizer (ids2tokens gives a sentence, and
    tokens2text passes it through unchanged). ▁ is a space, except in front of the first text; `<0xNN>` pieces are
    UTF-8 bytes, an invalid one U+FFFD; the unknown piece reads " ⁇ ". Assumes SentencePiece's default of removing
    extra whitespace: tokens.json does not say.
    """
    text = ""
    position = 0
    while position < len(pieces):
        run = _byte_run(pieces, position)
        if run:
            text += _decode_utf8(run)
            position += len(run)
            continue
        piece = pieces[position]
        position += 1
        if piece == unk_symbol:
            text += " ⁇ "
        elif piece not in ("<s>", "</s>"):
            text += (piece if text else piece.removeprefix("▁")).replace("▁", " ")
    return text


_PRONOUNS = {"i": "I", "i'm": "I'm", "i've": "I've", "i'll": "I'll"}


def join_words(pieces: Sequence[str], *, as_funasr: bool = False) -> str:
    """Return the sentence of an English model's pieces: a new word begins at every ▁.

    FunASR's AutoModel takes the ids of the network for ids of bpe.model, which are others: it prints wrong words, or
    ends with "piece id is out of range". Its runtimes look each id up in tokens.json, and so does this project.
    Mirrors runtime/onnxruntime/src/vocab.cpp::Vocab::Vector2StringV2 (en-bpe), its pronouns included; `as_funasr`
    mirrors funasr/utils/postprocess_utils.py::sentence_postprocess_sentencepiece, which means to write "I", and prints
    "i" all the same, and a space for a word without letters.
    """
    words: list[str] = []
    for piece in pieces:
        if piece in NEVER_PRINTED:
            continue
        if "▁" in piece or not words:
            words.append("")
        words[-1] += piece.replace("▁", "")
    if as_funasr:
        return " ".join(words)
    return " ".join(_PRONOUNS.get(word, word) for word in words if word)


def _byte_run(pieces: Sequence[str], start: int) -> bytes:
    run = bytearray()
    while start + len(run) < len(pieces) and (match := _BYTE_PIECE.fullmatch(pieces[start + len(run)])):
        run.append(int(match[1], 16))
    return bytes(run)


def _decode_utf8(run: bytes) -> str:
    """One U+FFFD per invalid byte; Python's errors="replace" would write one per broken sequence."""
    return run.decode("utf-8", errors="surrogateescape").translate(_ESCAPED)


_ESCAPED = {0xDC00 + byte: "\ufffd" for byte in range(0x80, 0x100)}


def _read_tokens(path: Path) -> list[str]:
    try:
        if path.stat().st_size > MAX_VOCABULARY_BYTES:
            raise AssetError(f"{path}: {path.stat().st_size} bytes is too large for a vocabulary")
        tokens = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AssetError(f"{path}: the vocabulary cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise AssetError(f"{path}: not JSON ({error}); expected a list of tokens in id order") from None
    if not isinstance(tokens, list) or not tokens:
        raise AssetError(f"{path}: expected a list of tokens in id order, found {_describe(tokens)}")
    for token_id, token in enumerate(tokens):
        if not isinstance(token, str):
            raise AssetError(f"{path}: token {token_id} is {token!r:.40}, expected a string")
    return tokens


def _describe(value: object) -> str:
    return "an empty list" if value == [] else type(value).__name__


def _check_vocabulary(tokens: list[str], unk_symbol: str) -> None:
    """Mirrors funasr/tokenizer/abs_tokenizer.py::BaseTokenizer, which refuses the same two."""
    first_at: dict[str, int] = {}
    for token_id, token in enumerate(tokens):
        if first_at.setdefault(token, token_id) != token_id:
            raise AssetError(f"token {token!r} appears twice, as {first_at[token]} and {token_id}")
    if unk_symbol not in first_at:
        raise AssetError(f"unk_symbol {unk_symbol!r} is not in the vocabulary of {len(tokens)} tokens")
