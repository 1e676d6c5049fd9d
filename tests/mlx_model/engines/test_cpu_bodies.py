"""The bodies of cpu_engine.c: which one a processor gets, and that they compute the same. Oracle: the body for AVX2."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from mlx_model.engines import cpu_bodies, cpu_engine
from mlx_model.engines.cpu_bodies import VARIABLE
from mlx_model.errors import UsageError
from mlx_model.machine.blas import mx
from mlx_model.machine.bodies import AVX2, BODIES, X86
from mlx_model.machine.compiler import compiled
from mlx_model.parts.basic import DepthwiseConv1d, LayerNorm
from tests.mlx_model.engines.test_cpu_engine import linear, normal, starts

AVX512 = AVX2 | {"avx512f"}
needs_engine = pytest.mark.skipif(not cpu_engine.available(), reason="needs x86-64 with AVX2, and a C compiler")
WIDE = [name for name, body in BODIES.items() if "-DLANES=16" in body.options and cpu_bodies.runs(body)]
ROWS = (1, 5, 12, 13, 50, 167, 260)  # of tiles and blocks of both bodies: less than one, whole ones, more than one


@pytest.fixture
def flags(monkeypatch: pytest.MonkeyPatch) -> Callable[[set[str]], None]:
    """Let the processor have these flags, and no body be asked for."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return lambda found: monkeypatch.setattr(cpu_bodies, "_processor_flags", lambda: found)


@pytest.mark.parametrize(("found", "name"), [(AVX512, "avx512"), (AVX512 | {"avx512bw"}, "avx512"), (AVX2, "avx2")])
def test_a_processor_gets_the_widest_body_that_it_can_run(flags, found: set[str], name: str):
    flags(found)
    assert cpu_bodies.chosen() == name


@pytest.mark.parametrize("found", [set(), AVX512 - {"f16c"}])
def test_other_processors_get_none(flags, found: set[str], monkeypatch: pytest.MonkeyPatch):
    flags(found)
    with pytest.raises(OSError, match="AVX2, FMA and F16C"):
        cpu_bodies.chosen()
    flags(AVX512)
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(OSError, match="x86-64"):
        cpu_bodies.chosen()


@pytest.mark.parametrize("machine", ["aarch64", "arm64"])  # as Linux and macOS call it; macOS has no /proc/cpuinfo
def test_an_arm_processor_gets_neon(flags, machine: str, monkeypatch: pytest.MonkeyPatch):
    flags(set())
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert cpu_bodies.chosen() == "neon"


@pytest.mark.parametrize("name", [name for name, body in BODIES.items() if body.machines == X86])
def test_a_body_can_be_asked_for(flags, name: str, monkeypatch: pytest.MonkeyPatch):
    flags(AVX512)
    monkeypatch.setenv(VARIABLE, name)
    assert cpu_bodies.chosen() == name
    assert cpu_bodies.in_words() == BODIES[name].words


@pytest.mark.parametrize(("name", "said"), [("avx512", "cannot run it"), ("sse", "expected one of avx512, avx2")])
def test_what_cannot_be_had_is_said(flags, name: str, said: str, monkeypatch: pytest.MonkeyPatch):
    flags(AVX2)
    monkeypatch.setenv(VARIABLE, name)
    with pytest.raises(UsageError, match=f"{VARIABLE}={name}: .*{said}"):
        cpu_bodies.chosen()


@needs_engine
def test_two_processors_may_share_a_cache():
    """Of a home directory, say: each finds a file of its own, and this machine's compiler makes both."""
    here = [body for body in BODIES.values() if body.is_for_this_machine]
    files = {compiled(cpu_bodies.SOURCE, *body.options).name for body in here}
    assert len(files) == len(here) > 1


