"""`parity run`, `record`, `check` on the demo checkpoint: a healthy conversion passes at every precision, bad input is
refused. Oracle: FunASR itself, recorded once per session.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_model.engines import cpu_engine, gpu_rows
from mlx_model.errors import CheckpointError, OutputError, UsageError
from mlx_model.machine import device
from mlx_model.machine.blas import mx
from parity import families
from parity.demo import MODEL, SPEECH
from parity.layers.given import find_audio
from parity.layers.invariance import Held, in_24_bits, on_engine
from parity.layers.run import check, compare_trace, record, run
from parity.taps.trace import Trace
from reports.environment import directory_sha256

pytestmark = [pytest.mark.reference, pytest.mark.slow]
ONE = SPEECH / "wav/test/D0003/DEMOD0003W0006.wav"


def test_the_healthy_conversion_passes(converted: Path, trace: Trace, tmp_path: Path):
    report = check(converted, trace.directory, out=tmp_path)
    assert report.model_sha256 == directory_sha256(converted)
    assert (report.verdict, report.first_failure, report.address) == ("pass", None, None)
    assert report.derived()["cif"] == {"utterances": 7, "firing_mismatches": 0, "explained": 0}
    assert report.outcomes["token"].compared > 15
    assert report.outcomes["token"].differ == 0
    assert all(row.ratio is None or row.ratio < 4 for row in report.taps)
    assert all(row["status"] == "pass" for row in report.structure)
    assert json.loads((tmp_path / "parity.json").read_text("utf-8"))["verdict"] == "pass"


def test_rows_stand_in_network_order_with_their_insides_first(converted: Path, trace: Trace):
    names = [row.name for row in check(converted, trace.directory, invariants=False).taps]
    inside = [f"encoder.encoders.0.{step}" for step in (
        "norm1", "self_attn.q", "self_attn.k", "self_attn.v", "self_attn.memory", "self_attn.context", "self_attn",
        "norm2", "feed_forward.w_1", "feed_forward",
    )]  # fmt: skip
    start = names.index("encoder.encoders.0.norm1")
    assert names[start : start + 11] == [*inside, "encoder.encoders.0"]
    alphas = names.index("predictor.alphas")
    assert names[alphas - 2 : alphas + 7] == [
        "predictor.cif_conv1d", "predictor.cif_output", "predictor.alphas", "cif.running_sum", "cif.weights",
        "predictor.peaks", "predictor.fires", "predictor.token_num", "predictor.acoustic_embeds",
    ]  # fmt: skip
    assert names[:3] == ["fbank", "feats", "encoder.embed"]


@pytest.mark.parametrize(("dtype", "bits"), [("float16", None), ("bfloat16", None), ("float32", 8), ("float32", 4)])
def test_other_precisions_pass_by_their_own_tolerances(trace: Trace, tmp_path: Path, dtype: str, bits: int | None):
    """A healthy half or quantised conversion passes, and would not by float32's tolerances."""
    import convert

    convert.convert(MODEL, tmp_path / "model", dtype=dtype, bits=bits, group_size=32 if bits else 64)
    report = check(tmp_path / "model", trace.directory, invariants=False)
    assert (report.verdict, report.precision) == ("pass", dtype if bits is None else f"{bits}bit")
    assert max(row.ratio for row in report.taps if row.ratio is not None) > 1000
    assert all(row.explained for row in report.decisions)


def test_float16_dressed_as_float32_fails(converted: Path, trace: Trace):
    """Half-precision weights in a float32 model must not slip through."""
    candidate = families.candidate(converted)
    linear = candidate.model.decoder.decoders3[0].feed_forward.w_2
    linear.weight = linear.weight.astype(mx.float16).astype(mx.float32)
    report = compare_trace(trace, candidate, invariants=False)
    assert (report.verdict, report.address) == ("fail", "decoder.decoders3.0.feed_forward")


