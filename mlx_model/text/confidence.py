"""What the confidences of several tokens are together: of a word, and of a transcript. Stdlib only.

Both are chosen by how they tell right from wrong on 500 utterances of AISHELL (paraformer_real_small). Of 2 and 3
characters as words, their product and its root tell best which are wrong whole (AUC 0.992 and 0.996; the least of them
0.992 and 0.995), and of the two the root says how many are (expected calibration error 0.040 against 0.090). The mean
over a transcript is nearer to 1 - CER (0.057 off on average) than the root of the product (0.068).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

LEAST = 1e-45  # float32's least number above 0: of a token that can hardly be, the logarithm is finite


def together(confidences: Sequence[float]) -> float | None:
    """Return a word's confidence, the geometric mean of its tokens'; None where it has none."""
    if not confidences:
        return None
    return math.exp(math.fsum(math.log(max(value, LEAST)) for value in confidences) / len(confidences))


def overall(confidences: Sequence[float]) -> float | None:
    """Return a transcript's confidence: the mean of its tokens', the share that should be right; None without any."""
    return math.fsum(confidences) / len(confidences) if confidences else None


def of_characters(tokens: Sequence[str], confidences: Sequence[float]) -> list[float]:
    """Return one confidence for every character that tokens print, white space left out: that of its token."""
    return [value for token, value in zip(tokens, confidences, strict=True) for _ in range(printed(token))]


def printed(token: str) -> int:
    """Return how many characters of a token are printed: none of `<unk>` and tags, nor of marks that join pieces."""
    if token.startswith("<") and token.endswith(">"):
        return 0
    return len(token.replace("@@", "").replace("▁", ""))
