"""The bench without a model: arguments, refusals, counts, statistics, sides that die. Fakes take the peers' places."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlx_model.config.paraformer import ParaformerConfig
from mlx_model.errors import ConfigError, OutputError, UsageError
from parity.bench import bench, cases, peers, rounds, sides
from parity.bench.cases import gflop
from parity.bench.exports import STEPS
from parity.bench.findings import Findings, differing, stage
from parity.bench.jobs import DETECT, TRANSCRIBE, known_text
from parity.bench.peer import Peer
from parity.bench.plan import find_source, read_model
from parity.bench.sides import Side, SideError, child_environment
from parity.bench.speech import Speech
from parity.commands.bench import spread
from parity.demo import MODEL
from reports import schema
from reports.bench_markdown import bench_table
from reports.environment import instruction_set
from tests.conftest import ROOT
from tests.parity.bench.bench_fakes import CONFIG, OURS, THEIRS, Fake

NAMES = list(peers.PEERS)


# ---- the command line and what is refused


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("M --seconds 3 10 --json", "M --seconds 3 --seconds 10 --json"),
        ("M --against a b --rounds 2", "M --against a --against b --rounds 2"),
        ("M --audio x", "M --audio x"),
        ("M --batch --json", "M --batch --json"),  # the parser says what is missing
        ("M --seconds", "M --seconds"),
        ("M --out D --stages encoder decoder", "M --out D --stages encoder --stages decoder"),
        ("M --rounds 2 X", "M --rounds 2 X"),  # a surplus argument stays one
    ],
)
def test_options_take_all_the_values_that_follow(given: str, expected: str):
    assert list(spread(given.split())) == expected.split()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"against": ["onxruntime"]}, "did you mean 'onnxruntime'"),
        ({"against": ["whisper"]}, "there are funasr, funasr-float16, funasr-bfloat16, funasr-compiled, onnxruntime"),
        ({"stages": ["encodr"]}, "did you mean 'encoder'"),
        ({"seconds": [3, 0]}, "--seconds 3 0: expected numbers above 0"),
        ({"seconds": []}, r"--seconds \(nothing\)"),
        ({"batch": [-1]}, "--batch -1"),
        ({"rounds": 0}, "--rounds 0"),
        ({"threads": -2}, "--threads -2"),
        ({"source": "/nowhere/at/all"}, "no such file or directory"),
        ({"seconds": [1e4]}, "expected 0.1 to 900"),
        ({"audio": ["/nowhere.wav"]}, "no such file or folder"),
    ],
)
def test_wrong_usage(model: Path, options: dict[str, Any], words: str):
    with pytest.raises(UsageError, match=words):
        bench(model, **options)


def test_what_is_no_conversion_and_what_would_be_overwritten(model: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"no config\.json; MODEL is what"):
        bench(MODEL)
    (model / "config.json").write_text("{", "utf-8")
    with pytest.raises(ConfigError, match="is not JSON"):
        read_model(model)
    (tmp_path / "bench.json").write_text("{}", "utf-8")
    with pytest.raises(OutputError, match="--overwrite"):
        bench(model, out=tmp_path)


def test_the_source_is_the_recorded_one_while_it_is_the_same_checkpoint():
    def recorded(source: str) -> schema.ConversionReport:
        return schema.ConversionReport(
            family="paraformer", source=source, output=None, parameters=0, converted_parameters=0, tensors=[],
            sha256={}, options={}, config={},
        )  # fmt: skip

    assert find_source(None, None, None) is None
    assert find_source(None, recorded("/gone"), "0" * 64) is None
    assert find_source(None, recorded("parity/moved/model"), "0" * 64) is None
    assert find_source(None, recorded("iic/some-model"), None) == "iic/some-model"
    assert find_source(str(MODEL), recorded("/gone"), None) == str(MODEL)
    with pytest.raises(UsageError, match="not the checkpoint that MODEL was converted from"):
        find_source(str(MODEL), None, "0" * 64)


def test_the_tables_are_whole():
    assert NAMES[0] == peers.OURS
    assert [peer.name for peer in peers.choose(["sherpa-onnx", "funasr"])] == ["mlx", "funasr", "sherpa-onnx"]
    assert [case.name for case in cases.choose(["decoder", "frontend"])] == ["frontend", "decoder"]
    for peer in peers.PEERS.values():
        assert set(peer.exports) <= set(STEPS)
        assert bool(peer.exports) == (peer.folder is not None)
        assert peer.what
        command = peer.command("DIR", "A.wav", 2, "gpu", TRANSCRIBE)
        assert command[0] == sys.executable
        compile(command[2], peer.name, "exec") if "-c" in command else None
    assert peers.PEERS["funasr"].command("DIR", "A.wav", 2, "gpu", TRANSCRIBE)[-1] == "cuda"


def test_a_peer_that_is_not_installed_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(peers, "find_spec", lambda name: None if name == "funasr_mlx" else object())
    assert peers.missing(peers.PEERS["funasr-mlx"], "cpu") == (
        "funasr_mlx is not installed: pip install 'mlx-funasr[bench,reference]'"
    )
    assert peers.missing(peers.PEERS["funasr"], "cpu") is None
    assert peers.missing(peers.PEERS["funasr-float16"], "gpu") is None
    refused = "it is here for models that turn speech into text"
    assert peers.missing(peers.PEERS["sherpa-onnx"], "cpu", DETECT) == refused
    assert peers.missing(peers.PEERS["funasr"], "cpu", DETECT) is None


# ---- counting


def test_operations_counted_by_hand():
    """Oracle: every product of a three-block model written out, two operations each; D 8, T 10, U 2 and 3."""
    found = gflop(ParaformerConfig.from_dict(CONFIG), 10, [2, 3])
    block = 2 * 10 * (8 * 8 + 2 * 8 * 16) + 2 * 2 * 10 * 10 * 8 + 2 * 10 * 8 * 5  # out, w_1 and w_2, attention, FSMN
    encoder = 3 * block + 2 * 10 * 24 * 560 + 2 * (2 * 10 * 24 * 8)  # linear_q_k_v: 560 wide in the first block
    predictor = 2 * 10 * 8 * 8 * 3 + 2 * 10 * 8 + 2 * 10 * 8
    tokens = 2 + 3
    attending = 2 * tokens * (2 * 8 * 32 + 2 * 8 * 8 + 8 * 7) + 2 * (2 * 10 * 16 * 8) + 2 * 2 * tokens * 10 * 8
    decoder = 2 * attending + 2 * tokens * (2 * 8 * 32 + 8 * 7) + 2 * tokens * 2 * 8 * 32 + 2 * tokens * 8 * 11
    assert found["encoder"] * 1e9 == pytest.approx(2 * encoder)
    assert found["predictor"] * 1e9 == pytest.approx(2 * predictor)
    assert found["decoder"] * 1e9 == pytest.approx(decoder)
    assert found["network"] == found["end_to_end"] == pytest.approx(sum(list(found.values())[:3]))


def test_frames_are_those_of_the_front_end():
    """Oracle: 25 ms frames every 10 ms, whole ones only, then every sixth: 10 s have 998 and 167."""
    frontend = ParaformerConfig.from_dict(CONFIG).frontend
    assert [cases.frames(frontend, samples) for samples in (399, 400, 16000, 160000)] == [0, 1, 17, 167]


def test_different_ids_and_summed_stages():
    assert [differing([1, 2], [1, 2]), differing([1, 2], [1, 3, 4]), differing([], [5])] == [0, 2, 1]
    parts = {"frontend": 9.0, "encoder": 1.0, "predictor": 0.5, "decoder": 0.25}
    assert stage(parts, "network") == 1.75
    assert stage({"network": 3.0}, "network") == 3.0
    assert stage({"frontend": 1.0}, "network") is None
    findings = Findings()
    ours = {"stages": [[1, 2], []], "files": [[1, 2], []]}
    found = findings.compare({"mlx": {"ids": ours}, "funasr": {"ids": {"stages": [[1, 2], [3]]}}})
    assert found == [[1, 2], []]
    assert (findings.compared, findings.differing) == ({"mlx": 2, "funasr": 3}, {"mlx": 0, "funasr": 1})


def test_speech_is_cut_from_one_stretch(tmp_path: Path):
    import soundfile

    speech = Speech()
    assert "espeak-ng" in speech.what
    first, second = (soundfile.read(path, dtype="float32") for path in speech.cut(0.5, 2, tmp_path))
    assert (len(first[0]), first[1]) == (8000, 16000)
    assert (abs(first[0] - speech.samples[:8000]).max(), abs(second[0] - speech.samples[8000:16000]).max()) == (0, 0)


# ---- rounds


def test_rounds_alternate_and_leave_noisy_ones_out(monkeypatch: pytest.MonkeyPatch):
    shares = iter([0.0, 0.5, 0.05, 0.0, 0.0])
    monkeypatch.setattr(rounds, "SETTLE_S", 0.0)
    monkeypatch.setattr(rounds, "wait_for_quiet", lambda: None)
    monkeypatch.setattr(rounds.Noise, "share", lambda self: next(shares))
    order: list[str] = []
    counter = iter(range(100))
    turns = {name: lambda name=name: (order.append(name), next(counter))[1] for name in "ab"}
    found = rounds.interleave(turns, 3)
    assert "".join(order) == "abbaabba"  # four rounds: the second was noisy
    assert found.found == {"a": [0, 4, 7], "b": [1, 5, 6]}
    assert (found.counted, found.run, found.busy, found.noisy) == (3, 4, 0.0, False)


def test_where_all_is_noisy_all_rounds_count_and_it_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rounds, "SETTLE_S", 0.0)
    monkeypatch.setattr(rounds, "wait_for_quiet", lambda: None)
    monkeypatch.setattr(rounds.Noise, "share", lambda self: 0.6)
    found = rounds.interleave({"a": lambda: 1.0}, 2)
    assert (found.counted, found.run, found.noisy) == (4, 4, True)
    assert found.note == "4 of 4 rounds counted, other processes used 60% of the cores; NOISY, too few quiet rounds"


# ---- sides


CHILD = """
import os, sys
from parity.bench.sides import serve
def make():
    if sys.argv[1] == "unloadable":
        raise ValueError("no such\\nmodel")
    print("chatter while loading")
    def answer(request):
        print("chatter")
        if request["do"] == "die":
            os._exit(3)
        return {"twice": 2 * request["number"]}
    return answer
