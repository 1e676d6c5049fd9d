"""What ships: FunASR's models in MLX. `load(path)` returns a model; `model.transcribe(audio)` returns text.

Importing the package alone loads neither MLX nor a BLAS, so that `convert` can read its configuration classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["load"]


def load(path: str | Path) -> Any:
    """Return the model of a converted directory; see `mlx_model.loading.load`."""
    from mlx_model.loading import load as load_directory

    return load_directory(path)
