"""Realistic report documents for the tests of the report pages: 20 taps, 5 utterances, a conversion, a benchmark.

Numbers are made up, but of the size that real runs have. Error rates and their comparison: cer_samples.py.
"""

from __future__ import annotations

from typing import Any

import cer_samples
from meeting_sample import meeting

from reports.schema import (
    BenchReport,
    BenchRow,
    CerReport,
    CompareReport,
    ConversionReport,
    DecisionRow,
    FaultRow,
    FiringPicture,
    HeatMap,
    Introduced,
    InvarianceRow,
    Outcome,
    ParityReport,
    PathRow,
    Pictures,
    SelftestReport,
    TapRow,
    TensorRow,
    UtteranceRow,
)

ENVIRONMENT: dict[str, Any] = {
    "project_version": "0.1.0",
    "git_commit": "9f2c1b7e5a0d4c36b8e1f7a2d3c4b5a697887766",
    "python": "3.11.7",
    "platform": "macOS-15.1-arm64-arm-64bit",
    "processor": "Apple M3 Max",
    "cores": 16,
    "versions": {"mlx": "0.32.4", "numpy": "2.4.6", "torch": "2.13.0", "funasr": "1.4.16"},
    "mlx_device": "Device(gpu, 0)",
    "mlx_enable_tf32": "0",
    "time_utc": "2026-11-22T23:24:46Z",
}
TAPS = [
    ("frontend.fbank", 1.03), ("frontend.lfr", 1.03), ("frontend.cmvn", 1.11), ("encoder.embed", 1.08),
    ("encoder.encoders0.0", 1.21), ("encoder.encoders.0", 1.18), ("encoder.encoders.12", 1.32),
    ("encoder.encoders.24", 1.44), ("encoder.encoders.36", 1.61), ("encoder.encoders.48", 1.58),
    ("encoder.after_norm", 1.37), ("predictor.alphas", 1.92), ("predictor.token_num", None),
    ("predictor.firing_frames", None), ("predictor.acoustic_embeds", 1.49), ("decoder.decoders.0", 1.27),
    ("decoder.decoders.15", 1.66), ("decoder.after_norm", 1.45), ("decoder.logits", 1.52), ("text.token_ids", None),
]  # fmt: skip
TEXTS = [
    ("BAC009S0764W0121", "甚至出现交易几乎停滞的情况", "甚至出现交易几乎停滞的情况"),
    ("BAC009S0764W0122", "一二线城市虽然也处于调整中", "一二线城市虽然也处于调整中"),
    ("BAC009S0764W0123", "但因为聚集了过多公共资源", "但因为聚集了过多公共资源"),
    ("BAC009S0764W0124", "为了规避三四线城市明显过剩的市场风险", "为了规避三四县城市明显过剩市场的风险"),
    ("BAC009S0764W0125", "标杆房企必然调整市场战略", "标杆房企必然调整市场战略"),
]


def _taps(broken: dict[str, float]) -> list[TapRow]:
    taps = []
    for number, (name, ratio) in enumerate(TAPS):
        floor = 2.1e-7 * 1.31**number
        ratio = broken.get(name, ratio)
        differs = bool(broken) and name == "text.token_ids"
        beyond = name in broken or differs
        alone = 1.1 if name != "decoder.decoders.15" else ratio
        worst = {"utt_id": TEXTS[3][0], "index": [41, 303], "truth": -1.2207031, "reference": -1.2207029}
        taps.append(
            TapRow(
                name=name,
                max_abs=float(differs) if ratio is None else 11 * floor * ratio,
                rel_l2=None if ratio is None else floor * ratio,
                floor_rel_l2=None if ratio is None else floor,
                ratio=ratio,
                tolerance_ratio=None if ratio is None else (8.0 if number < 11 else 16.0),
                status="fail" if beyond else "pass",
                reason="follows from decoder.decoders.15" if beyond and name != "decoder.decoders.15" else "",
                worst=None if ratio is None else {**worst, "candidate": -1.2207031 + 11 * floor * ratio},
                scope="discrete" if ratio is None else "propagated",
                introduced=None if ratio is None or alone is None else _introduced(floor, alone),
            )
        )
    return taps


def _introduced(floor: float, ratio: float) -> Introduced:
    status = "fail" if ratio > 4 else "pass"
    return Introduced(max_abs=11 * floor * ratio, rel_l2=floor * ratio, floor_rel_l2=floor, ratio=ratio, status=status)