sys.exit(serve(make))
"""


def child(kind: str, tmp_path: Path) -> Side:
    return Side("peer", [sys.executable, "-c", CHILD, kind], child_environment(3), tmp_path / "log")


def test_a_side_answers_refuses_and_dies_in_words(tmp_path: Path):
    with child("healthy", tmp_path) as side:
        assert side.ask(do="double", number=21) == {"twice": 42}
        with pytest.raises(SideError, match=r"peer: KeyError: 'number'"):
            side.ask(do="double")
        assert side.ask(do="double", number=1) == {"twice": 2}  # a refusal is not the end
        with pytest.raises(SideError, match="ended with exit code 3"):
            side.ask(do="die")
        with pytest.raises(SideError, match="ended with exit code 3"):
            side.ask(do="double", number=1)
    assert "chatter while loading" in (tmp_path / "log").read_text()
    with child("unloadable", tmp_path) as side, pytest.raises(SideError, match="ValueError: no such model"):
        side.ask(do="double", number=1)
    assert sides.ended(-9) == "killed by signal 9 (out of memory?)"


def test_every_measured_process_gets_the_same_threads_and_full_float32():
    environment = child_environment(3)
    assert {environment[name] for name in sides.THREAD_VARIABLES} == {"3"}
    assert environment["MLX_ENABLE_TF32"] == "0"


def test_the_parent_loads_no_side(tmp_path: Path):
    code = (
        "import sys, parity.bench, parity.commands.bench; from parity.bench.speech import Speech; Speech();"
        "print({'mlx', 'torch', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


# ---- whole runs with fakes: the times are known, so every number of the report is


LIVE = ["frontend", "encoder", "predictor", "decoder", "network", "end_to_end"]


def test_every_number_of_a_report(model: Path, stage_set: dict[str, Fake], tmp_path: Path):
    stage_set |= {"mlx": Fake(OURS, [5, 6, 7]), "funasr": Fake(THEIRS, [5, 6, 7])}
    report = bench(
        model, against=["funasr", "sherpa-onnx"], seconds=[10], batch=[2], rounds=2, stages=LIVE, out=tmp_path / "out"
    )
    assert report.verdict == "pass"
    assert (report.matmul_gflops, report.empty_us) == (50.0, 2.5)
    assert report.instructions == instruction_set() != ""
    row = {(row.stage, row.side): row for row in report.rows}
    assert len(row) == len(report.rows) == 12
    ours, theirs = row["network", "mlx"], row["network", "funasr"]
    assert ours.case == "features to logits, 10 s, batch 2"
    assert ours.median_s == pytest.approx(1.6 * 1.05)  # rounds of 1.0 and 1.1 times the stages' sum
    assert ours.spread_s == pytest.approx([1.6, 1.76])
    assert (ours.ratio, theirs.ratio) == (None, pytest.approx(1.6 / 2.8))
    assert (ours.rtf, ours.speed) == (pytest.approx(1.68 / 20), pytest.approx(20 / 1.68))
    counted = gflop(ParaformerConfig.from_dict(CONFIG), 167, [3, 3])
    assert ours.gflop == pytest.approx(counted["network"])
    assert ours.matmul_fraction == pytest.approx(counted["network"] / 1.68 / 50)
    assert (row["frontend", "mlx"].gflop, row["end_to_end", "mlx"].gflop) == (None, pytest.approx(counted["network"]))
    assert (ours.seconds, ours.batch, ours.noise, ours.peak_rss_mb) == (10, 2, 0.0, 100.0)
    side = {side.name: side for side in report.sides}
    assert (side["funasr"].tokens_compared, side["funasr"].tokens_different, side["funasr"].absent) == (6, 0, None)
    assert side["sherpa-onnx"].absent == "is not installed: pip install it"
    assert "sherpa-onnx is absent: is not installed: pip install it" in report.notes
    assert schema.read(tmp_path / "out" / "bench.json") == schema.from_dict(schema.to_dict(report))
    table = bench_table(report)
    assert "| features to logits, 10 s, batch 2 | 1.68 s | 2.94 s (0.57) |" in table
    assert "0 of 6 differ" in table
    assert f"; {instruction_set()}; nothing on all threads: 2.5 us; float32 matrix products: 50 GFLOP/s." in table


def test_other_ids_than_funasrs_fail_the_run_and_a_peers_do_not(model: Path, stage_set: dict[str, Fake]):
    stage_set |= {"mlx": Fake(OURS, [5, 6, 7]), "onnxruntime-int8": Fake(THEIRS, [5, 6, 8])}
    options: dict[str, Any] = {"seconds": [3], "batch": [1], "rounds": 1, "stages": ["encoder"]}
    report = bench(model, against=["onnxruntime-int8"], **options)
    assert report.verdict == ""
    said = "1 of 3 token ids differ, which the verdict does not ask"
    assert f"onnxruntime-int8 (int8): {said}" in report.notes
    stage_set["sherpa-onnx"] = Fake(THEIRS, [5, 6, 8])
    stage_set["funasr"] = Fake(THEIRS, [5, 6, 7])
    report = bench(model, against=["funasr", "onnxruntime-int8", "sherpa-onnx"], **options)
    assert report.verdict == "pass"  # FunASR's are ours: what the peers make of its export is their affair
    assert f"sherpa-onnx (float32): {said}" in report.notes
    assert {side.name: side.judged for side in report.sides} == {
        "mlx": False, "funasr": True, "onnxruntime-int8": False, "sherpa-onnx": False,
    }  # fmt: skip
    stage_set["funasr"] = Fake(THEIRS, [5, 6, 8])
    report = bench(model, against=["funasr", "onnxruntime-int8"], **options)
    assert report.verdict == "fail"
    assert "funasr (float32): 1 of 3 token ids differ" in report.notes
    (model / "config.json").write_text(json.dumps({**CONFIG, "dtype": "float16"}), "utf-8")
    assert bench(model, against=["funasr"], **options).verdict == ""  # other ids are said, and expected


@pytest.mark.parametrize("fails", ["product", "check", "stages", "files"])
def test_a_peer_that_fails_drops_out_with_its_reason(model: Path, stage_set: dict[str, Fake], fails: str):
    stage_set |= {"mlx": Fake(OURS, [5]), "funasr": Fake(THEIRS, [5], fails=fails)}
    report = bench(model, against=["funasr"], seconds=[3], batch=[1], rounds=1, stages=LIVE)
    side = {side.name: side for side in report.sides}["funasr"]
    assert side.absent == "3 s, batch 1: RuntimeError: out of luck"
    assert {row.stage for row in report.rows if row.side == "mlx"} == set(LIVE)
    assert ("encoder" in {row.stage for row in report.rows if row.side == "funasr"}) == (fails == "files")


def test_without_this_projects_side_there_is_no_bench(model: Path, stage_set: dict[str, Fake]):
    with pytest.raises(SideError, match="mlx: is not installed"):
        bench(model, against=["funasr"], seconds=[3], batch=[1], rounds=1, stages=["encoder"])


def test_slow_peers_are_left_out_by_a_number_and_it_is_said(model: Path, stage_set: dict[str, Fake]):
    stage_set |= {"mlx": Fake(OURS, [5]), "funasr-mlx-shipped": Fake(THEIRS, [5])}
    report = bench(model, against=["funasr-mlx-shipped"], seconds=[10], batch=[4, 1], rounds=1, stages=["encoder"])
    assert [(row.batch, row.side) for row in report.rows] == [(1, "mlx"), (1, "funasr-mlx-shipped"), (4, "mlx")]
    assert any("left out of cases with more than 30 s" in note for note in report.notes)
    assert Peer.most_audio_s == math.inf


def test_a_network_with_a_part_that_nobody_counted_has_no_count():
    config = ParaformerConfig.from_dict(CONFIG)
    unknown = SimpleNamespace(encoder=SimpleNamespace(), frontend=config.frontend)  # a family to come
    assert gflop(unknown, 10, [2]) == {}
    only = SimpleNamespace(encoder=config.encoder, frontend=config.frontend)
    counted = gflop(config, 10, [2])
    assert gflop(only, 10, [2]) == dict.fromkeys(("encoder", "network", "end_to_end"), counted["encoder"])


def test_a_side_without_ids_is_compared_by_its_texts(model: Path, stage_set: dict[str, Fake]):
    stage_set |= {"mlx": Fake(OURS, [5, 6]), "funasr": Fake(THEIRS, [])}
    options: dict[str, Any] = {"seconds": [3], "batch": [1], "rounds": 1, "stages": ["end_to_end"]}
    report = bench(model, against=["funasr"], **options)
    assert (report.verdict, report.sides[1].tokens_compared) == ("pass", 4)
    stage_set["funasr"].texts = ["ward"]
    report = bench(model, against=["funasr"], **options)
    assert (report.verdict, report.sides[1].tokens_different) == ("fail", 1)


def test_what_writes_no_text_is_timed_from_files_on(model: Path, stage_set: dict[str, Fake]):
    """As a VAD: its times are compared as ids are, and peers for text are absent."""
    stage_set |= {"mlx": Fake(OURS, [0, 900]), "funasr": Fake(THEIRS, [0, 910])}
    for fake in stage_set.values():
        fake.device = {**fake.device, "job": DETECT}
    options: dict[str, Any] = {"seconds": [3], "batch": [1], "rounds": 1}
    report = bench(model, against=["funasr"], stages=["encoder", "end_to_end"], **options)
    assert [(row.stage, row.side) for row in report.rows] == [("end_to_end", "mlx"), ("end_to_end", "funasr")]
    assert (report.verdict, report.sides[1].tokens_compared, report.sides[1].tokens_different) == ("fail", 2, 1)
    with pytest.raises(UsageError, match=r"--stages encoder: .* it has end_to_end and cold_start only"):
        bench(model, against=["funasr"], stages=["encoder"], **options)


def test_an_aligner_is_told_as_many_digits_as_fit(tmp_path: Path):
    (path,) = Speech().cut(2.5, 1, tmp_path)
    assert known_text(path) == "一二三四五"


def test_every_family_can_be_opened_by_the_bench(tmp_path: Path):
    """A VAD's directory too, which has no tokenizer."""
    sizes = {"input_dim": 400, "input_affine_dim": 4, "fsmn_layers": 1, "linear_dim": 4, "proj_dim": 4, "lorder": 2}
    sizes |= {"rorder": 0, "lstride": 1, "rstride": 0, "output_affine_dim": 4, "output_dim": 3}
    config = {"model_type": "fsmn_vad_streaming", "frontend": {"lfr_m": 5}, "encoder": sizes, "vad_opts": {}}
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    assert read_model(tmp_path)[0].model_type == "fsmn_vad_streaming"
