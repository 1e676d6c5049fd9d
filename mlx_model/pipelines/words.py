"""Words with times where a family tells no more than about when its tokens begin (text/token_times.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlx_model.text.results import Segment, Transcript, Word
from mlx_model.text.token_times import timed
from mlx_model.text.tokenizer import Tokenizer

HELD_MS = 600  # without a VAD nobody knows where a pause begins; a token is taken to last no longer


def with_words(result: Transcript, tokenizer: Tokenizer) -> Transcript:
    """Return the same with `words`; without them still where the family gave neither them nor its tokens' times."""
    if result.words is not None or (result.text and not result.token_starts_ms):
        return result
    span = 0, round(result.duration_s * 1000)
    return replace(result, words=words_of(result, tokenizer, span, held_ms=HELD_MS))


def words_of(
    heard: Transcript | Segment,
    tokenizer: Tokenizer,
    span: tuple[int, int],
    silent: Sequence[Sequence[int]] = (),
    *,
    held_ms: int | None = None,
) -> list[Word]:
    """Return the words of what was heard between two times, with their confidences; see `token_times.timed`."""
    starts = [span[0] + start for start in heard.token_starts_ms or []]
    tokens = [tokenizer.tokens[token] for token in heard.token_ids] if starts else []
    return timed(heard.text, tokens, starts, span, silent, confidences=heard.confidences, held_ms=held_ms)