def picture() -> FiringPicture:
    """Eight frames and three tokens; the candidate fires one frame late at the end."""
    alphas = [0.1, 0.6, 0.5, 0.2, 0.7, 0.3, 0.4, 0.5, 0.45]
    return FiringPicture(
        utt_id="BAC009S0764W0121",
        frame_s=0.06,
        fbank=[[(17 * frame + 29 * band) % 256 for frame in range(8)] for band in range(20)],
        reference_alphas=alphas,
        candidate_alphas=[alpha + 1e-6 for alpha in alphas],
        running_sum=[sum(alphas[: frame + 1]) for frame in range(9)],
        reference_fires=[2, 5, 8],
        candidate_fires=[2, 5, 7],
        tokens=["甚", "至", "出"],
        candidate_tokens=["甚", "至", "处"],
    )


def invariance() -> list[InvarianceRow]:
    """Rows of every status."""
    rows = [
        ("batch composition", "candidate", "pass", 0, 3.8e-6, 1e-4, "4 in one batch"),
        ("device", "candidate", "skipped", 0, None, 1e-4, "only the CPU is here"),
        ("file order", "candidate", "fail", 2, 0.7, 1e-4, "the batch turned round"),
        ("batch composition", "reference", "note", 1, 0.04, None, "FunASR, padding leaks"),
    ]
    names = ("name", "side", "status", "differ", "max_abs", "limit", "detail")
    return [InvarianceRow(kind="token", compared=68, **dict(zip(names, row, strict=True))) for row in rows]


def _utterances(failing: bool) -> list[UtteranceRow]:
    return [
        UtteranceRow(
            utt_id=utt,
            path=f"data_aishell/wav/test/S0764/{utt}.wav",
            duration_s=4.2034 + 0.37 * place,
            reference_text=ours,
            candidate_text=theirs if failing else ours,
            found={"token": [len(ours), len(theirs if failing else ours)]},
            outcomes={
                "firing": Outcome(compared=71, differ=int(place == 3), explained=int(place == 3)),
                "token": Outcome(compared=len(ours), differ=3 * int(failing and ours != theirs), explained=0),
            },
            explanation="firing at frame 41: integral 0.9999998, within the noise floor" if place == 3 else "",
        )
        for place, (utt, ours, theirs) in enumerate(TEXTS)
    ]


def _decisions(failing: bool) -> list[DecisionRow]:
    return [
        DecisionRow(
            kind="firing",
            utt_id="BAC009S0764W0124",
            position=41,
            reference="fires",
            candidate="does not fire",
            margin=2e-7,
            noise=9e-7,
            explained=True,
        ),
        *[
            DecisionRow(
                kind="token",
                utt_id="BAC009S0764W0124",
                position=5,
                reference="线",
                candidate="县",
                margin=0.3,
                noise=1e-5,
                explained=False,
            )
        ]
        * failing,
    ]


def _path(path: str, found: int | None, max_abs: float | None, note: str = "") -> PathRow:
    return PathRow(
        computation="CIF", utt_id="BAC009S0764W0121", path=path, kind="firing", found=found, differ=0, max_abs=max_abs,
        note=note,
    )  # fmt: skip


def parity(*, failing: bool = True) -> ParityReport:
    """A run with (by default) one tap beyond its tolerance, flipped tokens, and their consequences."""
    broken = {"decoder.decoders.15": 412.0, "decoder.after_norm": 388.0, "decoder.logits": 371.0} if failing else {}
    return ParityReport(
        verdict="fail" if failing else "pass",
        first_failure="decoder.decoders.15" if failing else None,
        reference="FunASR 1.4.16, iic/speech_paraformer-large_asr_nat-zh-cn-16k-common-vocab8404-pytorch",
        candidate="paraformer-large-mlx (float32)",
        taps=_taps(broken),
        outcomes={
            "firing": Outcome(compared=355, differ=1, explained=1),
            "token": Outcome(compared=68, differ=3 if failing else 0, explained=0),
        },
        words={"firing": "firings", "token": "tokens", "text": "texts"},
        utterances=_utterances(failing),
        sentence="The error starts in decoder.decoders.15." if failing else "All 17 taps stay near the floor.",
        address="decoder.decoders.15" if failing else None,
        decisions=_decisions(failing),
        paths=[
            _path("loop", 13, 4e-6),
            _path("export", None, None, note="raises RuntimeError: shape mismatch"),
        ],
        invariance=[row for row in invariance() if failing or row.status != "fail"],
        pictures=Pictures(firing=[picture()]),
        heatmap=HeatMap(
            tap="decoder.decoders.15",
            utt_id="BAC009S0764W0121",
            channels=512,
            values=[[0.1 * (frame - band) for frame in range(13)] for band in range(16)],
        ),
        structure=[{"check": "tensors loaded equal the checkpoint", "count": 956, "status": "pass"}],
        notes=["MLX_ENABLE_TF32=0 was set before MLX started."],
        environment=ENVIRONMENT,
    )


def cer() -> CerReport:
    """A run with hits, every kind of error, one missing and one failed utterance."""
    return cer_samples.cer(ENVIRONMENT)


