"""Faults of SenseVoice's queries: which rows stand in front of the features, where, and what is done to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlx_model.machine.blas import mx
from mlx_model.parts import queries as healthy
from mlx_model.parts.basic import sinusoidal_positions
from parity.faults.fault import Fault, behave, exchange, fault
from parity.sides.candidate import Candidate

FILE = "mlx_model.parts.queries"
QUERIES, EMBED = "queries", "encoder.embed"


def _reordered(candidate: Candidate, order: list[int]) -> None:
    call = type(candidate.model.embed).__call__
    behave(candidate.model.embed, lambda self, *asked: call(self, *asked)[mx.array(order)])


def _language_off(rows: dict[str, int], name: str) -> dict[str, int]:
    return {**rows, name: rows[name] + 1}


def _encoded(change: Callable[[Any, mx.array, mx.array], mx.array]) -> Callable[[Candidate, Any], None]:
    """Return a seed: `change(encoder, queries, feats)` gives what the first block gets, and nothing is added there."""

    def seed(candidate: Candidate, stack: Any) -> None:
        model = candidate.model
        size, scale = healthy.QUERIES, model.encoder.scale

        def positions(steps: int, depth: int) -> mx.array:
            return mx.zeros((steps, depth))

        call = type(model.encoder).__call__

        def encode(self: Any, feats: mx.array, mask: Any = None) -> mx.array:
            made = change(self, feats[:, :size], feats[:, size:])
            return call(self, made / scale, mask)

        exchange(stack, "mlx_model.parts.sanm.sinusoidal_positions", positions)
        behave(model.encoder, encode)

    return seed


def _after_positions(encoder: Any, queries: mx.array, feats: mx.array) -> mx.array:
    speech = feats * encoder.scale + sinusoidal_positions(*feats.shape[1:])
    return mx.concatenate([queries, speech], axis=1)


def _not_numbered(encoder: Any, queries: mx.array, feats: mx.array) -> mx.array:
    speech = feats * encoder.scale + sinusoidal_positions(*feats.shape[1:])
    return mx.concatenate([queries * encoder.scale, speech], axis=1)


def _behind(encoder: Any, queries: mx.array, feats: mx.array) -> mx.array:
    x = mx.concatenate([feats, queries], axis=1)
    return x * encoder.scale + sinusoidal_positions(*x.shape[1:])


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of the four queries; every model has them at one place."""
    return (
        fault("event_and_emotion_swapped", QUERIES, "rows 2, 1 in place of 1, 2",
              lambda c, s: _reordered(c, [0, 2, 1, 3])),
        fault("style_first", QUERIES, "the itn query in front of the language's",
              lambda c, s: _reordered(c, [3, 0, 1, 2])),
        fault("itn_rows_swapped", QUERIES, "rows 14 and 15 exchanged", lambda c, s: (
            exchange(s, f"{FILE}.WITH_ITN_ROW", healthy.WITHOUT_ITN_ROW),
            exchange(s, f"{FILE}.WITHOUT_ITN_ROW", healthy.WITH_ITN_ROW))[0]),
        fault("language_row_off_by_one", QUERIES, "Cantonese asked for by the row behind its own",
              lambda c, s: exchange(s, f"{FILE}.LANGUAGE_ROWS", _language_off(healthy.LANGUAGE_ROWS, "yue"))),
        fault("queries_after_positions", EMBED, "queries put in front after scale and positions",
              _encoded(_after_positions)),
        fault("queries_not_numbered", EMBED, "positions counted from the first frame of speech",
              _encoded(_not_numbered)),
        fault("queries_behind", EMBED, "queries behind the features, not in front", _encoded(_behind)),
    )  # fmt: skip
