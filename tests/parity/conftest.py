"""FunASR recorded once per session on the demo checkpoint: three utterances and the self-test's short extra ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from parity.demo import MODEL, SPEECH
from parity.taps.trace import Trace
from tests.parity.bench.bench_fakes import model, stage_set

__all__ = ["model", "stage_set"]  # fixtures of the bench's tests


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo checkpoint's healthy conversion, float32."""
    import convert

    out = tmp_path_factory.mktemp("demo") / "model"
    convert.convert(MODEL, out)
    return out


@pytest.fixture(scope="session")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """FunASR's side of the demo checkpoint, all steps; needs torch and funasr."""
    from parity.layers.given import find_audio
    from parity.layers.selftest import extra_audio
    from parity.sides.reference import record

    folder = tmp_path_factory.mktemp("trace")
    found = find_audio([SPEECH / "wav/test/D0001"], limit=3)
    extra = extra_audio([path for _, path in found], folder)
    return record(MODEL, [*found, *extra], folder / "trace")
