"""Text that only grows: pieces joined across calls. Oracle: the tokenizer's text of all ids at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_model.config.parts import TokenizerConfig
from mlx_model.text.joining import MOST_OPEN, Joined, add, rest
from mlx_model.text.tokenizer import Tokenizer

SPECIAL = ["<blank>", "<s>", "</s>"]
CHARACTERS = [*SPECIAL, "he@@", "llo", "fun@@", "a", "b", "k@@", "7", "A", "B", "你", "好", "hello", "<unk>"]
PIECES = [*SPECIAL, "▁he", "llo", "▁i", "'m", "▁", "a", "▁world", "s", "<unk>"]
TOKENIZERS = {
    kind: Tokenizer(tokens, TokenizerConfig(kind=kind), blank_id=0, sos=1, eos=2, words=True)
    for kind, tokens in (("CharTokenizer", CHARACTERS), ("SentencepiecesTokenizer", PIECES))
}


def joined(tokenizer: Tokenizer, calls: list[list[str]]) -> list[str]:
    """Return what each call of so many tokens prints, and last what was held back."""
    now, found = Joined(), []
    for tokens in calls:
        text, now = add(tokenizer, now, [tokenizer.tokens.index(token) for token in tokens])
        found.append(text)
    return [*found, rest(tokenizer, now)]


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(data=st.data())
def test_put_together_it_is_the_text_of_all(kind: str, data: st.DataObject):
    tokenizer = TOKENIZERS[kind]
    calls = data.draw(st.lists(st.lists(st.sampled_from(tokenizer.tokens), max_size=5), max_size=8))
    ids = [tokenizer.tokens.index(token) for call in calls for token in call]
    assert "".join(joined(tokenizer, calls)) == tokenizer.decode(ids)


def test_a_word_comes_with_its_last_piece_and_initials_when_they_are_over():
    tokenizer = TOKENIZERS["CharTokenizer"]
    assert joined(tokenizer, [["你", "he@@"], ["llo"], ["a"], ["b"], ["好"]]) == ["你", "hello", "", "", " AB好", ""]
    assert joined(tokenizer, [["A"], ["B"], ["he@@"]]) == ["A", "B", "", ""]  # a piece without an end is never printed


def test_what_is_kept_does_not_grow():
    tokenizer, now = TOKENIZERS["CharTokenizer"], Joined()
    for token in ["你", "he@@", "好", "k@@", "A"] * 200 + ["k@@"] * 500:
        _, now = add(tokenizer, now, [tokenizer.tokens.index(token)])
        assert len(now.ids) <= 2 * MOST_OPEN + 1
