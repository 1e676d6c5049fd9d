"""The engines' columns: the same taps, judged by the same floor. Oracle: the bundled trace, which needs no torch."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from mlx_model.engines import cpu_engine, lanes
from mlx_model.machine import device
from parity import families
from parity.demo import TRACE
from parity.faults.engine import faults
from parity.layers.run import check, compare_trace
from parity.taps.trace import Trace
from reports.schema import PLAIN

needs_engine = pytest.mark.skipif(not cpu_engine.available(), reason="the CPU engine needs x86-64 and a C compiler")


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes are in force, two of them, however many cores and whichever BLAS this process may use."""
    for module in (device, lanes):
        monkeypatch.setattr(module, "few_cores", lambda: True)
    monkeypatch.setattr(lanes, "cores", lambda: 2)


@needs_engine
@pytest.mark.usefixtures("two_cores")
def test_every_engine_in_force_has_a_column_of_its_own(converted: Path):
    report = check(converted, TRACE, invariants=False)
    names = {engine: [row.name for row in report.taps if row.engine == engine] for engine in ("CPU engine", "lanes")}
    plain = [row.name for row in report.taps if row.engine == PLAIN]
    assert (report.verdict, report.engine) == ("pass", PLAIN)
    assert names["CPU engine"] == names["lanes"] == [name for name in plain if name in names["lanes"]]
    assert {"encoder.encoders0.0", "predictor.fires", "decoder.output_layer", "token_ids"} <= {*names["lanes"]}
    ratios = [row.ratio for row in report.taps if row.engine == "CPU engine" and row.ratio is not None]
    assert 0 < max(ratios) < 4
    assert "CPU engine at the same taps, 1 utterance" in report.numerics["tapped"]


@needs_engine
def test_an_engine_computes_what_it_is_asked_for(converted: Path):
    """Columns are of different arithmetic: no bit need agree, and nearly none does."""
    candidate, trace = families.candidate(converted), Trace.open(TRACE)
    arrays = trace.arrays(trace.utterances[0])
    plain = candidate.network(arrays.plain["feats"])["decoder.output_layer"]
    run = candidate.column("CPU engine", arrays.plain, arrays.inputs, steps=False)
    other = run.taps["decoder.output_layer"]
    assert 0 < np.abs(plain - other).max() < 1e-4
    assert run.introduced.keys() == candidate.introduced(arrays.inputs, steps=False).keys()


@needs_engine
def test_a_wrong_kernel_fails_its_own_column_alone(converted: Path):
    """A healthy model, and a gain times 1.0001 in cpu_engine.c: MLX's column passes, the engine's says where."""
    fault = next(fault for fault in faults("encoder") if fault.name == "engine_gain")
    with ExitStack() as stack:
        candidate = families.candidate(converted)
        fault.seed(candidate, stack)
        report = compare_trace(Trace.open(TRACE), candidate, invariants=False)
    assert (report.verdict, report.engine, report.address) == ("fail", "CPU engine", "encoder.encoders0.0")
    assert report.sentence.startswith("Under CPU engine, and not under MLX alone: ")
    assert {row.engine for row in report.taps if row.status == "fail"} == {"CPU engine"}