@pytest.fixture(params=WIDE)
def wide(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what lets the operations be computed by "avx2", or by the wide body."""
    libraries = {name: cpu_bodies.load(BODIES[name], 2) for name in ("avx2", request.param)}

    def use(name: str) -> None:
        monkeypatch.setattr(cpu_engine, "kernels", lambda: libraries["avx2" if name == "avx2" else request.param])

    return use


@needs_engine
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16", 8, 6, 4])
def test_products_have_the_same_bits(wide, kind: str | int, relu: bool):
    """560 inputs: more than one slab, and no whole number of the wide body's panels; 70 outputs: part of one."""
    module = linear(normal(0, 70, 560), normal(1, 70))
    module = module.to_quantized(32, kind) if isinstance(kind, int) else module
    if isinstance(kind, str):
        module.set_dtype(getattr(mx, kind))
    for rows in ROWS:
        x, found = normal(2, rows, 560), {}
        for body in ("avx2", "wide"):
            wide(body)
            assert cpu_engine.Product.can(module)
            product = cpu_engine.Product(module)
            found[body] = product(x, relu=relu)
            np.testing.assert_array_equal(product(x[-1:], relu=relu), found[body][-1:])  # whatever it is batched with
            product.add(x, found[body])
        np.testing.assert_array_equal(found["wide"][:, :70], found["avx2"][:, :70])


@needs_engine
@pytest.mark.parametrize("bits", [None, 4])
def test_panels_for_several_blocks_of_rows_have_the_same_bits(wide, bits: int | None):
    """Columns enough that no thread wants its rows apart, and rows of more than a block: then panels are made once."""
    module = linear(normal(0, 2060, 288), normal(1, 2060))
    module = module if bits is None else module.to_quantized(32, bits)
    x, found = normal(2, 300, 288), {}
    for body in ("avx2", "wide"):
        wide(body)
        product = cpu_engine.Product(module)
        found[body] = product(x)[:, :2060]
        few = [product(x[at : at + 100])[:, :2060] for at in range(0, 300, 100)]  # each panel is made thrice
        np.testing.assert_array_equal(found[body], np.concatenate(few))
    np.testing.assert_array_equal(found["wide"], found["avx2"])


@needs_engine
def test_everything_else_is_as_near_as_float32_is(wide):
    """What sums across a vector sums in another order; the FSMN does not."""
    x, kv, at = normal(0, 233, 64), normal(1, 300, 128), starts(200, 33)
    norm, block = LayerNorm(48, 1e-12), DepthwiseConv1d(48, 5, 0)
    results = []
    for body in ("avx2", "wide"):
        wide(body)
        memory = normal(3, 233, 48)
        assert cpu_engine.Norm.can(norm)
        assert cpu_engine.Memory.can(block)
        cpu_engine.Memory(block).add(normal(2, 233, 48), at, memory, block.left)
        context = cpu_engine.attend(x, kv[:, :64], kv[:, 64:], at, starts(170, 130), 2)
        heads_of_48 = cpu_engine.attend(x[:, :48], kv[:, :48], kv[:, 80:], at, starts(170, 130), 1)  # part of a panel
        heads_of_16 = cpu_engine.attend(x, kv[:, :64], kv[:, 64:], at, starts(170, 130), 4)
        context = np.concatenate([context, heads_of_48, heads_of_16], axis=1)
        results.append((context, cpu_engine.Norm(norm)(normal(2, 233, 48), norm.eps), memory))
    (context, normed, memory), (wide_context, wide_normed, wide_memory) = results
    np.testing.assert_allclose(wide_context, context, atol=1e-6)
    np.testing.assert_allclose(wide_normed, normed, atol=1e-6)
    np.testing.assert_array_equal(wide_memory, memory)


ASKED = "from mlx_model.engines import cpu_engine as e; print(e.available(), e.kernels().engine_lanes())"


@needs_engine
@pytest.mark.parametrize(("name", "said"), [("avx2", "True 8"), ("avx512-by-avx2", "True 16")])
def test_the_variable_is_read(name: str, said: str):
    command, environment = [sys.executable, "-c", ASKED], {**os.environ, VARIABLE: name}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == said
