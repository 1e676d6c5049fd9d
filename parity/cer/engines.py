"""Who transcribes: the MLX model, the real FunASR, or a callable of the caller's, all behind one interface.

Both engines are imported inside the functions that open them: importing this file must load neither mlx nor torch nor
funasr. The mlx engine needs mlx_model.load, the funasr engine parity.reference (a process of its own).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_model.errors import UsageError

Progress = Callable[[float], Any]
# Paths in; one mapping per path in the same order out, with the fields of `transcribe --json`: path, text (None where
# there is none), duration_s, error (None or one line).
Transcriber = Callable[[Sequence[Path]], Iterable[Mapping[str, Any]]]

ENGINES = ("mlx", "funasr")


def check_engine(engine: str) -> str:
    """Return the name, or raise UsageError naming the nearest engine where there is none of that name."""
    if engine in ENGINES:
        return engine
    near = difflib.get_close_matches(engine, ENGINES, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"no engine is called {engine!r}{hint} (there are: {', '.join(ENGINES)})")


def open_engine(
    engine: str, model: str, *, batch_seconds: float | None = None, progress: Progress | None = None
) -> Transcriber:
    """Return the transcriber of the engine of that name, its model loaded where it runs in this process.

    Args:
        engine: "mlx" or "funasr".
        model: a converted directory for mlx; for funasr whatever `parity.reference` takes.
        batch_seconds: audio per batch (mlx); None leaves the model's own default.
        progress: called with the amount done since the last call, in recordings.

    Raises:
        UsageError: there is no engine of that name.
    """
    if check_engine(engine) == "mlx":
        return _open_mlx(model, batch_seconds, progress)
    return _open_funasr(model, progress)


def _open_mlx(model: str, batch_seconds: float | None, progress: Progress | None) -> Transcriber:
    import mlx_model

    loaded: Any = mlx_model.load(model)
    options: dict[str, Any] = {} if batch_seconds is None else {"batch_seconds": batch_seconds}

    def transcribe(paths: Sequence[Path]) -> list[dict[str, Any]]:
        transcripts = loaded.transcribe(list(paths), progress=progress, **options)
        return [
            {"path": item.path, "text": item.text, "duration_s": item.duration_s, "error": item.error}
            for item in transcripts
        ]

    return transcribe


def _open_funasr(model: str, progress: Progress | None) -> Transcriber:
    from parity import reference

    def transcribe(paths: Sequence[Path]) -> Iterable[Mapping[str, Any]]:
        return reference.transcribe(model, list(paths), progress)

    return transcribe
