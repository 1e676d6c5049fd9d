"""`parity run` on the bundled demo: a healthy conversion passes, a damaged one fails where it was damaged.

Oracle: FunASR itself, recorded once per session. The damages are faults that real ports have shipped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mlx_model.blas import mx
from mlx_model.errors import CheckpointError, OutputError, UsageError
from parity.candidate import Candidate
from parity.demo import MODEL, SPEECH
from parity.layers.run import check, compare_trace, find_audio
from parity.layers.tapset import load_tapset
from parity.layers.trace import Trace

pytestmark = [pytest.mark.reference, pytest.mark.slow]


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import convert

    out = tmp_path_factory.mktemp("demo") / "model"
    convert.convert(MODEL, out)
    return out


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    from parity.reference import record

    folder = tmp_path_factory.mktemp("trace") / "trace"
    return record(MODEL, find_audio([SPEECH / "wav/test/D0001"], limit=3), folder)


def test_the_healthy_conversion_passes(converted: Path, trace: Trace, tmp_path: Path):
    report = check(converted, trace.directory, out=tmp_path)
    assert (report.verdict, report.first_failure) == ("pass", None)
    assert report.cif == {"utterances": 3, "firing_mismatches": 0, "explained": 0}
    assert report.tokens["compared"] > 15
    assert report.tokens["flipped"] == 0
    assert all(row.ratio is None or row.ratio < 4 for row in report.taps)
    assert (tmp_path / "parity.json").is_file()


def wrong_eps(candidate: Candidate) -> None:
    for module in candidate.model.modules():
        if hasattr(module, "eps"):
            module.eps = 1e-5


def positions_from_zero(candidate: Candidate) -> None:
    from mlx_model.layers import sinusoidal_positions

    width = candidate.model.config.frontend.output_size
    shift = np.array(sinusoidal_positions(400, width))
    norm = candidate.model.encoder.encoders0[0].norm1
    original = type(norm).__call__

    class Shifted(type(norm)):
        def __call__(self, x):
            steps = x.shape[1]
            before = np.concatenate([np.r_[np.zeros(width // 2), np.ones(width // 2)][None], shift])[:steps]
            return original(self, x + mx.array((before - shift[:steps]).astype(np.float32)))

    norm.__class__ = Shifted


def swapped_q_and_k(candidate: Candidate) -> None:
    linear = candidate.model.encoder.encoders[2].self_attn.linear_q_k_v
    size = linear.weight.shape[0] // 3
    order = mx.array(np.r_[size : 2 * size, :size, 2 * size : 3 * size])
    linear.weight, linear.bias = linear.weight[order], linear.bias[order]


def reversed_kernel(candidate: Candidate) -> None:
    block = candidate.model.encoder.encoders[1].self_attn.fsmn_block
    block.weight = block.weight[:, ::-1]


def no_tail(candidate: Candidate) -> None:
    candidate.model.predictor.tail_threshold = 0.05


def lost_bias(candidate: Candidate) -> None:
    candidate.model.decoder.decoders[1].src_attn.linear_out.bias *= 0


def no_inner_norm(candidate: Candidate) -> None:
    feed_forward = candidate.model.decoder.decoders[0].feed_forward
    feed_forward.norm.weight = mx.ones_like(feed_forward.norm.weight)


def povey_window(candidate: Candidate) -> None:
    frontend = candidate.model.frontend
    frontend.config = dataclasses.replace(frontend.config, window="povey")


def float16_weights(candidate: Candidate) -> None:
    linear = candidate.model.decoder.decoders3[0].feed_forward.w_2
    linear.weight = linear.weight.astype(mx.float16).astype(mx.float32)


FAULTS: list[tuple[Callable[[Candidate], None], str]] = [
    (wrong_eps, "encoder.encoders0.0"),
    (positions_from_zero, "encoder.encoders0.0"),
    (swapped_q_and_k, "encoder.encoders.2"),
    (reversed_kernel, "encoder.encoders.1"),
    (no_tail, "predictor.acoustic_embeds"),
    (lost_bias, "decoder.decoders.1"),
    (no_inner_norm, "decoder.decoders.0"),
    (povey_window, "fbank"),
    (float16_weights, "decoder.decoders3.0"),
]


@pytest.mark.parametrize(("fault", "address"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_a_fault_is_caught_where_it_is(fault: Callable, address: str, converted: Path, trace: Trace):
    candidate = Candidate(converted, load_tapset("paraformer"))
    fault(candidate)
    report = compare_trace(trace, candidate)
    assert report.verdict == "fail"
    assert report.first_failure == address


def test_nan_is_caught(converted: Path, trace: Trace):
    candidate = Candidate(converted, load_tapset("paraformer"))
    candidate.model.encoder.after_norm.bias *= float("nan")
    report = compare_trace(trace, candidate)
    assert report.first_failure == "encoder.after_norm"
    assert "NaN" in next(row.reason for row in report.taps if row.name == "encoder.after_norm")


def test_a_checkpoint_funasr_only_half_loads_is_refused(tmp_path: Path):
    """FunASR keeps random weights for a missing tensor, with a line in its log; the reference must not."""
    import shutil
    import subprocess
    import sys

    from parity.reference import record

    broken = tmp_path / "broken"
    shutil.copytree(MODEL, broken)
    code = (
        "import sys, torch; p = sys.argv[1]; s = torch.load(p, weights_only=True);"
        "s = s.get('state_dict', s); del s['decoder.after_norm.weight']; torch.save(s, p)"
    )
    subprocess.run([sys.executable, "-c", code, str(broken / "model.pt")], check=True, capture_output=True)
    with pytest.raises(CheckpointError, match=r"decoder\.after_norm\.weight is missing"):
        record(broken, find_audio([SPEECH], limit=1), tmp_path / "trace")


def test_no_audio_is_an_error_not_a_pass(tmp_path: Path):
    with pytest.raises(UsageError, match="no recordings"):
        find_audio([tmp_path])
    with pytest.raises(UsageError, match="no such file"):
        find_audio([tmp_path / "absent"])


def test_broken_traces_are_refused(tmp_path: Path, trace: Trace):
    with pytest.raises(OutputError, match=r"no trace\.json"):
        Trace.open(tmp_path)
    (tmp_path / "trace.json").write_text('{"schema": "trace/0"}')
    with pytest.raises(OutputError, match="trace/0"):
        Trace.open(tmp_path)
    (tmp_path / "trace.json").write_text('{"schema": "trace/1", "meta": {}, "utterances": []}')
    with pytest.raises(OutputError, match="no utterances"):
        Trace.open(tmp_path)
