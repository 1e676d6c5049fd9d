"""Hotwords: what a user gives -> words -> the token ids that a model's bias branch is given. Stdlib only.

Two ways through. By default the list is what was meant: a file's lines may be phrases, what the vocabulary cannot spell
is named and left out, nothing missing passes in silence. `as_funasr`: the lists of FunASR 1.4.16, to the id
(funasr/models/seaco_paraformer/model.py and funasr/models/contextual_paraformer/model.py::generate_hotwords_list);
where it raises, so does this. Reading files and addresses is hotword_files.py's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from mlx_model.decoding.hotword_files import Words, fetched, is_file, lines_of, missing, raw_lines, read
from mlx_model.errors import UsageError
from mlx_model.text.seg_dict import SegDict
from mlx_model.text.tokenizer import Tokenizer

Given = str | Path | Sequence[str] | None
SHOWN = 10  # words that a note names
SOLID = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
CHARACTERS = re.compile(r"^[\u4E00-\u9FA50-9]+$")  # FunASR's: what it spells character by character


def words_of(given: Given, *, as_funasr: bool = False, allow_urls: bool = False) -> Words | None:
    """Return the hotwords that a user means; None where none were given at all. What this returned it returns again.

    Args:
        given: words with white space between them; or a file, one hotword a line; or a sequence of hotwords; hotwords
            of a file or a sequence may be phrases. "" is a list of none.
        as_funasr: read it as FunASR does: text alone, a file only if its name ends in .txt, a missing one None, lines
            with their blanks and weights as they are.
        allow_urls: fetch an address; else it is refused.

    Raises:
        UsageError: a file that is missing or cannot be read, an address, an entry that is no text; as_funasr: where
            FunASR raises.
    """
    if given is None or isinstance(given, Words):
        return given
    if as_funasr:
        return _words_of_funasr(given, allow_urls)
    if isinstance(given, Path):
        return lines_of(read(given), str(given))
    if isinstance(given, str):
        return _words_of_text(given, allow_urls)
    wrong = [entry for entry in given if not isinstance(entry, str)]
    if wrong:
        raise UsageError(f"hotwords: {wrong[0]!r:.80} is no text")
    return Words(word for entry in given if (word := entry.strip()))


def _words_of_text(text: str, allow_urls: bool) -> Words:
    if text.strip().lower().startswith(("http://", "https://")):
        return lines_of(fetched(text.strip(), allow_urls), text.strip())
    if is_file(text):
        return lines_of(read(Path(text)), text)
    if missing(text):
        raise UsageError(
            f"hotwords: {text.strip()[:200]!r} is no file; to give a word that looks like one, put it into a file"
        )
    return Words(text.split())


def _words_of_funasr(given: Any, allow_urls: bool) -> Words | None:
    """Mirrors the four branches of generate_hotwords_list, in their order."""
    if not isinstance(given, str):
        raise UsageError(f"hotwords: FunASR 1.4.16 takes text alone and fails on a {type(given).__name__}")
    if given.endswith(".txt") and (path := Path(given)).exists():
        return Words(line.strip() for line in raw_lines(read(path), given))
    if given.startswith("http"):
        return Words(line.strip() for line in raw_lines(fetched(given, allow_urls), given))
    return None if given.endswith(".txt") else Words(given.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Hotwords:
    """A list as a model takes it.

    `ids` are those of `words`, and a last entry of its own, (sos,): "none of these". `unknown` are the words that the
    vocabulary cannot spell; they are left out, as_funasr they are among `words`, with the unknown token. `notes` are
    what there is to say about the list, one line each.
    """

    words: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def ids_of(
    words: Sequence[str], tokenizer: Tokenizer, seg_dict: SegDict | None, *, as_funasr: bool = False, sos: int = 1
) -> Hotwords:
    """Return the token ids of hotwords.

    By default a word is, in this order, an entry of `seg_dict`, a token (both looked up in lower case), or spelt: its
    stretches of letters as entries, tokens or letters, everything else by character. Hotwords of the same ids are one.

    Args:
        words: what `words_of` returned, or any phrases.
        tokenizer: of the model.
        seg_dict: of the model; None where it has none.
        as_funasr: split, spell and keep as FunASR does: the words of a phrase side by side, a word that is neither in
            `seg_dict` nor all Chinese or digits one unknown token, without a `seg_dict` every word one token.
        sos: the last entry.

    Raises:
        UsageError: the model's tokens are SentencePiece's; as_funasr: where FunASR raises.
    """
    if tokenizer.config.kind != "CharTokenizer":
        raise UsageError(f"hotwords are for models of characters; this one's tokenizer is {tokenizer.config.kind}")
    notes = words.notes if isinstance(words, Words) else ()
    vocabulary = {token: token_id for token_id, token in enumerate(tokenizer.tokens)}
    unknown_id = vocabulary[tokenizer.config.unk_symbol]
    if as_funasr:
        if seg_dict is not None and seg_dict.blank_line is not None:
            raise UsageError(f"FunASR 1.4.16 fails on this model's seg_dict: line {seg_dict.blank_line} is blank")
        entries = None if seg_dict is None else seg_dict.words
        ids = [_funasr_ids(word, vocabulary, unknown_id, entries) for word in words]
        unknown = tuple(word for word, found in zip(words, ids, strict=True) if unknown_id in found)
        said = _said(unknown, len(words), f"hold {tokenizer.config.unk_symbol}, as FunASR has them")
        return Hotwords(words=tuple(words), ids=(*ids, (sos,)), unknown=unknown, notes=(*notes, *said))
    printed = {
        token: token_id for token, token_id in vocabulary.items()
        if token_id != unknown_id and token_id not in tokenizer.silent
    }  # fmt: skip
    entries = {} if seg_dict is None else seg_dict.words
    found = {word: _spelt(word, printed, entries) for word in words}
    kept: dict[tuple[int, ...], str] = {}
    for word, ids in found.items():
        if ids:
            kept.setdefault(ids, word)
    unknown = tuple(word for word, ids in found.items() if not ids)
    said = _said(unknown, len(found), "left out, for the model has no token for parts of them")
    return Hotwords(words=tuple(kept.values()), ids=(*kept, (sos,)), unknown=unknown, notes=(*notes, *said))


def _said(unknown: Sequence[str], total: int, what: str) -> tuple[str, ...]:
    if not unknown:
        return ()
    more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
    return (f"hotwords: {len(unknown)} of {total} {what}: {', '.join(unknown[:SHOWN])}{more}",)


def _funasr_ids(
    phrase: str, vocabulary: Mapping[str, int], unknown_id: int, seg_dict: Mapping[str, tuple[str, ...]] | None
) -> tuple[int, ...]:
    """Mirrors seg_tokenize and CharTokenizer.tokens2ids."""
    tokens: list[str] = []
    for word in phrase.split():
        if seg_dict is None:
            tokens.append(word)
        elif (lowered := word.lower()) in seg_dict:
            tokens += seg_dict[lowered]
        elif CHARACTERS.match(lowered):
            for character in lowered:
                tokens += seg_dict.get(character, ("<unk>",))
        else:
            tokens.append("<unk>")
    if not tokens:
        found = "a blank line" if not phrase else f"{phrase!r}, for which seg_dict has no tokens"
        raise UsageError(f"hotwords: FunASR 1.4.16 fails on {found}; leave it out")
    return tuple(vocabulary.get(token, unknown_id) for token in tokens)


def _spelt(phrase: str, printed: Mapping[str, int], seg_dict: Mapping[str, tuple[str, ...]]) -> tuple[int, ...]:
    """Return the ids of a phrase; none where any part of it has none."""
    ids: list[int] = []
    for word in phrase.split():
        for part in [word] if _entry(word, printed, seg_dict) else _stretches(word):
            for piece in [part] if _entry(part, printed, seg_dict) else part:
                found = _entry(piece, printed, seg_dict)
                if not found:
                    return ()
                ids += found
    return tuple(ids)


def _entry(text: str, printed: Mapping[str, int], seg_dict: Mapping[str, tuple[str, ...]]) -> tuple[int, ...]:
    """Return the ids of what is one entry of the dictionary or one token; none where it is neither."""
    lowered = text.lower()
    tokens = seg_dict.get(lowered, ())
    if tokens and all(token in printed for token in tokens):
        return tuple(printed[token] for token in tokens)
    return next(((printed[form],) for form in (lowered, text, text.upper()) if form in printed), ())


def _stretches(word: str) -> list[str]:
    """Return the stretches of letters of a word of scripts that write spaces, and what stands between them."""
    return ["".join(part) for _, part in groupby(word, key=_joins)]


def _joins(character: str) -> bool:
    return (character.isalpha() and not SOLID.match(character)) or character in "'\u2019"