def test_the_reference_is_shown_with_its_own_defects(converted: Path, trace: Trace):
    """FunASR's batch defect, by FunASR's own numbers; its CIF code paths against each other."""
    report = check(converted, trace.directory)
    own = [row for row in report.invariance if row.side == "reference"]
    assert own
    assert max(row.max_abs for row in own) > 1e-3  # the padding leaks: thousands of times float32's rounding
    assert {row.status for row in own} == {"note"}
    ours = {row.name: row for row in report.invariance if row.side == "candidate"}
    assert ours["batch composition"].status == ours["padding length"].status == ours["file order"].status == "pass"
    assert ours["batch composition"].max_abs < 1e-4
    assert {row.path for row in report.paths} == {"vectorised", "loop", "export", "export loop"}
    assert all(row.max_abs is not None and row.max_abs < 1e-3 for row in report.paths)


@pytest.mark.skipif(not cpu_engine.available(), reason="the CPU engine needs x86-64 with AVX2, and a C compiler")
def test_the_engine_for_many_calls_is_held_against_the_plain_modules(
    converted: Path, trace: Trace, monkeypatch: pytest.MonkeyPatch
):
    def status() -> str:
        rows = {row.name: row for row in check(converted, trace.directory).invariance if row.side == "candidate"}
        return rows["CPU engine"].status

    assert status() == "pass"
    right = cpu_engine.Memory.add

    def one_frame_late(self: cpu_engine.Memory, v: Any, starts: Any, y: Any, left: int) -> None:
        right(self, v, starts, y, left + 1)

    monkeypatch.setattr(cpu_engine.Memory, "add", one_frame_late)
    assert status() == "fail"


def test_the_path_for_gpus_is_held_against_the_plain_modules(
    converted: Path, trace: Trace, monkeypatch: pytest.MonkeyPatch
):
    """On the CPU device here: it takes the GPU's way wherever a user's call would on a GPU."""

    def rows() -> dict[str, str]:
        found = check(converted, trace.directory).invariance
        return {row.name: row.status for row in found if row.side == "candidate"}

    assert "GPU path" not in rows()
    monkeypatch.setattr(device, "on_gpu", lambda: True)
    assert rows()["GPU path"] == "pass"
    monkeypatch.setattr(gpu_rows, "score_bias", lambda keep, dtype: mx.zeros((len(keep), 1, 1, keep.shape[1]), dtype))
    assert rows()["GPU path"] == "fail"  # attention that sees the padding


@pytest.mark.skipif(not cpu_engine.available(), reason="the CPU engine needs x86-64 with AVX2, and a C compiler")
def test_the_engine_is_held_against_a_quantised_model_too(trace: Trace, tmp_path: Path):
    import convert

    convert.convert(MODEL, tmp_path / "model", bits=4, group_size=32)
    candidate = families.candidate(tmp_path / "model")
    waveforms = [trace.waveform(row) for row in trace.utterances[:2]]
    alone = [candidate.results([waveform])[0] for waveform in waveforms]
    [row] = on_engine(Held(candidate=candidate, kind="token", waveforms=waveforms, alone=alone))
    assert (row.name, row.status, row.differ) == ("CPU engine", "pass", 0)
    assert row.max_abs is not None
    assert 0 < row.max_abs < 1e-3  # two orders of summation, logits of about 10


def test_only_files_that_hold_the_samples_are_compared():
    """Joined or mixed audio is no 24-bit audio: a FLAC file of it is another recording."""
    sixteen = np.arange(-32768, 32768, 7, dtype=np.float32) / 32768
    assert in_24_bits(sixteen[1:])
    assert not in_24_bits(sixteen[1:] * np.float32(0.3))
    assert not in_24_bits(np.array([0.25, 1.5], np.float32))
    assert not in_24_bits(np.array([np.nan], np.float32))


def test_pictures_hold_what_is_drawn(converted: Path, trace: Trace):
    report = check(converted, trace.directory, invariants=False)
    picture = report.pictures.firing[0]
    frames = len(picture.fbank[0])
    assert len(picture.reference_alphas) == frames + 1  # the tail frame
    assert picture.reference_fires == picture.candidate_fires
    assert len(picture.tokens) == len(picture.reference_fires)
    assert np.allclose(picture.running_sum[-1], sum(picture.candidate_alphas), atol=1e-3)
    assert report.heatmap is not None
    assert len(report.heatmap.values) <= 64


