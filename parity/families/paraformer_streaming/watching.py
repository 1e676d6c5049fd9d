"""Looking on while FunASR streams: the tokens it looks up, and the numbers of CIF that it returns to nobody.

Beside torch, without MLX. Nothing that is computed changes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mlx_model.errors import MlxFunasrError


class Overheard:
    """FunASR's tokenizer; `called` are the ids of every window with tokens, which `inference` does not return."""

    def __init__(self, tokenizer: Any):
        self.tokenizer, self.called = tokenizer, list[list[int]]()

    @property
    def ids(self) -> list[int]:
        """All ids so far."""
        return [token for ids in self.called for token in ids]

    def ids2tokens(self, ids: Sequence[int]) -> list[str]:
        """Return the pieces of a window's ids."""
        self.called.append([int(token) for token in ids])
        return self.tokenizer.ids2tokens(ids)


@contextmanager
def returning(function: Callable[..., Any]) -> Iterator[list[dict[str, Any]]]:
    """Yield a list that fills with the local variables of a function whenever it returns."""
    code, frames, before = function.__code__, list[dict[str, Any]](), sys.getprofile()

    def profile(frame: Any, event: Any, more: Any) -> None:
        if event == "return" and frame.f_code is code:
            frames.append(dict(frame.f_locals))
        if before is not None:
            before(frame, event, more)

    sys.setprofile(profile)
    try:
        yield frames
    finally:
        sys.setprofile(before)


def integrals_of(frame: dict[str, Any]) -> list[np.ndarray]:
    """Return what CIF made of a window, of which T frames were its to decide on, the tail not counted.

    [embeds (1, U, D), alphas (1, T), integrals (1, T, or T + 1 with the tail), fires of as many, carry_alpha (1, 1),
    carry_hidden (1, 1, D)]. Integrals are sums before a token is taken off; so is carry_alpha, which is rounded as sums
    about 1 are: of a remainder near 0 a relative distance would say nothing.

    Raises:
        MlxFunasrError: firings, or what is left, are not FunASR's own.
    """
    cache, alphas, final = frame["cache"], frame["alphas"].numpy().copy(), int(frame["is_final"])
    sums, fires, left = firings(alphas[0], frame["self"].threshold)
    tokens, carried = int(frame["token_length"][0]), cache["cif_alphas"].numpy().copy()
    if int(fires.sum()) != tokens or left != carried.ravel()[0]:
        raise MlxFunasrError(f"{int(fires.sum())} frames fire in a window in which FunASR counted {tokens} tokens")
    before, stride, _ = cache["chunk_size"]
    first = 1 + before  # behind the pseudo-frame that the window before left
    stop = alphas.shape[1] - final if final else first + stride
    decided = slice(first, stop + final)
    hidden = cache["cif_hidden"].numpy().copy()
    embeds = frame["list_ls"][0][None].numpy().copy() if tokens else np.zeros((1, 0, hidden.shape[-1]), hidden.dtype)
    found = [embeds, alphas[:, first:stop], sums[None, decided], fires[None, decided]]
    weight = carried.reshape(1, 1) + carried.dtype.type(frame["self"].threshold)
    return [*found, weight, hidden.reshape(1, 1, -1)]


def firings(alphas: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return sums (W,), which frames fire (W,) bool, and what is left: FunASR's loop on its alphas, in their type."""
    kind = alphas.dtype.type
    integral, sums, fires = kind(0.0), np.empty_like(alphas), np.zeros(len(alphas), dtype=bool)
    for frame, alpha in enumerate(alphas):
        sums[frame] = integral + alpha
        fires[frame] = sums[frame] >= threshold
        integral = sums[frame] - kind(threshold) if fires[frame] else sums[frame]
    return sums, fires, integral