def words() -> CerReport:
    """A complete run, counted in words."""
    return cer_samples.words(ENVIRONMENT)


def compare() -> CompareReport:
    """Two runs that differ."""
    return cer_samples.compare(ENVIRONMENT)


def same() -> CompareReport:
    """Two runs that do not."""
    return cer_samples.same(ENVIRONMENT)


def conversion() -> ConversionReport:
    """Eight encoder layers with a depthwise convolution that changes layout, one renamed stem, one dropped tensor."""
    tensors = [TensorRow(source="encoder.embed.weight", target="encoder.embed.weight", op="copy",
                         shape=[560, 512], dtype="float32", reason="")]  # fmt: skip
    for layer in range(8):
        stem = f"encoder.encoders.{layer}"
        for name, sizes in (("norm1.weight", [512]), ("norm1.bias", [512]), ("feed_forward.w_1.weight", [2048, 512])):
            name = f"{stem}.{name}"
            tensors.append(TensorRow(source=name, target=name, op="copy", shape=sizes, dtype="float32", reason=""))
        name = f"{stem}.self_attn.fsmn_block.weight"
        reason = "depthwise convolution: MLX wants (out, kernel, in)"
        tensors.append(
            TensorRow(source=name, target=name, op="conv1d", shape=[512, 1, 11], dtype="float32", reason=reason)
        )
    tensors.append(TensorRow(source="ctc.ctc_lo.weight", target=None, op="drop", shape=[8404, 512], dtype="float32",
                             reason="training only: the CTC head is not used in decoding"))  # fmt: skip
    return ConversionReport(
        family="paraformer", source="iic/speech_paraformer-large", output="paraformer-large-mlx",
        parameters=220_518_212, converted_parameters=216_215_364, tensors=tensors,
        sha256={"model.pt": "3d491689" * 8, "am.mvn": "29b3c740" * 8}, options={"dtype": "float32", "bits": None},
        config={"encoder": {"output_size": 512, "attention_heads": 4}, "input_size": 560},
        notes=["Every tensor was read back and compared bit for bit with its source."], environment=ENVIRONMENT,
    )  # fmt: skip


def bench() -> BenchReport:
    """Two cases, two sides."""
    rows = [
        ("one utterance, 5 s", "mlx", 0.0412, 0.31, [0.0402, 0.0451], 812.0),
        ("one utterance, 5 s", "funasr", 0.1331, None, [0.1302, 0.1498], 1904.0),
        ("batch of 16, 5 s each", "mlx", 0.4215, 0.42, [0.4121, 0.4406], 1433.0),
        ("batch of 16, 5 s each", "funasr", 1.0031, None, [0.9874, 1.1012], 2688.0),
    ]
    names = ("case", "side", "median_s", "ratio", "spread_s", "peak_rss_mb")
    return BenchReport(
        rows=[BenchRow(**dict(zip(names, row, strict=True))) for row in rows],
        command="mlx-funasr bench paraformer-large-mlx --against funasr",
        notes=["Seven rounds, sides interleaved, one process per side."],
        verdict="pass", instructions="x86_64: AVX2, FMA", empty_us=3.4, matmul_gflops=62.0,
        environment=ENVIRONMENT,
    )


def selftest() -> SelftestReport:
    """Three faults: found, found elsewhere, and not to be seen on this audio."""
    rows = [
        (
            "eps_1e-5",
            "encoder.encoders0.0",
            "LayerNorm eps 1e-5",
            True,
            "encoder.encoders0.0.norm1",
            True,
            12.3,
            "",
            True,
        ),
        (
            "gelu",
            "encoder.encoders.1.feed_forward",
            "GELU for ReLU",
            True,
            "encoder.encoders.2",
            False,
            900.0,
            "",
            True,
        ),
        ("log_floor", "fbank", "log floor 1e-10", False, None, False, None, "digital silence", False),
    ]
    names = ("name", "module", "description", "caught", "address", "right_address", "ratio", "needs", "visible")
    faults = [
        FaultRow(**dict(zip(names, row, strict=True)), first_failure=row[4], seconds=2.1)  # type: ignore[arg-type]
        for row in rows
    ]
    return SelftestReport(
        verdict="fail", reference="parity/demo/model", faults=faults, caught=2, right_address=1, total=3,
        false_alarms=0,
        healthy=[{"name": "model", "verdict": "pass", "first_failure": None}], utterances=["U001", "U002"],
        seconds=9.5, notes=["One by one."], environment=ENVIRONMENT,
    )  # fmt: skip


ALL = {
    "parity": parity, "selftest": selftest, "cer": cer, "compare": compare, "conversion": conversion,
    "bench": bench, "meeting": lambda: meeting(ENVIRONMENT),
}  # fmt: skip
