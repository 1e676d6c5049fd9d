"""`parity run` of a bfloat16 conversion with attention's scale 2 % too large passed: "within what bfloat16 allows".

So did a float16 one with a LayerNorm's eps of 1e-3. Limits below float32 were powers of two times float32's floor: six
times what FunASR itself is away from the truth in those precisions. Now FunASR is run in them, where the candidate
asks, and its own distance is the floor. Oracle: FunASR with its weights rounded to 16 bits; of a fault, where it was
put.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import convert
from mlx_model.machine.blas import mx
from mlx_model.parts import sanm
from parity import families
from parity.demo import MODEL, SPEECH
from parity.faults.fault import behave, scaled
from parity.layers.check import Comparing
from parity.layers.run import check, record
from parity.sides.candidate import Candidate
from parity.taps.trace import Trace, _digest
from parity.taps.verdict import Verdict
from reports.schema import TapRow

pytestmark = [pytest.mark.reference, pytest.mark.slow]
HALVES = ("float16", "bfloat16")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`trace`, FunASR in both half precisions; `old`, the same as the version before read it; conversions."""
    folder = tmp_path_factory.mktemp("half")
    trace = record(MODEL, folder / "trace", [SPEECH / "wav/test/D0003/DEMOD0003W0006.wav"], halves=HALVES)
    for dtype in HALVES:
        convert.convert(MODEL, folder / dtype, dtype=dtype)
    (folder / "old").mkdir()
    for path in trace.directory.glob("*.safetensors"):
        (folder / "old" / path.name).hardlink_to(path)
    document = json.loads((trace.directory / "trace.json").read_text("utf-8"))
    meta = {name: value for name, value in document["meta"].items() if name != "halves"}
    old = {"schema": "trace/4", "meta": meta, "utterances": document["utterances"]}
    (folder / "old/trace.json").write_text(json.dumps({**old, "sha256": _digest(old)}), "utf-8")
    return folder


def judged(work: Path, trace: str, candidate: Candidate) -> tuple[Verdict, dict[str, TapRow]]:
    """Return the verdict over the plain column by the taps alone, and its rows."""
    recorded = Trace.open(work / trace)
    comparing = Comparing(recorded, candidate, pictures=0, engines=0)
    for utterance, arrays in recorded.read():
        comparing.add(utterance, arrays)
    rows = comparing.comparison.rows()
    return comparing.plain(rows, [], []), {row.name: row for row in rows}


def louder(candidate: Candidate, module: str) -> None:
    """Let one attention scale its scores by 2 % too much."""
    attention = candidate.modules[module]
    call, attend = type(attention).__call__, sanm.attend

    def seeded(self: Any, *given: Any) -> Any:
        def scale(q: Any, *more: Any) -> Any:
            return attend(scaled(q, 1.02), *more)

        with mock.patch.object(sanm, "attend", scale):
            return call(self, *given)

    behave(attention, seeded)


def wide_eps(candidate: Candidate, module: str) -> None:
    """Let one LayerNorm compute with eps 1e-3, whatever it says of itself."""
    behave(candidate.modules[module], lambda self, x: mx.fast.layer_norm(x, self.weight, self.bias, 1e-3))


@pytest.mark.parametrize(
    ("dtype", "module", "seed", "address"),
    [
        ("bfloat16", "encoder.encoders.2.self_attn", louder, "encoder.encoders.2.self_attn.context"),
        ("bfloat16", "decoder.decoders.0.src_attn", louder, "decoder.decoders.0.src_attn.context"),
        ("float16", "encoder.encoders0.0.self_attn", louder, "encoder.encoders0.0.self_attn.context"),
        ("float16", "decoder.decoders3.0.feed_forward.norm", wide_eps, "decoder.decoders3.0.feed_forward.norm"),
    ],
)
def test_it_has_an_address(work: Path, dtype: str, module: str, seed: Callable[..., None], address: str):
    candidate = families.candidate(work / dtype)
    seed(candidate, module)
    assert judged(work, "old", candidate)[0].passed
    found, _ = judged(work, "trace", candidate)
    assert (found.passed, found.address) == (False, address)


@pytest.mark.parametrize("dtype", HALVES)
def test_healthy_ones_pass_and_the_report_names_the_floor(work: Path, dtype: str):
    """Ratios around 1 say that the floor is the right one: by float32's they would be 4,000 and more."""
    report = check(work / dtype, work / "trace", invariants=False)
    assert report.verdict == "pass", report.sentence
    assert f"FunASR's own {dtype} error" in report.sentence
    assert any(f"judged by the {dtype} reference's own distance" in note for note in report.notes)
    inside = [row.ratio for row in report.taps if row.scope == "introduced" and row.engine == "plain" and row.ratio]
    assert len(inside) > 60
    assert 0.5 < min(inside) < max(inside) < 2.2


def test_a_trace_without_is_judged_as_before_and_says_so(work: Path):
    report = check(work / "float16", work / "old", invariants=False)
    assert report.verdict == "pass"
    (note,) = [note for note in report.notes if "Candidate precision" in note]
    assert "2^13" in note
    assert "not by FunASR's own float16: record the trace with --precision float16" in note