def test_taps_can_be_chosen_and_a_wrong_pattern_is_refused(converted: Path, trace: Trace):
    report = check(converted, trace.directory, taps=["encoder.encoders.1"], invariants=False)
    assert report.verdict == "pass", report.sentence
    assert next(row.ratio for row in report.taps if row.name == "decoder.output_layer") < 3  # judged all the same
    measured = {row.name.rsplit(".", 1)[0] for row in report.taps if row.scope == "introduced"}
    assert all(name.startswith("encoder.encoders.1") for name in measured)
    with pytest.raises(UsageError, match=r"no tap fits 'encoder\.blocks"):
        check(converted, trace.directory, taps=["encoder.blocks.*"])


def test_a_recorded_trace_can_be_small(converted: Path, tmp_path: Path, trace: Trace):
    small = record(MODEL, tmp_path / "trace", [ONE], taps=["encoder.after_norm"], steps=False)
    report = check(converted, small.directory, invariants=False)
    assert report.verdict == "pass"
    assert (tmp_path / "trace" / small.utterances[0].file).stat().st_size < 1_000_000
    with pytest.raises(OutputError, match="exists"):
        record(MODEL, tmp_path / "trace", [ONE])


def test_a_failed_recording_leaves_nothing(tmp_path: Path):
    with pytest.raises(UsageError, match="no tap fits"):
        record(MODEL, tmp_path / "trace", [ONE], taps=["no.such.module"])
    assert list(tmp_path.iterdir()) == []


def test_the_trace_of_another_checkpoint_is_refused(checkpoints: dict[str, Path], trace: Trace, tmp_path: Path):
    import convert

    convert.convert(checkpoints["plain"], tmp_path / "model")
    with pytest.raises(OutputError, match="converted from"):
        check(tmp_path / "model", trace.directory)


def test_a_checkpoint_funasr_only_half_loads_is_refused(tmp_path: Path):
    """FunASR keeps random weights for a missing tensor, with a line in its log; the reference must not."""
    import subprocess
    import sys

    from parity.sides.reference import record as recording

    broken = tmp_path / "broken"
    shutil.copytree(MODEL, broken)
    code = (
        "import sys, torch; p = sys.argv[1]; s = torch.load(p, weights_only=True);"
        "s = s.get('state_dict', s); del s['decoder.after_norm.weight']; torch.save(s, p)"
    )
    subprocess.run([sys.executable, "-c", code, str(broken / "model.pt")], check=True, capture_output=True)
    with pytest.raises(CheckpointError, match=r"decoder\.after_norm\.weight is missing"):
        recording(broken, find_audio([SPEECH], limit=1), tmp_path / "trace")


def test_no_audio_is_an_error_not_a_pass(tmp_path: Path):
    with pytest.raises(UsageError, match="no recordings"):
        find_audio([tmp_path])
    with pytest.raises(UsageError, match="no such file"):
        find_audio([tmp_path / "absent"])


def test_silence_alone_is_refused_and_compared_beside_speech(converted: Path, tmp_path: Path):
    """No token on either side: the encoder is compared, the decoder has nothing to say; rows keep network order."""
    import soundfile

    soundfile.write(tmp_path / "a_silence.wav", np.zeros(8000, dtype=np.float32), 16000)
    with pytest.raises(UsageError, match="no recording yields a token"):
        run(MODEL, converted, [tmp_path / "a_silence.wav"], invariants=False)
    report = run(MODEL, converted, [tmp_path / "a_silence.wav", ONE], invariants=False)
    assert report.verdict == "pass", report.sentence
    assert report.utterances[0].outcomes["token"].compared == report.utterances[0].outcomes["token"].differ == 0
    assert report.utterances[0].candidate_text == report.utterances[0].reference_text == ""
    names = [row.name for row in report.taps]
    assert names.index("decoder.output_layer") < names.index("end_to_end.text")
    assert names.index("predictor.alphas") < names.index("decoder.decoders.0")
