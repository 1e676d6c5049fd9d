"""`transcribe - --stream` grew with all that had been said, 4 MB in ten hours, though nobody asked for it again.

Oracle: what Python has allocated before and after. As JSON the final document holds the whole text.
"""

from __future__ import annotations

import tracemalloc

from mlx_model.pipelines.captions import Captions
from mlx_model.pipelines.streams import Partial

WINDOWS = 20_000  # 3.3 hours of 600 ms


def said(number: int) -> Partial:
    """Return the text of one window."""
    start = number * 600
    return Partial(
        text=f"第{number}句", token_ids=[number], token_starts_ms=[start], start_ms=start, end_ms=start + 600,
        heard_ms=start + 900, is_final=False,
    )  # fmt: skip


def test_text_that_was_written_is_let_go():
    written = 0

    def write(text: str) -> None:
        nonlocal written
        written += len(text)

    captions = Captions(write)
    captions.partial(said(0))
    tracemalloc.start()
    try:
        for number in range(WINDOWS):
            captions.partial(said(number))
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert written > 5 * WINDOWS
    assert grown < 20_000  # a byte a window; it was 1.9 MB
