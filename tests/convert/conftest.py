"""Fixtures of the conversion tests; the tiny model itself is described in tiny_model.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_model import write_model


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny")


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str = "made", **parts: Any) -> Path:
        return write_model(tmp_path / name, **parts)

    return make
