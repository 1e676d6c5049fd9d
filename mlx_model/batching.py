"""Recordings in groups of similar length. Pure; imports no mlx: who only plans needs no model."""

from __future__ import annotations

from collections.abc import Sequence


def batches(lengths: Sequence[float], batch_size: int | None, batch_seconds: float) -> list[list[int]]:
    """Return indices grouped so that (longest x count) stays within `batch_seconds`, shortest first.

    A recording longer than `batch_seconds` stands alone.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        group = groups[-1] if groups else None
        fits = (
            group is not None
            and (len(group) + 1) * lengths[index] <= batch_seconds
            and (batch_size is None or len(group) < batch_size)
        )
        if fits and group is not None:
            group.append(index)
        else:
            groups.append([index])
    return groups
