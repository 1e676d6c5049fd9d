"""What a result says of how it was computed. Oracles: float64 on the host, and what is set by hand here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_model import engines
from mlx_model.engines import cpu_engine, lanes
from mlx_model.loading import load
from mlx_model.machine import blas, device, numerics
from mlx_model.machine.blas import Float32Setting, mx, nn
from mlx_model.parts.basic import Linear
from tests.mlx_model.asr_models import CONFIG
from tests.mlx_model.engines.test_cpu_rows import WIDE, packed_model
from tests.mlx_model.engines.test_lanes import random_model
from tests.mlx_model.machine.test_blas import python
from tests.mlx_model.vad_models import write_vad

SETTING = """
import json, os, sys
os.environ.pop("MLX_ENABLE_TF32")  # this test's own process has set it
os.environ.update({given})
{first}
from mlx_model.machine.blas import float32_setting
s = float32_setting()
print(json.dumps([os.environ.get("MLX_ENABLE_TF32"), s.ours, s.value, s.late]))
"""


@pytest.mark.parametrize(
    ("first", "given", "expected"),
    [
        ("", {}, ["0", True, "0", False]),
        ("", {"MLX_ENABLE_TF32": "1"}, ["1", False, "1", False]),
        ("import mlx.core", {}, ["0", True, "0", True]),
    ],
)
def test_exact_float32_is_asked_for_unless_the_user_set_it(first: str, given: dict[str, str], expected: list[Any]):
    assert json.loads(python(SETTING.format(first=first, given=given))) == expected


def test_a_cpu_computes_exactly_and_its_product_is():
    assert numerics.float32_mode() == ("exact", None)
    assert numerics.float32_warning() is None
    assert numerics.product_error() < 1e-6


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A GPU with this setting and this error of a product."""

    def be(error: float, **setting: Any) -> None:
        monkeypatch.setattr(numerics, "on_gpu", lambda: True)
        monkeypatch.setattr(numerics, "_measured_error", lambda: error)
        monkeypatch.setattr(blas, "_float32", Float32Setting(**{"ours": True, "value": "0", "late": False, **setting}))

    return be


def test_on_a_gpu_what_was_asked_for_in_time_is_not_measured(elsewhere: Callable[..., None]):
    elsewhere(1.0)
    assert numerics.float32_mode() == ("exact", None)


@pytest.mark.parametrize(
    ("setting", "words"), [({"late": True}, "import mlx_model first"), ({"ours": False, "value": "1"}, "unset it")]
)
def test_on_a_gpu_one_product_is_measured_where_it_is_not_known(
    elsewhere: Callable[..., None], setting: dict[str, Any], words: str
):
    elsewhere(3e-4, **setting)
    assert numerics.float32_mode() == ("tf32", 3e-4)
    warning = numerics.float32_warning()
    assert warning is not None
    assert words in warning
    elsewhere(1e-7, **setting)  # a GPU without such products
    assert numerics.float32_mode() == ("exact", 1e-7)
    assert numerics.float32_warning() is None


def test_the_product_that_is_measured_shows_ten_bits(monkeypatch: pytest.MonkeyPatch):
    """Inputs rounded to ten bits of mantissa, as TF32 does."""

    class Rounded:
        def __init__(self, value: np.ndarray):
            self.value = (value.view(np.uint32) + 0x1000 & 0xFFFFE000).view(np.float32)

        def __matmul__(self, other: Rounded) -> np.ndarray:
            return self.value @ other.value

    monkeypatch.setattr(numerics.mx, "array", Rounded)
    assert 1e-4 < numerics.product_error() < 1e-3


@pytest.mark.skipif(not cpu_engine.available(), reason="needs x86-64 with AVX2, and a C compiler")
def test_the_engine_named_is_the_one_in_force():
    model = random_model(WIDE)
    assert "CPU engine" not in numerics.numerics(model)["engine"]
    engines.fit(model)
    assert numerics.numerics(model)["engine"].startswith("CPU engine (AVX2 and FMA")
    with engines.plain():
        assert numerics.numerics(model)["engine"] == "MLX, module by module"
    model.set_dtype(mx.float16)
    assert numerics.numerics(model)["engine"].startswith("CPU engine (AVX2 and FMA")
    layer = model.decoder.decoders[0]
    layer.__class__ = type("Other", (type(layer),), {})
    named = numerics.numerics(model)["engine"]
    assert named.startswith("encoder: CPU engine")
    assert "decoder: MLX" in named


def test_lanes_and_the_path_for_gpus_are_named(monkeypatch: pytest.MonkeyPatch):
    model = random_model(CONFIG)
    engines.fit(model)
    monkeypatch.setattr(cpu_engine, "available", lambda: False)
    monkeypatch.setattr(lanes, "few_cores", lambda: True)
    assert "lanes" in model.engine
    monkeypatch.setattr(device, "on_gpu", lambda: True)
    assert model.engine == "GPU path"
    layer = model.encoder.encoders0[0]
    layer.__class__ = type("Other", (type(layer),), {})
    assert "module by module" in model.engine
    layer.__class__ = type(model.encoder.encoders[0])
    with engines.only("GPU path"):  # step by step, so that modules can be watched
        assert model.engine == "GPU path"
    model.compile()
    assert model.engine == "GPU path, compiled"


def test_precision_is_that_of_the_modules():
    assert numerics.precision(random_model(WIDE)) == "float32"
    model = packed_model(WIDE, 8)
    assert numerics.precision(model) == "8-bit g32, rest float32"
    model.decoder.output_layer = nn.QuantizedLinear.from_linear(Linear(64, 9), 64, 4)  # type: ignore[assignment]
    assert numerics.precision(model) == "4/8-bit g32/64, rest float32"
    model.set_dtype(mx.bfloat16)
    assert numerics.precision(model) == "4/8-bit g32/64, rest bfloat16"


def test_no_path_of_this_machine_is_named(monkeypatch: pytest.MonkeyPatch):
    reason = "/home/me/lib/libx.so: /home/me/lib/libx.so: cannot open"
    monkeypatch.setattr(blas, "_status", blas.BlasStatus(needed=True, library=None, reason=reason))
    assert numerics.blas_name() == "MLX's own (libx.so: libx.so: cannot open)"
    found = blas.BlasStatus(needed=True, library=str(Path("/opt/x/libopenblas.so")), reason="best")
    monkeypatch.setattr(blas, "_status", found)
    assert numerics.blas_name() == "libopenblas.so (best)"


def test_every_model_says_what_computes_it(tmp_path: Path):
    import convert

    convert.convert(write_vad(tmp_path / "source"), tmp_path / "model")
    found = numerics.numerics(load(tmp_path / "model"))
    assert found["engine"] == "MLX, module by module"
    assert found["precision"] == "float32"
    assert set(found) == set(numerics.Numerics.__annotations__) == set(numerics.numerics())
    assert "engine MLX" in numerics.in_words(found)
