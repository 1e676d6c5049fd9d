"""Token ids that come a few at a time to text that only grows: pieces of a word are joined across calls.

What a token means may hang on those behind it: "he@@" is nothing before "llo", "a" and "b" are "AB". So what may still
change is held back until it cannot, or until the end. All that is printed, put together, is the tokenizer's text of all
ids, as far as no token that is neither Chinese nor a word stands in them. What is kept of the past does not grow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlx_model.text.tokenizer import Tokenizer, every_character, is_alpha, is_chinese

MOST_OPEN = 64  # tokens that are held back; no word has as many pieces


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """How far the text has come: the ids that later ones may be joined to, and how much of their text is printed.

    A value; `Joined()` is the beginning. `printed` counts characters of the ids' text, or of all text.
    """

    ids: tuple[int, ...] = ()
    printed: int = 0


def add(tokenizer: Tokenizer, joined: Joined, token_ids: Sequence[int]) -> tuple[str, Joined]:
    """Return the text that is certain now and was not before, and how far it has come."""
    ids = (*joined.ids, *(one for one in token_ids if one not in tokenizer.silent))
    tokens = [tokenizer.tokens[one] for one in ids]
    if tokenizer.config.kind == "SentencepiecesTokenizer":
        starts = [place for place, token in enumerate(tokens) if "▁" in token]
        stop, context = starts[-1] if starts else 0, []  # a word is certain when the next one begins
    else:
        stop, context = _closed(tokens)
    if stop == 0:
        return "", replace(joined, ids=ids)
    text = _after(tokenizer, joined, ids[:stop])
    kept = tuple(ids[place] for place in context)
    printed = len(tokenizer.decode(kept)) if kept else joined.printed + len(text)
    return text, Joined(ids=(*kept, *ids[stop:]), printed=printed)


def rest(tokenizer: Tokenizer, joined: Joined) -> str:
    """Return the text that is held back, as it reads if nothing comes any more."""
    return _after(tokenizer, joined, joined.ids)


def _after(tokenizer: Tokenizer, joined: Joined, ids: Sequence[int]) -> str:
    """Return the text of these ids without what is printed of them; SentencePiece's words have nothing in common."""
    text = tokenizer.decode(ids)
    if tokenizer.config.kind == "SentencepiecesTokenizer":
        return f" {text}" if joined.printed and text else text
    return text[joined.printed :]


def _closed(tokens: Sequence[str]) -> tuple[int, list[int]]:
    """Return how many tokens are certain, and which of them later ones are joined to.

    Those are the last, with the pieces that it ends, for it says whether a space follows and whether it is an initial;
    and pieces that wait for the end of their word.
    """
    stop = len(tokens)
    while stop and _is_open(tokens[stop - 1]) and len(tokens) - stop < MOST_OPEN:
        stop -= 1
    words = [place for place in range(stop) if _is_word(tokens[place])]
    ended = words[:-1] if words and words[-1] == stop - 1 else words
    first = ended[-1] + 1 if ended else 0
    pieces = [place for place in range(first, stop) if _is_piece(tokens[place])][-MOST_OPEN:]
    return stop, sorted({*pieces, *range(max(stop - 1, 0), stop)})


def _is_open(token: str) -> bool:
    """Whether what comes next may change how a token reads: pieces, small initials, and marks."""
    if every_character(token, is_chinese):
        return False
    return _is_piece(token) or not every_character(token, is_alpha) or (len(token) == 1 and "a" <= token <= "z")


def _is_piece(token: str) -> bool:
    return "@@" in token and not every_character(token, is_chinese)


def _is_word(token: str) -> bool:
    return "@@" not in token and every_character(token, is_alpha)
